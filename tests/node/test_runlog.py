"""The line to the logger: complete when it listens, of no consequence when it does not."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import Campaign

from autoresearch.experiment import Failure, Json, Result, Seconds
from autoresearch.node import runlog
from autoresearch.node.runlog import RunLog, wait_for
from autoresearch.settings import Tracker

WANDB = Tracker(kind="wandb")
RUN: Json = {"campaign": "c", "experiment": "e", "attempt": 1, "tier": "t", "config": {"lr": 0.1}}
RESULT = Result("e", 1, "p", bpb=1.25, seconds=Seconds(train=2.0), probes={"random_excess": 0.5})

COPY = "import sys; open({path!r}, 'w').write(sys.stdin.read())"
DEAF = "import time; time.sleep(600)"


@pytest.fixture
def logs() -> Iterator[list[RunLog]]:
    opened: list[RunLog] = []
    yield opened
    for log in opened:
        if log.process:
            log.process.kill()
            log.process.wait()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, logs: list[RunLog]) -> Any:
    """A log whose logger runs this code."""

    def open_(code: str) -> RunLog:
        monkeypatch.setattr(runlog, "COMMAND", (sys.executable, "-c", code))
        logs.append(RunLog.open(WANDB))
        return logs[-1]

    return open_


def test_a_run_is_started_once_logged_and_finished(tmp_path: Path, opened: Any) -> None:
    path = tmp_path / "lines"
    log = opened(COPY.format(path=str(path)))
    log.start(RUN, "/campaign/wandb", WANDB)
    log.start(RUN, "again", WANDB)
    log.log(1, {"loss": 2.5})
    log.log(2, {"loss": 2.4})  # within the same second: left out
    log.finish(RESULT)
    wait_for([log], 20)
    start, line, finish = map(json.loads, path.read_text().splitlines())
    assert start["event"] == "start"
    assert (start["run"], start["dir"]) == (RUN, "/campaign/wandb")
    assert start["tracker"]["kind"] == "wandb"
    assert line == {"event": "log", "step": 1, "values": {"loss": 2.5}}
    assert (finish["event"], finish["exit_code"]) == ("finish", 0)
    assert finish["summary"]["bpb"] == 1.25
    assert finish["summary"]["seconds/train"] == 2.0
    assert finish["summary"]["probes/random_excess"] == 0.5


def test_a_failure_is_an_exit_code(tmp_path: Path, opened: Any) -> None:
    path = tmp_path / "lines"
    log = opened(COPY.format(path=str(path)))
    log.start(RUN, "", WANDB)
    log.finish(Result("e", 1, "p", failure=Failure.crashed, reason="line 3"))
    wait_for([log], 20)
    finish = json.loads(path.read_text().splitlines()[-1])
    assert finish["exit_code"] == 1
    assert (finish["summary"]["failure"], finish["summary"]["reason"]) == ("crashed", "line 3")


def test_what_was_never_started_is_not_finished(tmp_path: Path, opened: Any) -> None:
    path = tmp_path / "lines"
    log = opened(COPY.format(path=str(path)))
    log.finish(RESULT)
    wait_for([log], 20)
    assert path.read_text() == ""


def test_a_logger_that_does_not_listen_holds_up_nothing(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlog, "LOG_SECONDS", 0.0)
    log = opened(DEAF)
    log.start(RUN, "", WANDB)
    began = time.monotonic()
    for step in range(3000):
        log.log(step, {"loss": 1.0, "note": "x" * 100})
    log.finish(RESULT)
    wait_for([log], patience=0.2)
    assert time.monotonic() - began < 5
    assert not log.is_over


def test_a_dead_logger_is_no_error(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "LOG_SECONDS", 0.0)
    log = opened("")
    log.process.wait()
    log.start(RUN, "", WANDB)
    for step in range(3):
        log.log(step, {"loss": 1.0})
    log.finish(RESULT)
    assert log.is_over


def test_without_a_tracker_there_is_no_process() -> None:
    log = RunLog.open(Tracker(kind="files"))
    log.start(RUN, "", WANDB)
    log.log(1, {"loss": 1.0})
    log.finish(RESULT)
    assert log.process is None
    assert log.is_over


def test_the_real_logger_writes_an_offline_run_beside_a_real_pilot(campaign: Campaign) -> None:
    campaign.tracker = WANDB
    campaign.write_settings()
    attempt = campaign.queue()
    campaign.run()
    assert campaign.result(attempt).failure is None, campaign.result(attempt).reason
    written = list(campaign.layout.wandb.rglob("*.wandb"))
    assert len(written) == 1
    assert written[0].stat().st_size > 500


def test_a_killed_logger_does_not_touch_its_attempt(campaign: Campaign) -> None:
    logger = campaign.layout.node / "autoresearch" / "tracking" / "logger.py"
    logger.write_text(f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})\n")
    campaign.tracker = WANDB
    campaign.write_settings()
    attempt = campaign.queue()
    campaign.run()
    assert campaign.result(attempt).failure is None, campaign.result(attempt).reason
