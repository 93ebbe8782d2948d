#!/usr/bin/env python
"""How often a controller asks Slurm anything, whatever the number of experiments.

    .venv/bin/python scripts/bench/slurm/calls.py [--quick] [--seconds 90] [--json FILE]

Every start of squeue, sacct, sbatch, scontrol, scancel, sacctmgr and sinfo is counted by a wrapper
that comes first on PATH. Campaigns of 20, 200 and 2,000 experiments, all of them in line from the
start, are watched for so many seconds from their first sbatch on, or to their end. One of 20 has
the real referee; the pilots of the others are stand-ins (see `_standin.py`), which claim and answer
as it does: the controller cannot tell. They take 20 s each, so it looks as often as it ever does,
every 2 s; one campaign looks every 15 s, as it does when experiments take 150 s or longer.

Beside it, with as many tasks: submitit's own watcher, which `job.done()` asks every second, and one
`squeue -j ID` per job and look, as simple scripts do it; one such round is counted and timed, and
an hour has as many rounds as ours has looks, or as many as fit one after the other.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import submitit

BENCH = Path(__file__).parent.parent
sys.path.insert(0, str(BENCH))

import _report  # noqa: E402 - beside this folder
from _report import Figure  # noqa: E402
from slurm._lab import Call, Lab  # noqa: E402
from slurm._nap import rest  # noqa: E402

from autoresearch.history import History  # noqa: E402
from autoresearch.journal import replay  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from slurm import _lab  # noqa: E402

SIZES = (20, 200, 2000)
EACH = 20.0  # seconds that an experiment takes, on average
SLOW = 15.0  # seconds between two looks at experiments of 150 s and more
PILOTS = 8  # of each tier
KEPT = 12  # experiments that judge=quick keeps back
ARRAY = 1000  # tasks: what Slurm takes at once
ANY_GPU = {"partition": "h100,h200", "gres": "gpu:1"}


@dataclass(frozen=True)
class Count:
    """Calls within a window."""

    before: int  # at the start, until the first job was submitted
    after: list[Call]
    seconds: float
    asked: int = 0  # experiments on record at the end of the window, and of these
    finished: int = 0

    @property
    def hourly(self) -> float:
        return 3600 * len(self.after) / self.seconds

    def __str__(self) -> str:
        names = Counter(call.command for call in self.after)
        return ", ".join(f"{name} {count}" for name, count in names.most_common())


def counted(calls: Sequence[Call], until: float) -> Count:
    """From the first sbatch that was not a test, the last thing of a start, to a moment."""
    first = next(call.at for call in calls if call.command == "sbatch" and not call.is_test)
    before = [call for call in calls if call.at < first]
    return Count(len(before), [c for c in calls if first <= c.at <= until], until - first)


# ---- ours ----------------------------------------------------------------------------------------


def ours(lab: Lab, name: str, experiments: int, seconds: float, *overrides: str) -> Count:
    """A campaign, watched for a while and then left."""
    every = (
        # What is kept back for a crown test and a certification comes on top.
        *(f"budget.experiments={experiments + KEPT}", f"search.wave={experiments}"),
        "planner=random",
        *("judge=quick", "+search.space.nap=interval(1,2)"),
        *(f"cluster.tiers.{tier}.pilots={PILOTS}" for tier in ("screen", "validate")),
        *overrides,
    )
    with lab.controller(name, *every) as process:
        while not has_submitted(lab, name):
            if process.poll() is not None:
                raise SystemExit(lab.log(name))
            time.sleep(0.2)
        with suppress(subprocess.TimeoutExpired):  # it has not ended by then
            process.wait(seconds)
        if process.poll():
            raise SystemExit(lab.log(name))
        count = counted(lab.calls(name), time.time())
        history = History.of(replay(Layout(lab.root / name).journal).events)
    lab.cancel_all()
    asked = len(history.entries)
    if asked < experiments:
        raise SystemExit(f"{experiments} experiments should be on record, but {asked} are")
    return replace(count, asked=asked, finished=asked - len(history.active))


def has_submitted(lab: Lab, name: str) -> bool:
    return any(call.command == "sbatch" and not call.is_test for call in lab.calls(name))


# ---- theirs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Others:
    """What submitit's watcher asks, and what one round of one question per job costs."""

    watched: Count
    round_calls: int
    round_seconds: float


