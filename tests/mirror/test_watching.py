"""What a controller does with its watcher: real processes, some of them dead."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracked import Tracked, make

from autoresearch.experiment import Json
from autoresearch.mirror import watching as watching_module
from autoresearch.mirror.watching import MARGIN_SECONDS, Watching
from autoresearch.settings import Settings

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracked:
    """Its server is not there: a watcher says so at once, and goes on asking."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    made = make(tmp_path / "campaign", UNREACHABLE, experiments=1)
    made.settings = tracked_by(made.settings, kind="wandb", mode="auto")
    made.node.write(made.layout.node_settings)
    (made.layout.root / "control").mkdir(exist_ok=True)
    return made


def tracked_by(settings: Settings, *, results: str = "files", **tracker: Any) -> Settings:
    return replace(
        settings,
        tracker=replace(settings.tracker, **tracker),
        cluster=replace(settings.cluster, results=results),
    )


@pytest.fixture
def watching(campaign: Tracked) -> Iterator[Watching]:
    watching = Watching(campaign.layout, campaign.settings)
    yield watching
    if watching.process:
        end(watching.process)


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def note(campaign: Tracked, **said: object) -> None:
    campaign.layout.watched.write_text(json.dumps(said))


def pid_of(watching: Watching) -> int:
    assert watching.process
    return watching.process.pid


def test_a_look_has_it_ask_once_and_closing_ends_it(watching: Watching) -> None:
    began = time.time()
    watching.look()
    said = watching.said()
    assert said["written"] >= began
    assert said["polled"] == 0
    assert f"{UNREACHABLE} cannot be reached" in said["problem"]
    pid = pid_of(watching)
    assert os.getsid(pid) == pid, "a user's Ctrl-C is not for it"
    process = watching.process
    watching.close()
    assert process
    assert process.returncode == 0
    assert watching.has_ended
    watching.close()


def test_one_that_lives_is_left_alone(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "RESTART_SECONDS", 0.0)
    watching.tend()
    pid = pid_of(watching)
    watching.tend()
    assert pid_of(watching) == pid


def test_a_dead_one_is_started_again_but_not_at_once(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    watching.tend()
    dead = watching.process
    assert dead
    assert dead.wait(60) == 1
    watching.tend()
    assert watching.process is dead
    monkeypatch.setattr(watching_module, "RESTART_SECONDS", 0.0)
    watching.tend()
    assert pid_of(watching) != dead.pid
    end(dead)


def test_a_look_does_not_wait_for_the_dead(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "COMMAND", (sys.executable, "-c", ""))
    monkeypatch.setattr(watching_module, "LOOK_SECONDS", 1e6)
    watching.look()
    assert watching.said() == {}


def test_who_does_not_end_is_not_waited_for(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    monkeypatch.setattr(watching_module, "COMMAND", sleeper)
    watching.tend()
    process = watching.process
    assert process
    try:
        watching.close(patience=0.1)
        assert watching.process is None
    finally:
        end(process)


@pytest.mark.parametrize("tracker", [{"kind": "files"}, {"mode": "offline"}])
def test_where_nothing_is_tracked_online_there_is_none(
    campaign: Tracked, tracker: dict[str, str]
) -> None:
    watching = Watching(campaign.layout, tracked_by(campaign.settings, **tracker))
    note(campaign, polled=1.0, problem="left by another")
    watching.tend()
    watching.look()
    assert watching.process is None
    assert watching.said() == {}
    assert watching.has_all(time.time())
    watching.close()


def test_where_results_are_files_there_is_nothing_to_wait_for(watching: Watching) -> None:
    assert watching.has_all(time.time() + 1e9)


@pytest.mark.parametrize(
    ("said", "has_all"),
    [
        ({}, False),
        ({"polled": 0.0}, False),
        ({"polled": 1000.0 + MARGIN_SECONDS}, False),
        ({"polled": 1000.1 + MARGIN_SECONDS}, True),
        ({"polled": 1000.1 + MARGIN_SECONDS, "problem": "it went down since"}, True),
        ({"polled": "yesterday"}, False),
        ({"polled": None}, False),
    ],
)
def test_all_is_here_once_it_was_asked_some_time_after_the_end(
    campaign: Tracked, said: Json, has_all: bool
) -> None:
    settings = tracked_by(campaign.settings, results="wandb")
    watching = Watching(campaign.layout, settings)
    assert not watching.has_all(1000.0), "before the first answer"
    note(campaign, **said)
    assert watching.has_all(1000.0) == has_all
