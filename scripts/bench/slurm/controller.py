#!/usr/bin/env python
"""What a controller costs the login node: memory and processor time, with all it starts.

    .venv/bin/python scripts/bench/slurm/controller.py [--minutes 10] [--quick] [--json FILE]

A real `autoresearch run` of 200 experiments with planner=bayes on the testbed, whose pilots are
stand-ins: they claim and answer, and only wait in between (see `_standin.py`), for so long that
the campaign fills the time. Memory is the proportional set size of the controller and all its
children at the same moment. Processor time is the controller's own; what it started is apart.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).parent.parent
sys.path.insert(0, str(BENCH))

import _report  # noqa: E402 - beside this folder
from _report import Figure  # noqa: E402

from autoresearch.history import History  # noqa: E402
from autoresearch.journal import replay  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from slurm import _lab  # noqa: E402

PILOTS = 8  # that screen
SLACK = 1.4  # not all experiments are for these pilots, and the campaign should outlast the watch
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
SECONDS = 0.25  # between two looks: a planner lives longer
PEAK_SECONDS = 0.02  # between two at its memory, whose peak is short
OWN_EVERY = 8  # looks between two at the controller's own memory, which changes slowly
SETTLED = 30.0  # seconds after the start from which on time is counted apart


@dataclass(frozen=True)
class Times:
    """Processor seconds of a process, and of what it started and has seen end."""

    own: float
    children: float


def times(pid: int) -> Times:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system, of_children, system_of_children = (int(word) * TICK for word in words[11:15])
    return Times(user + system, of_children + system_of_children)


def megabytes(pid: int) -> float:
    """Proportional set size, or resident where the kernel does not tell; 0 for one that is gone."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = [int(word) for word in task.read_text(encoding="utf-8").split()]
        except OSError:
            continue
        for child in found:
            yield child
            yield from descendants(child)


def is_planner(pid: int) -> bool:
    try:
        return b"autoresearch.planners" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@dataclass
class Watch:
    """What was seen of a controller."""

    pid: int
    began: float = field(default_factory=time.monotonic)
    own: list[float] = field(default_factory=list)  # MB
    total: list[float] = field(default_factory=list)  # MB, with all children
    peak: float = 0.0  # MB, of the same, also between two looks
    planners: dict[int, float] = field(default_factory=dict)  # processor seconds, by process
    last: Times = Times(0.0, 0.0)
    settled: tuple[float, Times] | None = None

    def look(self) -> None:
        """A process that has ended keeps its times until its parent has asked for them."""
        children = list(descendants(self.pid))
        self.last = times(self.pid)
        for child in children:
            if child in self.planners or is_planner(child):
                with suppress(OSError):
                    self.planners[child] = times(child).own
        if len(self.total) % OWN_EVERY == 0 or not self.own:
            self.own.append(megabytes(self.pid))
        self.total.append(self.own[-1] + sum(map(megabytes, children)))
        self.peak = max(self.peak, self.total[-1])
        if self.settled is None and self.seconds > SETTLED:
            self.settled = self.seconds, self.last

    def pause(self) -> None:
        """Until the next look; meanwhile no planner's memory peaks unseen."""
        until = time.monotonic() + SECONDS
        while (left := until - time.monotonic()) > 0:
            children = list(descendants(self.pid))
            if any(map(is_planner, children)):
                self.peak = max(self.peak, self.own[-1] + sum(map(megabytes, children)))
            time.sleep(min(left, PEAK_SECONDS))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def observe(lab: _lab.Lab, minutes: float, experiments: int) -> tuple[Watch, float]:
    """One campaign, watched; and how long."""
    each = SLACK * minutes * 60 * PILOTS / experiments
    overrides = (
        *(f"budget.experiments={experiments}", "planner=bayes", _lab.stand_ins(each)),
        *("+search.space.nap=interval(1,2)", f"cluster.tiers.screen.pilots={PILOTS}"),
        f"cluster.tiers.validate.pilots={PILOTS}",
    )
    with lab.controller("campaign", *overrides) as process:
        watch = Watch(process.pid)
        while process.poll() is None and watch.seconds < minutes * 60:
            try:
                watch.look()
            except OSError:  # it has just ended
                break
            watch.pause()
        seconds = watch.seconds
    if process.returncode:
        raise SystemExit(lab.log("campaign"))
    return watch, seconds


def main() -> int:
    parser = _lab.arguments(__doc__ or "")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--experiments", type=int)
    options = parser.parse_args()
    minutes = options.minutes or (0.75 if options.quick else 10.0)
    experiments = options.experiments or (50 if options.quick else 200)
    with _lab.laboratory() as lab:
        watch, seconds = observe(lab, minutes, experiments)
        calls = len(lab.calls("campaign"))
        history = History.of(replay(Layout(lab.root / "campaign").journal).events)
    share = 100 / seconds
    began, then = watch.settled or (0.0, Times(0.0, 0.0))
    steady = 100 * (watch.last.own - then.own) / (seconds - began)
    planning = sum(watch.planners.values())
    rest = watch.last.children - planning
    figures = [
        Figure("memory with all children, peak", watch.peak, "MB", bound=150),
        Figure("... mean", statistics.fmean(watch.total), "MB"),
        Figure("memory of the controller alone, peak", max(watch.own), "MB"),
        Figure("processor time of the controller", watch.last.own * share, "%", bound=1),
        Figure(f"... after its first {began:.0f} s", steady, "%"),
        Figure("processor time of planners", planning * share, "%"),
        Figure("processor time of Slurm's commands", rest * share, "%"),
        Figure("planners", len(watch.planners), ""),
        Figure("Slurm calls", calls, ""),
        Figure("experiments finished", len(history.entries) - len(history.active), ""),
        Figure("wall clock", seconds),
    ]
    title = f"A controller of {experiments} experiments"
    return _report.report(title, figures, lab.machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