def others(lab: Lab, tasks: int, seconds: float) -> Others:
    """As many real tasks, each asked about every second by submitit; then a round of squeue."""
    name = f"submitit-{tasks}"
    counted_by = lab.environment(name)
    names = ("PATH", "BENCH_CALLS", "SLURM_CONF")
    variables = {key: counted_by[key] for key in names} | {"PYTHONPATH": str(BENCH)}
    executor = submitit.SlurmExecutor(lab.root / name)
    with _lab.surroundings(variables):
        executor.update_parameters(**ANY_GPU, mem="1GB", time=60, cpus_per_task=1)
        naps = [EACH] * tasks
        parts = [naps[first : first + ARRAY] for first in range(0, tasks, ARRAY)]
        jobs = list(chain.from_iterable(executor.map_array(rest, part) for part in parts))
        end = time.monotonic() + seconds
        while time.monotonic() < end and sum(job.done() for job in jobs) < tasks:
            time.sleep(1.0)
        watched = counted(lab.calls(name), time.time())
    start = time.monotonic()
    environment = lab.environment(f"round-{tasks}")
    for job in jobs:
        command = ["squeue", "-h", "-j", str(job.job_id), "-o", "%T"]
        subprocess.run(command, env=environment, capture_output=True, check=False)
    took = time.monotonic() - start
    lab.cancel_all()
    return Others(watched, len(lab.calls(f"round-{tasks}")), took)


# ---- figures -------------------------------------------------------------------------------------


def of_ours(what: str, count: Count) -> Figure:
    note = f"{count} in {count.seconds:.0f} s; {count.asked:,} asked, {count.finished} done"
    return Figure(f"ours, {what}", count.hourly, "/h", note=note)


def of_others(tasks: int, found: Others, looks: float) -> list[Figure]:
    """A round begins when ours looks, but not before the last one is over."""
    watched = found.watched
    rounds = min(looks, 3600 / found.round_seconds)
    note = f"{found.round_calls} calls in {found.round_seconds:.1f} s, a round"
    return [
        Figure(
            f"submitit's watcher, {tasks:,}",
            watched.hourly,
            "/h",
            note=f"{watched} in {watched.seconds:.0f} s, ever fewer",
        ),
        Figure(f"a squeue per job, {tasks:,}", found.round_calls * rounds, "/h", note=note),
    ]


def looks_per_hour(count: Count) -> float:
    return 3600 * sum(call.command == "squeue" for call in count.after) / count.seconds


def main() -> int:
    parser = _lab.arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, help="of each watch")
    options = parser.parse_args()
    seconds = options.seconds or (6.0 if options.quick else 90.0)
    sizes = SIZES[:2] if options.quick else SIZES
    standing_in = _lab.stand_ins(EACH)
    figures: list[Figure] = []
    with _lab.laboratory() as lab:
        counts = {}
        for size in sizes:
            counts[size] = ours(lab, f"c{size}", size, seconds, standing_in)
            figures.append(of_ours(f"{size:,} experiments", counts[size]))
        most, least = (pick(c.hourly for c in counts.values()) for pick in (max, min))
        figures.append(Figure("most over least of these", most / least, "×"))
        start = counts[sizes[-1]].before
        figures.append(Figure("ours, at the start", start, "calls"))
        if not options.quick:
            slow = ours(lab, "slow", 200, seconds, standing_in, f"cluster.poll_seconds={SLOW:g}")
            figures.append(of_ours("200 experiments of 150 s or more", slow))
            real = ours(lab, "real", SIZES[0], seconds)
            figures.append(of_ours(f"{SIZES[0]} experiments with the real referee", real))
        for size in sizes:
            found = others(lab, size, seconds)
            figures += of_others(size, found, looks_per_hour(counts[size]))
    return _report.report("Slurm calls per hour", figures, lab.machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
