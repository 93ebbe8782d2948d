"""What people watch: JSON lines to a logging process beside the referee, one per attempt.

A logger that is slow, missing or dead never delays or fails an attempt: lines it does not take
at once are dropped. `autoresearch.tracking.logger` is started, never imported.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from autoresearch.experiment import Json, Result, Scalar
from autoresearch.node import kernel
from autoresearch.settings import Tracker

COMMAND = (sys.executable, "-P", "-m", "autoresearch.tracking.logger")
LOG_SECONDS = 1.0  # between two lines of a run
NICENESS = 19  # training comes first


class RunLog:
    """The log of one attempt. Everything is a no-op once the logger is gone."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        self.process = process
        self.started = False
        self.next_log = 0.0

    @classmethod
    def open(cls, tracker: Tracker) -> "RunLog":
        """Start the logging process, if the campaign is tracked at all."""
        if tracker.kind != "wandb":
            return cls(None)
        process = kernel.launch(
            COMMAND,
            os.environ,
            signal.SIGTERM,  # it then closes the run as killed
            nice=NICENESS,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        return cls(process)

    def start(self, run: Json, folder: str, tracker: Tracker) -> None:
        if not self.started:
            self.started = True
            self._write({"event": "start", "run": run, "dir": folder, "tracker": asdict(tracker)})

    def log(self, step: int, values: Mapping[str, Scalar]) -> None:
        now = time.monotonic()
        if now >= self.next_log:
            self.next_log = now + LOG_SECONDS
            self._write({"event": "log", "step": step, "values": dict(values)})

    def finish(self, result: Result) -> None:
        """Say how it ended and let the logger go: it ends by itself. A no-op before `start`."""
        summary: Json = {
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
        exit_code = 0 if result.failure is None else 1
        if self.started:
            self._write({"event": "finish", "summary": summary, "exit_code": exit_code})
        if self.process and self.process.stdin:
            self.process.stdin.close()

    def _write(self, event: Json) -> None:
        if self.process is None or self.process.stdin is None or self.process.stdin.closed:
            return
        line = json.dumps(event).encode() + b"\n"
        with contextlib.suppress(BlockingIOError):  # full: this line is dropped
            try:
                written = os.write(self.process.stdin.fileno(), line)
            except BrokenPipeError:
                written = 0
            if written < len(line):  # dead, or a torn line: nothing sensible can follow
                self.process.stdin.close()

    @property
    def is_over(self) -> bool:
        return self.process is None or self.process.poll() is not None


def wait_for(logs: Iterable[RunLog], patience: float) -> None:
    """Give the last loggers time to bring their runs home."""
    until = time.monotonic() + patience
    for log in logs:
        while not log.is_over and time.monotonic() < until:
            time.sleep(0.05)
