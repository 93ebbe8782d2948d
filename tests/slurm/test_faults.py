"""Promise 1 on a real Slurm: whatever a cluster does to jobs, no result is lost.

Each test is a row of the fault matrix, which stands at the end of pytest's output.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from nights import MATRIX, Night, Row, lost_attempts, pilot_record
from testbeds import Testbed, until

from autoresearch.cluster.interface import batch_of
from autoresearch.experiment import Failure

pytestmark = pytest.mark.slurm
SLOW = pytest.mark.slow


@pytest.fixture
def night(quiet_testbed: Testbed, tmp_path: Path) -> Iterator[Night]:
    night = Night(quiet_testbed, tmp_path)
    yield night
    night.leave()


@pytest.mark.parametrize(
    ("whim", "failure", "words"),
    [
        ("raise", Failure.crashed, "on a whim"),
        pytest.param(*("exit", Failure.crashed, "exit code 7"), marks=SLOW),
        pytest.param(*("kill", Failure.crashed, "was killed, or killed itself"), marks=SLOW),
        pytest.param(*("hoard", Failure.out_of_memory, "should hold at most"), marks=SLOW),
    ],
)
def test_a_program_that_fails_is_a_failure_of_its_own(
    night: Night, whim: str, failure: Failure, words: str
) -> None:
    night.start(
        *("search=empty", f"task.params.whim=choice(none,{whim})", "planner=factorial"),
        *("task.limits.memory_gb=1", "cluster.tiers.screen.pilots=3"),
    )
    history = night.end()
    failed = [e for e in history.entries.values() if e.has_failed]
    assert {e.result.failure for e in failed if e.result} == {failure}
    assert words in failed[0].result.reason  # type: ignore[union-attr]
    assert not lost_attempts(night)
    night.report(f"program: {whim}", f"recorded as {failure}, not tried again", words)


@pytest.mark.parametrize("cgroups", [0, pytest.param(1, marks=SLOW)])
def test_what_is_killed_for_its_memory_is_a_failure_of_the_program(
    night: Night, cgroups: int
) -> None:
    """Without control groups Slurm's own watch kills the whole job, the referee too; with them the
    kernel kills, and the referee may live to say so."""
    if cgroups:
        night.testbed.tb("reconfigure", "TESTBED_CGROUP=1")
    night.start(
        *("search=empty", "task.params.whim=choice(none,hoard)", "planner=factorial"),
        *("task.limits.memory_gb=8", "cluster.tiers.screen.memory_gb=1.5"),
    )
    history = night.end()
    (failed,) = [e for e in history.entries.values() if e.has_failed]
    assert failed.result is not None
    assert failed.result.failure is Failure.out_of_memory
    assert failed.attempt == 1
    who = "cgroups" if cgroups else "no cgroups"
    night.report(f"out of memory, {who}", "recorded, not tried again", failed.result.reason)


def test_a_task_that_is_cancelled_is_run_elsewhere(night: Night) -> None:
    night.start("task.params.nap=4", "cluster.tiers.screen.pilots=2")
    entry = night.a_running_one()
    night.testbed.run("scancel", night.job_of(entry))
    history = night.end()
    (lost,) = lost_attempts(night)
    assert lost["failure"] == "preempted"
    assert history.entries[entry.experiment.id].attempt == 2
    night.report("scancel of a task", "recorded as preempted, run again", lost["reason"])


@SLOW
def test_an_array_that_is_cancelled_is_replaced(night: Night) -> None:
    night.start("task.params.nap=4", "cluster.tiers.screen.pilots=3")
    entry = night.a_running_one()
    night.testbed.run("scancel", night.job_of(entry).partition("_")[0])
    history = night.end()
    assert {lost["failure"] for lost in lost_attempts(night)} == {"preempted"}
    assert len({batch_of(pilot) for pilot in history.pilots}) >= 2
    night.report("scancel of an array", "all run again by a new array", "")


@SLOW
def test_a_job_killed_outright_is_run_again(night: Night) -> None:
    night.start("task.params.nap=4")
    entry = night.a_running_one()
    night.kill_job(entry)
    history = night.end()
    assert history.entries[entry.experiment.id].attempt == 2
    (lost,) = lost_attempts(night)
    assert lost["failure"] == "node_failed"
    assert "ended" not in pilot_record(night, entry.pilot), "it left in order"
    night.report("SIGKILL of a whole job", "run again by another pilot", lost["reason"])


@SLOW
def test_near_its_time_limit_a_pilot_puts_down_what_it_runs(night: Night, tmp_path: Path) -> None:
    night.start(
        *("pilot.minutes=1", f"task.params.whim='once:{tmp_path}/flag'"),
        *("cluster.tiers.screen.pilots=1", "cluster.sandbox=none"),  # the flag lies outside
    )
    history = night.end()
    lost = lost_attempts(night)
    assert {one["failure"] for one in lost} == {"preempted"}  # on a busy machine more than one
    ends = {pilot.reason for pilot in history.pilots.values()}
    assert ends == {"went home"}
    assert len(history.pilots) >= 2
    night.report("time limit of a pilot", "put down in time, run again", lost[0]["reason"])


@pytest.mark.parametrize("requeue", [False, pytest.param(True, marks=SLOW)])
def test_what_dies_with_a_node_is_run_on_another(night: Night, requeue: bool) -> None:
    again = ("+cluster.options.requeue=true",) if requeue else ()
    night.start("task.params.nap=5", "cluster.tiers.screen.pilots=2", *again)
    entry = night.a_running_one()
    node = night.node_of(entry)
    night.testbed.tb("kill-node", node)
    night.until(lambda _: lost_attempts(night), 90)
    night.testbed.tb("start-node", node)
    history = night.end()
    assert history.entries[entry.experiment.id].attempt == 2
    lost = lost_attempts(night)[0]
    how = "requeued by Slurm" if requeue else "not requeued"
    night.report(f"death of a node, {how}", "run again by a new pilot", lost["reason"])


@pytest.mark.parametrize("grace", [20, pytest.param(0, marks=SLOW)])
def test_what_is_preempted_is_finished_elsewhere(night: Night, grace: int) -> None:
    """The pilots sit on scavenge; somebody with a better claim takes their node."""
    night.testbed.tb("reconfigure", f"TESTBED_GRACE={grace}")
    night.start("task.params.nap=5", "cluster.tiers.screen.partitions=[scavenge]")
    entry = night.a_running_one()
    node = night.node_of(entry)
    where = ("-p", "h100", "-w", node, "--gres=gpu:h100:4", "--time=5")
    better = night.testbed.submit("sleep 300", *where)
    night.testbed.wait_until(better, "RUNNING", seconds=90)
    night.until(lambda history: history.ended, 300)
    night.testbed.run("scancel", better)
    history = night.end()
    again = history.entries[entry.experiment.id]
    assert again.attempt >= 2
    assert history.pilots[again.pilot].node != node
    lost = lost_attempts(night)[0]
    assert lost["failure"] == "preempted"
    night.report(f"preempted, grace {grace} s", "finished on another node", lost["reason"])


@SLOW
def test_while_slurmctld_is_down_pilots_work_on_and_nobody_submits(night: Night) -> None:
    """Each pilot runs one experiment: new ones are due all the time."""
    night.start("task.params.nap=2", "pilot.experiments=1", "budget.experiments=18")
    night.a_running_one()
    with night.testbed.outage("slurmctld"):
        began = len(night.history.pilots)
        time.sleep(60)
        assert len(night.history.pilots) == began
        assert "Slurm has not answered" in night.ask("status", str(night.layout.root)).stdout
    night.end()
    assert not lost_attempts(night)
    night.report(
        "slurmctld down 60 s, running and submitting",
        "running ones finished, new ones when it was back",
        "Slurm has not answered for 1 min; pilots work on",
    )


@SLOW
def test_without_accounting_the_queue_says_enough(night: Night) -> None:
    night.start("task.params.nap=2", "pilot.experiments=2")
    entry = night.a_running_one()
    with night.testbed.outage("slurmdbd"):
        night.testbed.run("scancel", night.job_of(entry))
        history = night.end()
    assert history.entries[entry.experiment.id].attempt == 2
    night.report("slurmdbd down", "nothing: the queue itself says how jobs ended", "")


@SLOW
def test_a_limit_on_jobs_is_kept_and_not_run_into(night: Night) -> None:
    user = night.testbed.run("id", "-un").stdout.strip()
    with limited(night.testbed, f"user {user}", "MaxSubmitJobs=2"):
        night.start("cluster.tiers.screen.pilots=5")
        history = night.end()
    refusals = [p for p in history.pilots.values() if p.failure is Failure.cancelled]
    assert not refusals
    alive = most_at_once(night)
    assert alive == 2
    night.report("MaxSubmitJobs=2, 5 pilots wanted", "2 asked for at a time", "")


@SLOW
def test_a_limit_that_comes_later_is_back_pressure(night: Night) -> None:
    user = night.testbed.run("id", "-un").stdout.strip()
    night.start("task.params.nap=3", "pilot.experiments=1", "cluster.tiers.screen.pilots=3")
    night.a_running_one()
    with limited(night.testbed, f"user {user}", "MaxSubmitJobs=0"):
        refused = lambda h: [p for p in h.pilots.values() if p.failure is Failure.cancelled]  # noqa: E731
        night.until(refused, 90)
        told = ""
        while "Slurm takes no more pilots now: AssocMaxSubmitJobLimit" not in told:
            assert not night.history.ended
            told = night.ask("status", str(night.layout.root)).stdout
    night.end()
    assert not lost_attempts(night)
    said = next(line for line in told.splitlines() if "AssocMax" in line)
    night.report("MaxSubmitJobs=0 in mid-campaign", "asked again, ever more rarely", said.strip())


def test_a_qos_limit_is_said_by_its_name_and_value(night: Night) -> None:
    qos = ("MaxTRESPerUser=gres/gpu=1",)
    with quality(night.testbed, "tight", *qos):
        night.start("task.params.nap=3", "cluster.qos=tight", "cluster.tiers.screen.pilots=2")
        entry = night.a_running_one()
        told = ""
        while "wait" not in told and not night.history.ended:
            told = night.ask("status", str(night.layout.root)).stdout
        history = night.end()
    assert "QOS tight allows" in told
    assert "MaxTRESPerUser" in told
    assert history.entries[entry.experiment.id].attempt == 1
    said = next(line for line in told.splitlines() if "MaxTRESPerUser" in line)
    night.report("QOS limit of one GPU, 2 pilots wanted", "one works, one waits", said.strip())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("cluster.account=nobody", "Invalid account"),
        ("cluster.tiers.screen.partitions=[nowhere]", "nowhere"),
        ("cluster.tiers.screen.gres='gpu:a100:1'", "Requested node configuration"),
        ("cluster.qos=nonesuch", "Invalid qos"),
    ],
)
def test_what_slurm_would_refuse_is_said_before_anything_is_submitted(
    night: Night, override: str, words: str
) -> None:
    assert night.start(override).wait(timeout=60) == 1
    (line,) = night.said.splitlines()
    assert words in line
    assert line.startswith("autoresearch: Slurm should take pilots of tier screen")
    assert not night.layout.root.exists()
    assert not night.testbed.squeue()
    MATRIX.append(Row(override, "refused at once; nothing was made or submitted", line, 0, 0))


@SLOW
def test_arrays_are_cut_to_the_sites_size(night: Night) -> None:
    night.testbed.tb("reconfigure", "TESTBED_MAX_ARRAY=3")
    night.start("cluster.tiers.screen.pilots=5", "budget.experiments=18")
    history = night.end()
    sizes = Counter(batch_of(pilot) for pilot in history.pilots)
    assert max(sizes.values()) <= 3
    assert len(sizes) >= 2
    night.report("MaxArraySize=3, 5 pilots wanted", f"arrays of {sorted(sizes.values())}", "")


@SLOW
def test_a_partition_that_is_closed_while_pilots_wait_is_waited_for(night: Night) -> None:
    night.testbed.run("scontrol", "update", "partitionname=h100", "state=down")
    try:
        night.start()
        told = ""
        night.until(lambda h: h.pilots, 60)
        while "partition h100" not in told:
            told = night.ask("status", str(night.layout.root)).stdout
    finally:
        night.testbed.run("scontrol", "update", "partitionname=h100", "state=up")
    night.end()
    said = next(line for line in told.splitlines() if "partition h100" in line)
    night.report("partition down while pilots wait", "waited until it was up", said.strip())


@SLOW
def test_a_full_disk_stops_the_controller_and_nothing_else(night: Night) -> None:
    """A file system of a few megabytes; root alone can make one."""
    home = night.layout.root.parent
    home.mkdir()
    night.testbed.run("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(home))
    try:
        controller = night.start("task.params.nap=2")
        night.a_running_one()
        ballast = home / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(b"x" * 4096):
                file.flush()
        assert controller.wait(timeout=120) == 1
        line = night.said.splitlines()[-1]
        assert "No space left on device" in line
        ballast.unlink()
        night.start()
        night.end()
        night.report("full disk", "controller stopped; went on when there was room", line)
    finally:
        night.leave()
        until(lambda: not night.testbed.squeue(), 90)
        night.testbed.run("umount", "-l", str(home))


@pytest.mark.parametrize("accepted", [False, True])
def test_a_controller_that_dies_while_it_submits_loses_no_pilot(
    night: Night, tmp_path: Path, accepted: bool
) -> None:
    """Its sbatch kills it: before Slurm has heard of the jobs, or after."""
    real = night.testbed.run("bash", "-c", "command -v sbatch").stdout.strip()
    folder = tmp_path / "bin"
    folder.mkdir()
    submit = f'{real} "$@"' if accepted else ""
    trap = f"""#!/bin/bash
