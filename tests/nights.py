"""A real campaign on the testbed, what a fault makes of it, and the table that shows it.

The program is the bigram task's, with a nap in it: an experiment lasts about as long as it says.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bigram import PROGRAM, write_task
from chaos import violations
from testbeds import Testbed, clean_environment, until

from autoresearch.entry import Entry
from autoresearch.experiment import Json, State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.node import kernel

NAP = PROGRAM.replace(
    "    batch: int = 8  # rows per step\n",
    "    batch: int = 8  # rows per step\n    nap: float = 0.0  # seconds\n"
    "    whim: str = 'none'  # something to go wrong\n",
).replace(
    "    run.ready()\n",
    "    run.ready()\n    import os, signal, time\n    time.sleep(config.nap)\n"
    "    act_on(config.whim)\n",
)
WHIMS = """

def act_on(whim):
    import os, pathlib, signal, time
    if whim.startswith("once:"):  # a long nap, the first time only
        flag = pathlib.Path(whim.removeprefix("once:"))
        if not flag.exists():
            flag.touch()
            time.sleep(600)
    if whim == "raise":
        raise RuntimeError("on a whim")
    if whim == "exit":
        os._exit(7)
    if whim == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if whim == "hoard":
        hoard = [bytearray(os.urandom(1 << 20)) for _ in range(8192)]
"""
SETTINGS = (
    *("task=bigram", "search=bigram", "cluster=testbed", "planner=random"),
    *("judge.baseline_seeds=2", "judge.crown_seeds=2", "judge.certify_seeds=2"),
    *("search.rungs=[1,2]", "task.scoring.challenges=0", "budget.experiments=14"),
    *("pilot.poll_seconds=0.2", "pilot.idle_seconds=8", "budget.wall_hours=0.3"),
    *("cluster.poll_seconds=1", "cluster.poll_limit=3"),
)
ONE_TIER = ("~cluster.tiers.validate",)


@dataclass(frozen=True)
class Row:
    """One line of the fault matrix."""

    fault: str
    done: str
    saw: str
    attempts: int
    lost: int

    def __str__(self) -> str:
        cells = (f"{self.fault:44}", f"{self.done:58}", f"{self.attempts:8d}", f"{self.lost:4d}")
        return "  ".join((*cells, self.saw))


MATRIX: list[Row] = []
HEADING = f"{'fault':44}  {'what was done':58}  attempts  lost  what the user saw"


@dataclass
class Night:
    """One campaign, in a folder of its own."""

    testbed: Testbed
    root: Path
    overrides: tuple[str, ...] = ONE_TIER
    more: dict[str, str] = field(default_factory=dict)  # of the controllers' environment
    controllers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        write_task(self.root, program=NAP + WHIMS)

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "campaigns" / "night")

    @property
    def history(self) -> History:
        return History.of(self.events)

    @property
    def events(self) -> list[Json]:
        return replay(self.layout.journal).events

    @property
    def said(self) -> str:
        """What all controllers have printed."""
        log = self.root / "controller.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        ours = {"COLUMNS": "200", **self.more}
        return clean_environment() | dict(self.testbed.environment) | ours

    def command(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "autoresearch", *words)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, *more: str) -> "subprocess.Popen[bytes]":
        """A controller: of a new campaign, or the next one's."""
        is_new = not self.layout.config.exists()
        words = ("run", *SETTINGS, *self.overrides, "name=night", *more)
        resume = ("resume", str(self.layout.root), *more)
        with (self.root / "controller.log").open("ab") as log:
            controller = subprocess.Popen(
                self.command(*(words if is_new else resume)),
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.controllers.append(controller)
        return controller

    def kill_controller(self, number: signal.Signals = signal.SIGKILL) -> int:
        controller = self.controllers[-1]
        controller.send_signal(number)
        return controller.wait(timeout=60)

    def until(self, condition: Callable[[History], object], seconds: float = 120.0) -> History:
        """Wait for something to be on record."""
        until(
            lambda: self.layout.config.exists() and condition(self.history),
            seconds,
            f"; {self.said[-2000:]}",
        )
        return self.history

    def a_running_one(self) -> Entry:
        """An experiment that a pilot is at work on, whose program trains."""

        def runs(history: History) -> bool:
            return any(e.state is State.running for e in history.active.values())

        history = self.until(runs)
        return next(e for e in history.active.values() if e.state is State.running)

    def job_of(self, entry: Entry) -> str:
        return str(self.history.pilots[entry.pilot].job["id"])

    def node_of(self, entry: Entry) -> str:
        return self.until(lambda h: h.pilots[entry.pilot].node).pilots[entry.pilot].node

    def processes_of(self, entry: Entry) -> set[int]:
        """All that its pilot's job runs, the script and srun too."""
        job = self.testbed.run("squeue", "--noheader", "--format=%A", "--jobs", self.job_of(entry))
        words = ("scontrol", "listpids", job.stdout.strip(), self.node_of(entry))
        lines = self.testbed.run(*words).stdout.splitlines()[1:]
        return {int(line.split()[0]) for line in lines if line}

    def kill_job(self, entry: Entry) -> None:
        """SIGKILL to all of its pilot's job at once: none may notice another's death.

        `scancel --signal=KILL` is no such thing: Slurm cancels the job, and says SIGTERM first.
        """
        pilot = int(pilot_record(self, entry.pilot)["pid"])
        until(lambda: len(kernel.tree(pilot)) >= 3, 60, "for a referee and what it starts")
        everybody = self.processes_of(entry)
        assert pilot in everybody
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for each in everybody:
                with suppress(ProcessLookupError):  # gone with one that was killed before it
                    os.kill(each, number)
        until(lambda: not any(map(is_alive, everybody)), 30, "for all of them to be dead")

    def end(self, seconds: float = 300.0) -> History:
        """Let it end; its history, in which nothing is lost, twice or left over."""
        code = self.controllers[-1].wait(timeout=seconds)
        assert code == 0, self.said[-3000:]
        history = self.history
        assert history.ended, self.said[-3000:]
        assert list(violations(self.layout, 10**6)) == []
        until(lambda: not self.testbed.squeue(), 60, "for the queue to be empty")
        return history

    def report(self, fault: str, done: str, saw: str) -> None:
        """Add a line to the matrix; nothing may be lost."""
        entries = self.history.entries.values()
        lost = sum(entry.state is not State.finished for entry in entries)
        attempts = max((entry.attempt for entry in entries), default=0)
        MATRIX.append(Row(fault, done, saw, attempts, lost))
        assert lost == 0

    def leave(self) -> None:
        """End what a test may have left running."""
        for controller in self.controllers:
            if controller.poll() is None:
                controller.kill()
                controller.wait()
        self.layout.drain.parent.mkdir(parents=True, exist_ok=True)
        self.layout.drain.touch()


def lost_attempts(night: Night) -> list[Json]:
    return [event for event in night.events if event["type"] == "lost"]


def pilot_record(night: Night, pilot: str) -> Json:
    record: Json = json.loads(night.layout.pilot(pilot).read_text(encoding="utf-8"))
    return record


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
