"""The line to the logger: complete when it listens, of no consequence when it does not."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from nodes import Campaign

from autoresearch.experiment import Failure, Json, Result, Seconds
from autoresearch.layout import Layout
from autoresearch.node import runlog
from autoresearch.node.runlog import LoggerProcess, RunLog, wait_for
from autoresearch.node.signature import is_signed, make_key, read_key
from autoresearch.settings import Limits, NodeSettings, Pilot, Scoring, Tracker

WANDB = Tracker(kind="wandb", mode="offline")
RUN: Json = {"campaign": "c", "experiment": "e", "attempt": 1, "tier": "t", "config": {"lr": 0.1}}
RESULT = Result("e", 1, "p", bpb=1.25, seconds=Seconds(train=2.0), probes={"random_excess": 0.5})
SETTINGS = NodeSettings("c", "", {}, Scoring(), Limits(), Pilot(), WANDB)

COPY = "import sys; open({path!r}, 'w').write(sys.stdin.read())"
DEAF = "import time; time.sleep(600)"


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], LoggerProcess]]:
    """Starts a logger that runs this code."""
    started: list[LoggerProcess] = []

    def start_(code: str) -> LoggerProcess:
        monkeypatch.setattr(runlog, "COMMAND", (sys.executable, "-c", code))
        started.append(LoggerProcess())
        return started[-1]

    yield start_
    for logger in started:
        logger.process.kill()
        logger.process.wait()


Start = Callable[[str], LoggerProcess]


def log_to(logger: LoggerProcess | None, settings: NodeSettings = SETTINGS) -> RunLog:
    return RunLog(logger, settings, Layout(Path("/campaign")))


def test_a_run_is_started_once_logged_and_finished(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "lines"
    logger = start(COPY.format(path=str(path)))
    log = log_to(logger)
    log.start(RUN)
    log.start({})
    log.log(1, {"loss": 2.5})
    log.log(2, {"loss": 2.4})  # within the same second: left out
    log.finish(RESULT, {})
    wait_for([logger], 20)
    first, line, finish = map(json.loads, path.read_text().splitlines())
    assert first["event"] == "start"
    assert (first["run"], first["dir"]) == (RUN, "/campaign/wandb")
    assert first["tracker"]["kind"] == "wandb"
    assert line == {"event": "log", "step": 1, "values": {"loss": 2.5}}
    assert (finish["event"], finish["exit_code"]) == ("finish", 0)
    assert finish["summary"]["bpb"] == 1.25
    assert finish["summary"]["seconds/train"] == 2.0
    assert finish["summary"]["probes/random_excess"] == 0.5
    assert "result" not in finish["summary"]


def test_one_logger_takes_one_run_after_another(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "lines"
    logger = start(COPY.format(path=str(path)))
    for number in (1, 2):
        log = log_to(logger)
        log.start(RUN | {"attempt": number})
        log.log(1, {"loss": 2.5})
        log.finish(RESULT, {})
        assert log.is_heard
    wait_for([logger], 20)
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["start", "log", "finish"] * 2


def test_a_failure_is_an_exit_code(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "lines"
    logger = start(COPY.format(path=str(path)))
    log = log_to(logger)
    log.start(RUN)
    log.finish(Result("e", 1, "p", failure=Failure.crashed, reason="line 3"), {})
    wait_for([logger], 20)
    finish = json.loads(path.read_text().splitlines()[-1])
    assert finish["exit_code"] == 1
    assert (finish["summary"]["failure"], finish["summary"]["reason"]) == ("crashed", "line 3")


def test_what_was_never_started_is_not_finished(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "lines"
    logger = start(COPY.format(path=str(path)))
    log_to(logger).finish(RESULT, {})
    wait_for([logger], 20)
    assert path.read_text() == ""


def test_a_logger_that_does_not_listen_holds_up_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlog, "LOG_SECONDS", 0.0)
    logger = start(DEAF)
    log = log_to(logger)
    log.start(RUN)
    began = time.monotonic()
    for step in range(30000):
        log.log(step, {"loss": 1.0, "note": "x" * 100})
    log.finish(RESULT, {})
    wait_for([logger], patience=0.2)
    assert time.monotonic() - began < 20
    assert not logger.is_over
    assert not log.is_heard


def test_a_dead_logger_is_no_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "LOG_SECONDS", 0.0)
    logger = start("")
    logger.process.wait()
    log = log_to(logger)
    log.start(RUN)
    for step in range(3):
        log.log(step, {"loss": 1.0})
    log.finish(RESULT, {})
    assert logger.is_over
    assert not log.is_heard


def test_without_a_tracker_everything_is_a_no_op() -> None:
    log = log_to(None)
    log.start(RUN)
    log.log(1, {"loss": 1.0})
    log.finish(RESULT, {})
    assert log.is_heard


def test_a_result_that_wandb_carries_is_whole_and_signed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert runlog.sealed(SETTINGS, layout, "text") == {}
    assert runlog.outbox(SETTINGS, layout, Path("/scratch")) == layout

    carried = replace(SETTINGS, results="wandb")
    layout.key.parent.mkdir()
    make_key(layout.key)
    sealed = runlog.sealed(carried, layout, "text")
    assert sealed["result"] == "text"
    assert is_signed(read_key(layout.key), "text", sealed["signature"])
    assert runlog.outbox(carried, layout, Path("/scratch")).root == Path("/scratch/results")
    assert log_to(None, carried).home == ""


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