[[ "$*" == *--test-only* ]] && exec {real} "$@"
{submit}
kill -KILL $(ps -o ppid= -p $PPID)
sleep 1
"""
    (folder / "sbatch").write_text(trap, encoding="utf-8")
    (folder / "sbatch").chmod(0o755)
    night.more = {"PATH": f"{folder}:{night.testbed.environment['PATH']}"}
    assert night.start().wait(timeout=60) == -signal.SIGKILL
    types = [event["type"] for event in night.events]
    assert "submitting" in types
    assert "submitted" not in types
    night.more = {}
    night.start()
    history = night.end()
    assert not lost_attempts(night)
    first = [pilot for pilot in history.pilots.values() if not pilot.job]
    assert all((pilot.started is not None) == accepted for pilot in first)
    when = "after" if accepted else "before"
    done = "its pilots found by name" if accepted else "new pilots, as there were none"
    night.report(f"controller killed {when} sbatch was accepted", done, "")


@SLOW
def test_a_controller_that_dies_is_replaced(night: Night) -> None:
    night.start("task.params.nap=2")
    night.a_running_one()
    night.kill_controller(signal.SIGKILL)
    night.start()
    night.end()
    assert not lost_attempts(night)
    night.report("SIGKILL of the controller", "the next one goes on; pilots never noticed", "")


@SLOW
def test_an_experiment_that_stands_in_line_twice_is_run_once(night: Night) -> None:
    night.start("task.params.nap=1", "cluster.tiers.screen.pilots=4", "budget.experiments=18")
    seen: set[str] = set()
    while night.controllers[0].poll() is None:
        for path, attempt in list(night.layout.queued("screen")):
            if attempt.experiment not in seen:
                seen.add(attempt.experiment)
                night.layout.queue_entry("screen", 0, attempt).touch()
                path.touch()
        time.sleep(0.05)
    history = night.end()
    assert seen
    assert all(entry.attempt == 1 for entry in history.entries.values())
    claims = list(night.layout.experiments.glob("*/attempt-*/claim"))
    assert len(claims) == len(history.entries)
    night.report("an experiment in line twice", "claimed once", "")


# ---- what the tests change on the testbed ----------------------------------------------------


@contextmanager
def limited(testbed: Testbed, who: str, limit: str) -> Iterator[None]:
    """A limit of the accounting, taken back afterwards."""
    name = limit.partition("=")[0]
    manage(testbed, "modify", *who.split(), "set", limit)
    try:
        yield
    finally:
        manage(testbed, "modify", *who.split(), "set", f"{name}=-1")


@contextmanager
def quality(testbed: Testbed, name: str, *limits: str) -> Iterator[None]:
    """A QOS that the tests' user may use."""
    user = testbed.run("id", "-un").stdout.strip()
    manage(testbed, "add", "qos", name, *limits)
    manage(testbed, "modify", "user", user, "set", f"qos+={name}")
    try:
        yield
    finally:
        until(lambda: not testbed.squeue(), 60)
        manage(testbed, "delete", "qos", name)


def manage(testbed: Testbed, *words: str) -> None:
    testbed.run("sacctmgr", "-i", *words)


def most_at_once(night: Night) -> int:
    """How many pilots lived at the same time, at most."""
    alive = most = 0
    for event in night.events:
        alive += len(event["pilots"]) if event["type"] == "submitting" else 0
        alive -= event["type"] == "pilot_ended"
        most = max(most, alive)
    return most
