"""Smoke experiments: does a program that somebody has just written run at all?

A planner may not run code where it thinks. It leaves a wish in its folder; the controller queues
it ahead of everything else, with a budget of a few tokens and hence in a cell of its own; the
planner looks for the result. Such a score ranks nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Self

from autoresearch.experiment import Attempt, Budget, Candidate, Experiment, Result, Scalar
from autoresearch.history import History
from autoresearch.layout import Layout, read_json, write_atomically

WISHES = "wishes"  # the folder of a planner's wishes, in its own


@dataclass(frozen=True)
class Wish:
    """A program to try. `text` is a train.py, `parents` are programs, `message` says why."""

    program: str
    text: str
    parents: tuple[str, ...]
    message: str
    tokens: int
    overrides: dict[str, Scalar] = field(default_factory=dict)

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.program, self.overrides)

    @property
    def budget(self) -> Budget:
        return Budget(tokens=self.tokens)

    def leave(self, folder: Path) -> None:
        """Leave it for the controller, in a planner's folder."""
        (folder / WISHES).mkdir(exist_ok=True)
        path = folder / WISHES / f"{self.candidate.key}.json"
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def found(cls, folder: Path) -> Iterator[Self]:
        """Every wish that a planner has left."""
        for path in sorted((folder / WISHES).glob("*.json")):
            record = read_json(path)
            if record is not None:
                yield cls(**{**record, "parents": tuple(record["parents"])})


def length(history: History, share: float) -> int:
    """Tokens of a smoke experiment: a share of what the baseline trains on, as far as is known."""
    entries = history.of_candidate(history.baseline, history.screen)
    tokens = [entry.result.tokens for entry in entries if entry.result and entry.bpb is not None]
    budget = history.tiers[history.screen].budget.tokens
    return max(1, int(share * (budget or (median(tokens) if tokens else 0))))


def experiment(history: History, candidate: Candidate, budget: Budget) -> Experiment:
    """The same for whoever asks: its id is known before it is queued."""
    cell = replace(history.tiers[history.screen], budget=budget)
    return Experiment(candidate, seed=0, cell=cell)


def outcome(layout: Layout, experiment: Experiment) -> tuple[Attempt, Result] | None:
    """The result of an experiment's last attempt that has one, read from its files."""
    names = (path.name for path in layout.experiment(experiment.id).glob("attempt-*"))
    for number in sorted((int(name.removeprefix("attempt-")) for name in names), reverse=True):
        attempt = Attempt(experiment.id, number)
        record = read_json(layout.result(attempt))
        if record is not None:
            return attempt, Result.from_json(record)
    return None
