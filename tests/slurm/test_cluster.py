"""The Slurm side of a campaign against a real Slurm; pilots are stand-ins, jobs are real."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from standins import freeze_stand_in
from testbeds import Testbed, until

from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.cluster.slurm import SlurmCluster
from autoresearch.errors import ClusterError
from autoresearch.experiment import Failure, Json
from autoresearch.layout import Layout, read_json
from autoresearch.settings import Cluster, Tier

pytestmark = pytest.mark.slurm

TIER = Tier("fake-h100", gpus=1, pilots=4, partitions=("h100",), memory_gb=1)
SETTINGS = Cluster("slurm", {"screen": TIER}, poll_seconds=0.2)
NAMES = ("screen-aa-0", "screen-aa-1", "screen-aa-2")


@pytest.fixture
def layout(
    quiet_testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Layout]:
    for name, value in quiet_testbed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    layout = Layout(tmp_path / "campaign")
    freeze_stand_in(layout)
    yield layout
    layout.drain.touch()


def connect(layout: Layout, **changes: object) -> SlurmCluster:
    return SlurmCluster(layout, replace(SETTINGS, **changes))  # type: ignore[arg-type]


def asked(jobs: Mapping[str, Json], started: float | None = None) -> dict[str, Json]:
    """Jobs as a controller keeps them."""
    return {name: {"submitted": time.time(), "started": started, **jobs[name]} for name in jobs}


def wait_for(
    cluster: SlurmCluster, jobs: Mapping[str, Json], condition: Callable[[Sighting], bool]
) -> Mapping[str, Sighting]:
    """Look until every pilot is seen so."""
    seen: Mapping[str, Sighting] = {}

    def all_so() -> bool:
        nonlocal seen
        seen = cluster.look(jobs)
        return seen.keys() == jobs.keys() and all(map(condition, seen.values()))

    until(all_so, 60)
    return seen


def runs(sighting: Sighting) -> bool:
    return sighting.phase is Phase.running


def gone(sighting: Sighting) -> bool:
    return sighting.phase is Phase.gone


def named(layout: Layout, *names: str) -> None:
    until(lambda: all(layout.pilot(name).exists() for name in names), 60)


def test_pilots_are_one_array_and_are_seen_to_run_and_to_end(
    layout: Layout, quiet_testbed: Testbed
) -> None:
    cluster = connect(layout)
    jobs = asked(cluster.submit("screen", NAMES, minutes=5))
    assert [job["id"].partition("_")[2] for job in jobs.values()] == ["0", "1", "2"]
    seen = wait_for(cluster, jobs, runs)
    assert {sighting.node[:4] for sighting in seen.values()} == {"h100"}
    assert all(abs((s.started or 0) - time.time()) < 60 for s in seen.values())
    named(layout, *NAMES)
    assert (read_json(layout.pilot(NAMES[0])) or {})["life"] == str(5 * 60 - 60)
    layout.drain.touch()
    ends = wait_for(cluster, jobs, gone)
    assert {sighting.failure for sighting in ends.values()} == {Failure.node_failed}
    folder = layout.pilots / "screen-aa"
    assert {path.suffix for path in folder.iterdir()} == {".sh", ".out"}


def test_pilots_are_found_by_name_alone(layout: Layout) -> None:
    connect(layout).submit("screen", NAMES, minutes=5)
    unknown = asked({name: {} for name in NAMES})
    assert wait_for(connect(layout), unknown, runs).keys() == set(NAMES)


def test_what_was_never_accepted_is_gone_after_a_while(layout: Layout) -> None:
    cluster = connect(layout)
    jobs = asked({"screen-bb-0": {}})
    assert cluster.look(jobs) == {}
    jobs["screen-bb-0"]["submitted"] -= 60
    seen = wait_for(cluster, jobs, gone)
    assert seen["screen-bb-0"].failure is Failure.cancelled


def test_how_a_pilot_ended_long_ago_is_asked_of_the_accounting(
    layout: Layout, quiet_testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if slurmctld had forgotten it: a squeue that shows nothing comes first on PATH."""
    cluster = connect(layout)
    jobs = asked(cluster.submit("screen", NAMES[:1], minutes=5))
    wait_for(cluster, jobs, runs)
    quiet_testbed.run("scancel", str(jobs[NAMES[0]]["id"]))
    wait_for(cluster, jobs, gone)
    (tmp_path / "squeue").write_text("#!/bin/sh\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = wait_for(connect(layout), jobs, gone)[NAMES[0]]
    assert (seen.failure, seen.reason) == (Failure.preempted, "was cancelled")
    assert seen.started is not None
    assert seen.ended is not None


@pytest.mark.parametrize("verb", ["requeue", "requeuehold"])
def test_a_pilot_that_slurm_would_run_again_is_ended(
    layout: Layout, quiet_testbed: Testbed, verb: str
) -> None:
    cluster = connect(layout, options={"requeue": True})
    jobs = asked(cluster.submit("screen", NAMES[:1], minutes=5))
    wait_for(cluster, jobs, runs)
    named(layout, NAMES[0])
    quiet_testbed.run("scontrol", verb, str(jobs[NAMES[0]]["id"]))
    end = wait_for(cluster, jobs, gone)[NAMES[0]]
    assert end.failure is Failure.preempted
    until(lambda: not quiet_testbed.squeue(), 60)


def test_only_what_waits_is_taken_back(layout: Layout, quiet_testbed: Testbed) -> None:
    quiet_testbed.submit("sleep 300", "-p", "h100", "--gres=gpu:h100:4", "-w", "h100-01")
    quiet_testbed.submit("sleep 300", "-p", "h100", "--gres=gpu:h100:3", "-w", "h100-02")
    until(lambda: list(quiet_testbed.squeue().values()) == ["RUNNING"] * 2)
    cluster = connect(layout)
    jobs = asked(cluster.submit("screen", NAMES, minutes=5))

    def one_runs() -> bool:
        phases = [sighting.phase for sighting in cluster.look(jobs).values()]
        return sorted(phases) == [Phase.running, Phase.waiting, Phase.waiting]

    until(one_runs, 60)
    said = [line.split()[0] for line in cluster.notices() if "of tier screen wait: " in line]
    assert sum(map(int, said)) == 2
    cluster.withdraw(jobs)

    def two_are_gone() -> bool:
        ends = [s for s in cluster.look(jobs).values() if gone(s) and s.started is None]
        return len(ends) == 2

    until(two_are_gone, 60)
    assert sum(map(runs, cluster.look(jobs).values())) == 1
    cluster.cancel(jobs)
    wait_for(cluster, jobs, gone)


def test_a_pilot_that_no_record_knows_is_ended_and_others_jobs_are_not(
    layout: Layout, quiet_testbed: Testbed
) -> None:
    mine = quiet_testbed.submit("sleep 300", "-p", "cpu")
    other = Layout(layout.root.parent / "other")
    freeze_stand_in(other)
    others = asked(connect(other).submit("screen", ("screen-cc-0",), minutes=5))
    connect(layout).submit("screen", NAMES[:1], minutes=5)
    jobs = asked(connect(layout).submit("screen", ("screen-dd-0",), minutes=5))
    wait_for(connect(layout), jobs, runs)
    left = {mine, str(others["screen-cc-0"]["id"]), str(jobs["screen-dd-0"]["id"])}
    until(lambda: set(quiet_testbed.squeue()) == left, 60)
    other.drain.touch()


def test_held_pilots_are_said_to_be_held(layout: Layout, quiet_testbed: Testbed) -> None:
    cluster = connect(layout, options={"hold": True})
    jobs = asked(cluster.submit("screen", NAMES, minutes=5))
    wait_for(cluster, jobs, lambda s: s.phase is Phase.waiting and s.reason == "JobHeldUser")
    (said,) = cluster.notices()
    assert said.startswith("3 of tier screen wait for what does not pass by itself: ")
    assert "scontrol release" in said
    cluster.withdraw(jobs)
    wait_for(cluster, jobs, gone)


def test_no_secret_and_no_outer_job_reaches_a_node(
    layout: Layout, quiet_testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    cluster = connect(layout)
    cluster.submit("screen", NAMES[:1], minutes=5)
    named(layout, NAMES[0])
    assert (read_json(layout.pilot(NAMES[0])) or {})["secrets"] == []
    told = quiet_testbed.run("scontrol", "show", "job", "-dd").stdout
    assert "kkkk" not in told
    script = next((layout.pilots / "screen-aa").glob("*.sh")).read_text(encoding="utf-8")
    assert "kkkk" not in script


def test_a_closed_or_unknown_place_is_named_before_anything_is_submitted(layout: Layout) -> None:
    connect(layout).check()
    nowhere = {"screen": replace(TIER, partitions=("nowhere",))}
    with pytest.raises(ClusterError, match=r"tier screen \(partition nowhere\), but says: .*nowh"):
        connect(layout, tiers=nowhere).check()


def test_what_a_partition_allows_bounds_a_pilots_life(layout: Layout) -> None:
    cluster = connect(layout)
    assert cluster.longest("screen") == 24 * 60
    assert cluster.batches("screen", 5) == [5]
    assert connect(layout, max_array=2).batches("screen", 5) == [2, 2, 1]
    assert sum(connect(layout, max_jobs=3).batches("screen", 5)) == 3


def test_what_the_users_other_jobs_take_is_not_there_for_us(
    layout: Layout, quiet_testbed: Testbed
) -> None:
    """Several campaigns of one user share one limit."""
    quiet_testbed.submit("sleep 300", "-p", "cpu", "--array=0-3")
    cluster = connect(layout, max_jobs=10)
    jobs = asked(cluster.submit("screen", NAMES, minutes=5))
    assert cluster.batches("screen", 50) == [7], "the queue has not been read yet"
    wait_for(cluster, jobs, runs)
    assert cluster.batches("screen", 50) == [3]
    assert cluster.batches("screen", 2) == [2]
    layout.drain.touch()


def test_setup_lines_and_another_python_come_before_the_pilot(layout: Layout) -> None:
    lines = ("export WORDS='with a \"quote\" and a $dollar'", "module() { export MODULE=$1; }")
    python = "env LOADED=$MODULE python3"
    cluster = connect(layout, setup=(*lines, "module load"), python=python)
    cluster.submit("screen", NAMES[:1], minutes=5)
    named(layout, NAMES[0])
