"""The controller's three homes on a real Slurm: a login node, a job that requeues itself, cron."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nights import ONE_TIER, SETTINGS, Night, lost_attempts
from testbeds import Testbed, until

from autoresearch.entry import Purpose
from autoresearch.experiment import State
from autoresearch.lease import is_held

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]


@pytest.fixture
def night(quiet_testbed: Testbed, tmp_path: Path) -> Iterator[Night]:
    night = Night(quiet_testbed, tmp_path)
    yield night
    night.leave()


@pytest.mark.slow
def test_the_demo_runs_over_two_types_of_gpu(night: Night, tmp_path: Path) -> None:
    """Screened on one, crowned and certified on the other; no number of one beside the other's."""
    night.more = {"AUTORESEARCH_DATA": str(tmp_path / "data")}
    assert night.ask("prepare", "task=tiny", "task.data.limit_mb=4").returncode == 0
    night.overrides = ("task=tiny", "search=tiny", "planner=bayes", "budget=demo", "judge=quick")
    night.start("task.data.limit_mb=4", "search.wave=4", "budget.experiments=30")
    history = night.end(900)
    devices = {tier: cell.device for tier, cell in history.tiers.items()}
    assert devices == {"screen": "fake-h100", "validate": "fake-h200"}
    tests = [test for test in history.crowns if test.verdict is not None]
    assert tests
    assert {test.tier for test in tests} == {"validate"}
    assert any(test.crowned for test in tests)
    for entry in history.entries.values():
        is_final = entry.purpose in (Purpose.crown, Purpose.certify)
        assert entry.tier == "validate" if is_final else True
        node = history.pilots[entry.pilot].node
        assert node.startswith({"screen": "h100", "validate": "h200"}[entry.tier])
    assert history.certifications
    shown = night.ask("report", str(night.layout.root)).stdout
    assert "screen · fake-h100" in shown
    assert "validate · fake-h200" in shown


def test_a_campaign_runs_on_what_probe_wrote(night: Night) -> None:
    assert night.ask("probe", "mine").returncode == 0
    night.overrides = ("cluster=mine",)
    night.start("budget.experiments=16")
    history = night.end()
    assert {cell.device for cell in history.tiers.values()} == {"fake-h100", "fake-h200"}
    assert not lost_attempts(night)


def test_a_controller_in_a_job_requeues_itself_until_the_campaign_has_ended(night: Night) -> None:
    """`sbatch slurm/campaign.sbatch`, with a limit far shorter than the campaign."""
    settings = (*SETTINGS, *ONE_TIER, "name=night", "task.params.nap=12", "budget.experiments=16")
    night.testbed.run(
        *("sbatch", "--time=1", "--signal=B:USR1@40", f"--output={night.root}/job.log"),
        *(f"--chdir={night.root}", str(ROOT / "slurm" / "campaign.sbatch"), *settings),
        "pilot.minutes=20",
        AUTORESEARCH_VENV=sys.prefix,
    )
    history = night.until(lambda history: history.ended, 590)
    until(lambda: not night.testbed.squeue(), 90)
    said = (night.root / "job.log").read_text(encoding="utf-8")
    assert history.controllers >= 3, said[-3000:]
    assert all(entry.state is State.finished for entry in history.entries.values())
    assert all(entry.attempt == 1 for entry in history.entries.values())
    assert said.count("left; ") == history.controllers - 1


def test_a_controller_told_to_leave_before_it_listens_is_queued_again(tmp_path: Path) -> None:
    """Python may take long to start where everybody starts it."""
    (tmp_path / "bin").mkdir()
    for name, line in {
        "autoresearch": f"touch {tmp_path}/begun; exec sleep 60",
        "scontrol": f'echo "$@" >>{tmp_path}/asked; exit 1',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = os.environ | {"AUTORESEARCH_VENV": str(tmp_path), "SLURM_JOB_ID": "17"}
    job = subprocess.Popen(["bash", ROOT / "slurm" / "campaign.sbatch"], cwd=tmp_path, env=env)
    until((tmp_path / "begun").exists, 30)
    until(lambda: catches(job.pid, signal.SIGUSR1), 30)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(30) == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 17\n"


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_controller_that_only_looks_in_brings_a_campaign_to_its_end(night: Night) -> None:
    """`autoresearch run --leave`, then `autoresearch step` again and again."""
    settings = (*SETTINGS, *ONE_TIER, "name=night")
    begun = night.ask("run", "--leave", *settings)
    assert begun.returncode == 0, begun.stderr
    visits = 0
    while not night.history.ended:
        assert visits < 120
        assert not is_held(night.layout.lease)
        time.sleep(3)
        visit = night.ask("step", str(night.layout.root))
        assert visit.returncode == 0, visit.stderr
        visits += 1
    assert visits >= 1
    assert all(entry.attempt == 1 for entry in night.history.entries.values())
    once_more = night.ask("step", str(night.layout.root))
    assert "nothing to do: the campaign has ended" in once_more.stderr
    assert night.history.controllers == visits + 1


def test_two_controllers_at_once_are_impossible(night: Night) -> None:
    night.start("task.params.nap=2")
    night.a_running_one()
    visit = night.ask("step", str(night.layout.root))
    assert visit.returncode == 0
    assert "a controller is at work already" in visit.stderr
    second = night.ask("resume", str(night.layout.root))
    assert second.returncode == 1
    assert "should have no other controller" in second.stderr
    assert night.history.controllers == 1
    night.end()


@pytest.mark.slow
def test_a_controller_on_a_node_that_fell_silent_is_superseded(night: Night) -> None:
    """It runs under another host's name and is frozen; when it thaws, it finds itself replaced."""
    away = ("unshare", "--uts", "bash", "-c", 'hostname elsewhere; exec "$@"', "-")
    settings = ("run", *SETTINGS, *ONE_TIER, "name=night", "task.params.nap=3")
    frozen = subprocess.Popen(
        (*away, *night.command(*settings)),
        cwd=night.root,
        env=night.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    night.controllers.append(frozen)  # type: ignore[arg-type]
    night.a_running_one()
    os.kill(frozen.pid, 19)  # SIGSTOP
    refused = night.ask("resume", str(night.layout.root))
    assert "on elsewhere is at work" in refused.stderr
    time.sleep(100)
    night.start()
    night.until(lambda history: history.controllers == 2)
    before = len(night.events)
    os.kill(frozen.pid, 18)  # SIGCONT
    _, said = frozen.communicate(timeout=60)
    assert frozen.returncode == 1
    assert "another controller took over" in said
    assert len(night.events) >= before
    night.end()
    assert all(entry.attempt == 1 for entry in night.history.entries.values())
    night.report("controller's node falls silent, then wakes", "superseded; it stops", said[-90:])
