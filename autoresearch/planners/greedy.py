"""The seed's sequential loop (karpathy/autoresearch): change one thing, keep it if it is better.

From the best trial so far, one parameter moves one step. Once all such neighbours are tried the
step is halved: compass search (Kolda, Lewis and Torczon, 2003). One proposal at a time, and none
while a trial is pending: the next step depends on its result.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from autoresearch.errors import ConfigError
from autoresearch.experiment import Proposal, Scalar, Wave
from autoresearch.planners.points import Point, change, key, ordered
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.space import Choice, Domain, Interval, names

Status = Literal["keep", "discard", "crash", "pending"]

HALVINGS = 20  # the last steps are below a millionth of an interval: a value has six digits


@dataclass(frozen=True)
class Settings:
    """`step` is a share of an interval, on its own scale. Numbers to choose from move to the
    next one, words to any other."""

    step: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise ConfigError(f"step should lie above 0 and up to 1, but was {self.step:g}")


def statuses(trials: Sequence[Trial]) -> list[Status]:
    """What the loop made of each trial: kept if strictly lower than everything kept before."""
    best, found = math.inf, list[Status]()
    for trial in trials:
        if trial.state is Outcome.pending:
            found.append("pending")
        elif trial.value is None:
            found.append("crash")
        else:
            found.append("keep" if trial.value < best else "discard")
            best = min(best, trial.value)
    return found


def incumbent(request: Request) -> Trial:
    """The trial kept last; the defaults, with no value, while there is none."""
    kept = [
        trial
        for trial, status in zip(request.trials, statuses(request.trials), strict=True)
        if status == "keep"
    ]
    return kept[-1] if kept else Trial(request.defaults, Outcome.failed)


def propose(request: Request, settings: Settings) -> Wave:
    """One untried neighbour of the incumbent."""
    if request.pending:
        return request.nothing("the next step waits for the pending result", exhausted=False)
    base = incumbent(request)
    for point in neighbours(request, base.parameters, settings.step):
        if key(request.space, point) not in request.tried:
            words = change(base.parameters, point)
            goal = "works" if base.value is None else f"beats {base.value:.4f}"
            return Wave(request.planner, f"{words} {goal}", (Proposal(point, words),))
    return request.nothing("every neighbour of the incumbent has been tried", exhausted=True)


def neighbours(request: Request, point: Point, step: float) -> Iterator[Point]:
    """Points that differ in one parameter, widest steps first, parameters taking turns."""
    order = Random(request.seed).sample(names(request.space), len(request.space))
    turn = request.wave % len(order)
    rng = request.rng()
    for halving in range(HALVINGS):
        for name in order[turn:] + order[:turn]:
            values = moves(request.space[name], point[name], step / 2**halving)
            yield from ({**point, name: value} for value in rng.sample(values, len(values)))


def moves(domain: Domain, value: Scalar, step: float) -> list[Scalar]:
    """Where one step from `value` leads. Words have no order: each is a step from each other."""
    if not isinstance(domain, Choice):
        start = domain.at(0.5) if isinstance(value, str) else value
        return [target for way in (step, -step) if (target := moved(domain, start, way)) != value]
    others = [other for other in domain.values if other != value]
    if not ordered(domain) or value not in domain.values:
        return others
    index = domain.values.index(value)
    return [other for other in others if abs(domain.values.index(other) - index) == 1]


def moved(domain: Interval, value: float, step: float) -> int | float:
    """`value` after a step of this share of the domain, or the end it meets."""
    share = domain.share(min(max(value, domain.low), domain.high))
    target = domain.at(min(max(share + step, 0.0), 1.0))
    if domain.integer and (target - value) * step <= 0:  # too short to reach a whole number
        return domain.tidy(value + math.copysign(1, step))
    return target
