"""What people watch: JSON lines to a logging process beside the referee, for one attempt after
another.

A logger that is slow, missing or dead never delays or fails an attempt: lines it does not take
at once are dropped. `autoresearch.tracking.logger` is started, never imported.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from autoresearch.experiment import Json, Result, Scalar
from autoresearch.layout import Layout
from autoresearch.node import kernel
from autoresearch.node.signature import read_key, sign
from autoresearch.settings import NodeSettings

COMMAND = (sys.executable, "-P", "-m", "autoresearch.tracking.logger")
LOG_SECONDS = 1.0  # between two lines of a run
NICENESS = 19  # training comes first
LOGGER_PATIENCE = 30.0  # seconds for loggers to end what they hold, when the pilot has ended
DELIVERY_PATIENCE = 600.0  # the same where nothing but W&B brings results home
PIPE_BYTES = 1 << 20  # what may lie before a logger that is busy ending the run before


class LoggerProcess:
    """The process that writes W&B runs, as the referee sees it."""

    def __init__(self) -> None:
        self.process = kernel.launch(
            COMMAND,
            os.environ,
            signal.SIGTERM,  # it then closes the run as killed
            nice=NICENESS,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None  # noqa: S101 - for the type checker
        self.stdin = self.process.stdin
        os.set_blocking(self.stdin.fileno(), False)
        with contextlib.suppress(OSError):  # more than this user's pipes may hold together
            fcntl.fcntl(self.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def write(self, event: Json) -> None:
        if self.stdin.closed:
            return
        line = json.dumps(event).encode() + b"\n"
        with contextlib.suppress(BlockingIOError):  # full: this line is dropped
            try:
                written = os.write(self.stdin.fileno(), line)
            except BrokenPipeError:
                written = 0
            if written < len(line):  # dead, or a torn line: nothing sensible can follow
                self.stdin.close()

    def close(self) -> None:
        """Let it go: it ends by itself when it has written everything."""
        self.stdin.close()

    @property
    def is_usable(self) -> bool:
        return not self.stdin.closed and not self.is_over

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None


class RunLog:
    """The log of one attempt. Without a logger everything is a no-op."""

    def __init__(
        self, logger: LoggerProcess | None, settings: NodeSettings, layout: Layout
    ) -> None:
        self.logger = logger
        self.tracker = asdict(settings.tracker)
        self.home = "" if is_carried(settings) else str(layout.wandb)
        self.started = False
        self.next_log = 0.0

    def start(self, run: Json) -> None:
        if self.logger and not self.started:
            self.started = True
            where = {"dir": self.home, "tracker": self.tracker}
            self.logger.write({"event": "start", "run": run, **where})

    @property
    def is_due(self) -> bool:
        """Whether the next line will be taken."""
        return self.logger is not None and time.monotonic() >= self.next_log

    @property
    def is_heard(self) -> bool:
        """Whether nothing that was said so far is lost."""
        return self.logger is None or self.logger.is_usable

    def log(self, step: int, values: Mapping[str, Scalar]) -> None:
        if self.logger and self.is_due:
            self.next_log = time.monotonic() + LOG_SECONDS
            self.logger.write({"event": "log", "step": step, "values": dict(values)})

    def finish(self, result: Result, sealed: dict[str, str]) -> None:
        """Say how it ended; `sealed` is what else its summary holds. A no-op before `start`."""
        if self.logger and self.started:
            exit_code = 0 if result.failure is None else 1
            summary = summary_of(result) | sealed
            self.logger.write({"event": "finish", "summary": summary, "exit_code": exit_code})


def is_carried(settings: NodeSettings) -> bool:
    """Whether nothing but W&B brings results home."""
    return settings.results == "wandb"


def outbox(settings: NodeSettings, layout: Layout, scratch: Path) -> Layout:
    """Where results are written: into the campaign, or into a folder of this node."""
    return Layout(scratch / "results") if is_carried(settings) else layout


def sealed(settings: NodeSettings, layout: Layout, text: str) -> dict[str, str]:
    """What W&B carries of a result.json: the whole of it, signed. Raises OSError without a key."""
    if not is_carried(settings):
        return {}
    return {"result": text, "signature": sign(read_key(layout.key), text)}


def patience(settings: NodeSettings) -> float:
    """Seconds that loggers have at the end of a pilot."""
    return DELIVERY_PATIENCE if is_carried(settings) else LOGGER_PATIENCE


def summary_of(result: Result) -> Json:
    """A result as W&B shows it."""
    return {
        "bpb": result.bpb,
        "failure": result.failure,
        "reason": result.reason,
        "steps": result.steps,
        "tokens": result.tokens,
        "weights": result.weights,
        "peak_memory": result.peak_memory,
        **{f"seconds/{stage}": value for stage, value in asdict(result.seconds).items()},
        **{f"probes/{name}": value for name, value in result.probes.items()},
    }


def wait_for(loggers: Iterable[LoggerProcess], patience: float) -> None:
    """Let the loggers go, and give them time to bring home what they hold."""
    waiting = list(loggers)
    for logger in waiting:
        logger.close()
    until = time.monotonic() + patience
    for logger in waiting:
        while not logger.is_over and time.monotonic() < until:
            time.sleep(0.05)
