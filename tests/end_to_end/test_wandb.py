"""A campaign that W&B carries, from `run` to the W&B report, against a local server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bigram import write_task
from wandb_server import WandbServer

from autoresearch.experiment import Json
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.tracking.naming import run_id

OVERRIDES = (
    *("dir=c", "name=night", "task=bigram", "search=bigram", "judge=quick", "planner=random"),
    *("budget.experiments=20", "pilot.poll_seconds=0.1", "cluster.poll_seconds=0.2"),
    *("task.scoring.challenges=0", "tracker=wandb", "tracker.entity=lab", "tracker.poll_seconds=1"),
    *("tracker.mode=online", "cluster.results=wandb"),
)


@dataclass
class Night:
    """One campaign that has been run, and the server that carried it."""

    root: Path
    server: WandbServer
    done: "subprocess.CompletedProcess[str]"

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "c")

    @property
    def history(self) -> History:
        return History.of(replay(self.layout.journal).events)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return run(self.root, *words)


def run(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    ours = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch", *words],
        cwd=root,
        env={**ours, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    root = tmp_path_factory.mktemp("wandb")
    write_task(root)
    (root / "home").mkdir()
    (root / "tmp").mkdir()
    with WandbServer() as server:
        netrc = root / "home" / ".netrc"
        netrc.write_text(f"machine {server.url[7:]} login user password {server.key}\n")
        netrc.chmod(0o600)
        done = run(root, "run", *OVERRIDES, f"tracker.url={server.url}")
        yield Night(root, server, done)


def test_it_runs_to_its_end_and_every_result_comes_once(night: Night) -> None:
    assert night.done.returncode == 0, night.done.stderr
    history = night.history
    assert history.ended
    assert not history.active
    assert not history.retries
    finished = [e["experiment"] for e in replay(night.layout.journal).events if is_finished(e)]
    assert sorted(finished) == sorted(history.entries)
    for entry in history.entries.values():
        assert entry.bpb is not None
        carried = night.server.run(run_id("night", entry.experiment.id, entry.attempt))
        assert carried.state == "finished"
        assert carried.summary["bpb"] == pytest.approx(entry.bpb)
        assert night.layout.result(entry.current).read_text() == carried.summary["result"]


def is_finished(event: Json) -> bool:
    return bool(event["type"] == "finished")


def test_nodes_write_nothing_into_the_campaign_but_claims(night: Night) -> None:
    assert not list(night.layout.experiments.glob("*/*/log.txt"))
    assert not night.layout.wandb.exists()
    assert not list((night.root / "tmp").glob("autoresearch-wandb-*")), "all was delivered"


def test_runs_say_what_identifies_them(night: Night) -> None:
    for entry in night.history.entries.values():
        run = night.server.run(run_id("night", entry.experiment.id, entry.attempt))
        assert (run.group, run.job_type, run.config["experiment"]) == (
            "night",
            entry.tier,
            entry.experiment.id,
        )
        assert run.config["seed"] == entry.experiment.seed
        assert f"cell {entry.experiment.cell.key}" in run.tags
        assert entry.purpose in run.tags
        assert (f"wave {entry.wave}" in run.tags) == bool(entry.wave)
        assert all("loss" in row for row in run.history)


def test_the_keys_are_nowhere_in_the_campaign(night: Night) -> None:
    signing = night.layout.key.read_bytes().strip()
    for path in night.layout.root.rglob("*"):
        if path.is_file() and path != night.layout.key:
            content = path.read_bytes()
            assert night.server.key.encode() not in content, path
            assert signing not in content, path
    told = json.dumps([r.variables for r in night.server.requests], default=str)
    assert signing.decode() not in told


def test_sync_finds_nothing_to_do(night: Night) -> None:
    done = night.ask("sync", "c", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["sent"], report["again"], report["failed"]) == ([], [], {})
    assert report["findings"]["different"] == []
    assert report["findings"]["doubled"] == []


def test_a_replay_says_that_it_needs_files(night: Night) -> None:
    done = night.ask("replay", "c", "baseline")
    assert done.returncode == 1
    assert "cluster.results=wandb" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there_keeps_an_online_campaign_from_beginning(night: Night) -> None:
    done = night.ask("run", *OVERRIDES, "dir=d", "tracker.url=http://127.0.0.1:9")
    assert done.returncode == 1
    assert "tracker.mode=online needs a W&B server, but" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (night.root / "d" / "config.yaml").exists()


def test_files_or_an_online_tracker_must_bring_results(night: Night) -> None:
    done = night.ask("run", *OVERRIDES, "dir=d", "tracker.mode=auto")
    assert done.returncode == 1
    assert "cluster.results should be files, or come with tracker=wandb" in done.stderr
