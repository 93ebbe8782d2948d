"""W&B and a real Slurm: results that only W&B brings home, killed jobs, a node without network."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nights import Night, lost_attempts
from testbeds import Testbed, until
from wandb_server import WandbServer

from autoresearch.entry import Entry
from autoresearch.experiment import State
from autoresearch.tracking.naming import run_id

pytestmark = pytest.mark.slurm

TRACKED = ("tracker=wandb", "tracker.entity=lab", "tracker.poll_seconds=1")
CARRIED = (*TRACKED, "tracker.mode=online", "cluster.results=wandb")

# Starts Python; on one node in a network namespace of its own, whose loopback is its own too.
CUT_OFF = """\
#!/usr/bin/env bash
if [ "$SLURMD_NODENAME" = {node} ]; then
  exec unshare --map-root-user --net sh -c 'ip link set lo up; exec "$@"' sh {python} "$@"
fi
exec {python} "$@"
"""


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def night(quiet_testbed: Testbed, server: WandbServer, tmp_path: Path) -> Iterator[Night]:
    home = tmp_path / "home"
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine {server.url[7:]} login user password {server.key}\n")
    netrc.chmod(0o600)
    night = Night(quiet_testbed, tmp_path)
    night.more = {"HOME": str(home), "WANDB_API_KEY": ""}
    night.overrides += (f"tracker.url={server.url}",)
    yield night
    night.leave()


def run_of(entry: Entry, attempt: int | None = None) -> str:
    return run_id("night", entry.experiment.id, attempt or entry.attempt)


def finished_events(night: Night) -> list[str]:
    return [event["experiment"] for event in night.events if event["type"] == "finished"]


def watcher_of(night: Night) -> int:
    """The process beside the controller that asks W&B."""
    wanted = ["autoresearch.mirror.watcher", str(night.layout.root)]

    def find() -> int:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if words[-3:-1] == wanted:
                return int(folder.name)
        return 0

    until(find, 60, "for the watcher")
    return find()


def test_results_come_by_wandb_and_one_that_was_tampered_with_is_refused(
    night: Night, server: WandbServer
) -> None:
    night.start(*CARRIED)
    watcher = watcher_of(night)
    os.kill(watcher, signal.SIGSTOP)  # it cannot see what happens at the server now
    until(lambda: [r for r in server.runs.values() if "signature" in r.summary], 120)
    victim = next(run for run in server.runs.values() if "signature" in run.summary)
    better = json.loads(victim.summary["result"]) | {"bpb": 0.5}
    server.tamper(victim.id, result=json.dumps(better, indent=1) + "\n", bpb=0.5)
    os.kill(watcher, signal.SIGCONT)
    night.until(lambda h: h.retries["node_failed"])
    assert "refused" in night.ask("status", str(night.layout.root)).stdout
    history = night.end()

    [lost] = lost_attempts(night)
    assert victim.id.startswith(lost["experiment"])
    assert "does not carry the referee's signature" in lost["reason"]
    assert history.entries[lost["experiment"]].attempt == 2
    assert sorted(finished_events(night)) == sorted(history.entries)
    for entry in history.entries.values():
        assert entry.bpb is not None
        assert entry.bpb > 0.5
        text = night.layout.result(entry.current).read_text()
        assert text == server.run(run_of(entry)).summary["result"]
    assert not list(night.layout.experiments.glob("*/*/log.txt")), "nodes write elsewhere"
    assert not night.layout.wandb.exists()
    check_secrets(night, server)


def check_secrets(night: Night, server: WandbServer) -> None:
    """The keys are in no file of the campaign, and in nothing that Slurm knows of its jobs."""
    signing = night.layout.key.read_bytes().strip()
    for path in night.layout.root.rglob("*"):
        if path.is_file() and path != night.layout.key:
            content = path.read_bytes()
            assert server.key.encode() not in content, path
            assert signing not in content, path
    accounts = ("sacct", "-n", "-P", "-o", "ALL", "-S", "now-1day")
    for command in (accounts, ("scontrol", "show", "job", "-dd")):
        said = subprocess.run(
            command, env=night.environment, capture_output=True, text=True, check=False
        ).stdout
        assert server.key not in said
        assert signing.decode() not in said


@pytest.mark.parametrize("number", ["TERM", "KILL"])
def test_what_a_killed_job_had_logged_is_kept_and_is_never_finished(
    night: Night, server: WandbServer, tmp_path: Path, number: str
) -> None:
    flag = tmp_path / "flag"
    one = "cluster.tiers.screen.pilots=1"  # so the first one to run is the one that naps
    night.start(*TRACKED, one, "budget.experiments=12", f"task.params.whim=once:{flag}")
    entry = night.a_running_one()
    until(lambda: run_of(entry, 1) in {run.id for run in server.runs.values()}, 60)
    job = night.job_of(entry)
    command = ("scancel", "--full", f"--signal={number}", job)
    subprocess.run(command, env=night.environment, check=True)
    if number == "TERM":  # as scancel does a little later
        subprocess.run(("scancel", job), env=night.environment, check=True)
    night.until(lambda h: h.entries[entry.experiment.id].attempt > 1)
    history = night.end()

    killed = server.run(run_of(entry, 1))
    assert killed.state != "finished"
    assert killed.exit_code != 0
    again = history.entries[entry.experiment.id]
    assert again.attempt == 2
    assert server.run(run_of(again)).state == "finished"
    assert sorted(finished_events(night)) == sorted(history.entries)


def can_cut_off() -> bool:
    command = ("unshare", "--map-root-user", "--net", "sh", "-c", "ip link set lo up")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_cut_off(), reason="needs network namespaces (unshare, ip)")
def test_runs_of_a_node_without_network_are_sent_from_the_login_node(
    night: Night, server: WandbServer, tmp_path: Path
) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(CUT_OFF.format(node="h100-01", python=sys.executable))
    wrapper.chmod(0o755)
    six = ("cluster.tiers.screen.pilots=6", "task.params.nap=2.0")  # four fit on one node
    night.start(*TRACKED, *six, f"cluster.python={wrapper}", "budget.experiments=18")
    history = night.end()

    nodes = {history.pilots[entry.pilot].node for entry in history.entries.values()}
    assert "h100-01" in nodes
    assert len(nodes) > 1
    kept = list(night.layout.wandb.glob("offline-run-*/*.wandb"))
    assert kept, "that node wrote files"
    assert len(kept) < len(history.entries), "the others did not"
    for entry in history.entries.values():
        run = server.run(run_of(entry))
        assert (run.state, run.creations) == ("finished", 1)
        assert run.summary["bpb"] == pytest.approx(entry.bpb)
    assert len(server.runs) == len(history.entries)
    assert all(entry.state is State.finished for entry in history.entries.values())
