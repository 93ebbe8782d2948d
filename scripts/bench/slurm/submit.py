#!/usr/bin/env python
"""How long it takes from a planner's wave to jobs in the queue, beside submitit's own arrays.

    .venv/bin/python scripts/bench/slurm/submit.py [--quick] [--json FILE]

Waves of 13 and of 1,000 experiments, each wave in a new campaign: written to the journal, frozen
to disk, put in line, and as many pilots asked for as there are experiments, in one array. Beside
it, in turns, submitit's map_array of as many pickled functions. All jobs are held: none runs. What
Slurm's limits are is asked before: a controller asks once in its life.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest import mock

import submitit

BENCH = Path(__file__).parent.parent
sys.path.insert(0, str(BENCH))

import _report  # noqa: E402 - beside this folder
from _report import Figure  # noqa: E402
from slurm._lab import Lab  # noqa: E402
from slurm._nap import rest  # noqa: E402

from autoresearch import config, dispatch, opening  # noqa: E402
from autoresearch.campaign import Campaign  # noqa: E402
from autoresearch.entry import Purpose  # noqa: E402
from autoresearch.experiment import Candidate, Proposal, Wave  # noqa: E402
from autoresearch.judge import Request  # noqa: E402
from slurm import _lab  # noqa: E402

BOUNDS = {13: 1.0, 1000: 10.0}  # seconds for a wave of so many
OURS = "ours: a wave"
PIECES = ("propose", "freeze", "queue", "journal", "sbatch")
THEIRS = "submitit map_array"

P = ParamSpec("P")
R = TypeVar("R")


class Stopwatch:
    """Seconds spent in each of several functions."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start

        return wrapped


def new_campaign(lab: Lab, name: str, pilots: int) -> Campaign:
    """One that has asked Slurm all it wants to know, and would hold its jobs."""
    settings = config.compose(
        [
            *(f"name={name}", f"dir={lab.root / name}", "task=nap", "search=empty"),
            *("cluster=testbed", *_lab.only_tier("h100", pilots)),
            *("+cluster.options.hold=true", "+search.space.nap=interval(1,2)"),
        ]
    )
    campaign = opening.start(settings)
    campaign.cluster.batches("screen", pilots)
    return campaign


def ours(lab: Lab, name: str, count: int) -> dict[str, float]:
    """One wave from the planner's answer to Slurm's: seconds in all, and in each piece."""
    campaign = new_campaign(lab, name, count)
    naps = [1 + k / count for k in range(count)]
    wave = Wave("bench", "a wave", tuple(Proposal({"nap": nap}) for nap in naps))
    requests = [
        Request(Candidate(campaign.history.baseline.program, p.overrides), 1, "screen",
                Purpose.screen) for p in wave.proposals
    ]  # fmt: skip
    watch = Stopwatch()
    freeze = watch.timed("freeze", dispatch.freeze)
    queue = watch.timed("queue", dispatch.put_in_line)
    with (
        mock.patch.object(dispatch, "freeze", freeze),
        mock.patch.object(dispatch, "put_in_line", queue),
    ):
        watch.timed("propose", dispatch.propose)(campaign.record, requests, wave)
        enqueue = watch.timed("enqueue", dispatch.enqueue)
        enqueue(campaign.record, campaign.layout, campaign.sources)
        watch.timed("sbatch", dispatch.staff)(
            campaign.record, campaign.layout, campaign.cluster, campaign.settings
        )
    campaign.record.journal.close()
    campaign.lease.release()
    seconds = watch.seconds
    total = seconds["propose"] + seconds["enqueue"] + seconds["sbatch"]
    rest_of_it = seconds["enqueue"] - seconds["freeze"] - seconds["queue"]
    return {OURS: total, **seconds, "journal": rest_of_it}


def theirs(lab: Lab, name: str, count: int) -> dict[str, float]:
    """Plain submitit, asking for the same."""
    executor = submitit.SlurmExecutor(lab.root / name)
    executor.update_parameters(
        partition="h100", gres="gpu:h100:1", mem="4GB", time=60, cpus_per_task=1,
        additional_parameters={"hold": True},
    )  # fmt: skip
    start = time.perf_counter()
    executor.map_array(rest, range(count))
    return {THEIRS: time.perf_counter() - start}


def measure(lab: Lab, count: int, rounds: int) -> dict[str, float]:
    """The round that is in the middle, ours with its pieces and theirs; they take turns."""
    found: dict[str, list[dict[str, float]]] = {OURS: [], THEIRS: []}
    for number in range(rounds):
        for act, who in ((ours, OURS), (theirs, THEIRS)):
            found[who].append(act(lab, f"{act.__name__}-{count}-{number}", count))
            if len(lab.testbed.squeue()) != count:
                raise SystemExit(f"{who}: {count} jobs should be held, but are not")
            lab.cancel_all()
    middle: dict[str, float] = {}
    for who, times in found.items():
        middle |= sorted(times, key=lambda seconds: seconds[who])[rounds // 2]
    return middle


def figures(count: int, found: dict[str, float]) -> list[Figure]:
    size = f"{count:,} experiments"
    return [
        Figure(f"{OURS} of {size}", found[OURS], bound=BOUNDS[count]),
        *(Figure(f"... {name}", found[name]) for name in PIECES),
        Figure(f"{THEIRS} of {count:,}", found[THEIRS]),
        Figure(f"ours over submitit, {count:,}", found[OURS] / found[THEIRS], "×"),
        Figure("... the sbatch alone", found["sbatch"] / found[THEIRS], "×"),
    ]


def main() -> int:
    parser = _lab.arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 5)
    rows: list[Figure] = []
    with _lab.laboratory() as lab, _lab.surroundings(lab.environment("submit")):
        os.chdir(lab.root)  # where its conf/ is found
        for count in BOUNDS:
            rows += figures(count, measure(lab, count, rounds))
        os.chdir(BENCH)
    return _report.report("A wave, frozen and submitted", rows, lab.machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
