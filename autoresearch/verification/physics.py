"""What no program can have done: rows cut in two, a clock outrun, more arithmetic than a GPU has.

A program without a wall may report counts of its own; these rules say whether they are possible.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from autoresearch.experiment import digest
from autoresearch.hardware import peak_flops
from autoresearch.node.pace import FLOPS_PER_TOKEN
from autoresearch.verification.evidence import Evidence, Filed
from autoresearch.verification.findings import Check, should

DELAY = 2.0  # seconds; a busy referee notices late that its clock has run out
CLOCK_STEP = 10.0  # seconds by which a node's wall clock may have been set meanwhile
# Times the peak that 6 FLOPs per parameter and token may come to: parameters that are looked up, as
# embeddings are, take none, and eight-bit arithmetic is twice as fast as what the table has.
EXCUSE = 8.0


def counts(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """Tokens are whole rows, at least one a step. Only the last batch may exceed the budget."""
    result, row = filed.result, evidence.start.task.scoring.length
    budget = filed.experiment.cell.budget.tokens
    if result.tokens % row:
        yield should(filed.where, "tokens", f"whole rows of {row}", result.tokens)
    if result.tokens < result.steps * row or (result.tokens and not result.steps):
        least = f"at least one row of {row} in each of {result.steps} steps"
        yield should(filed.where, "tokens", least, result.tokens)
    if budget is not None and result.steps > 1 and result.tokens >= 2 * budget:
        most = f"at most the budget's {budget} and a last batch"
        yield should(filed.where, "tokens", most, result.tokens)


def clock(evidence: Evidence, filed: Filed) -> Iterator[str]:
    seconds, budget = filed.result.seconds, filed.experiment.cell.budget
    limits = [settings.task.limits for settings in evidence.lives]
    if budget.seconds is not None:
        most = budget.seconds + max(limit.grace_seconds for limit in limits)
    else:
        most = max(limit.token_seconds for limit in limits)
    if not 0 <= seconds.train <= most + DELAY:
        yield should(filed.where, "seconds.train", f"at most {most:g}", seconds.train)
    if min(seconds.setup, seconds.score) < 0:
        yield should(filed.where, "seconds", "at least 0", min(seconds.setup, seconds.score))


def curve(_: Evidence, filed: Filed) -> Iterator[str]:
    """Points in order, none later than the training's end, none after its last step."""
    result = filed.result
    if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(result.curve)):
        yield f"{filed.where}: points of the curve should follow one another, but do not"
    for seconds, step, _loss in result.curve[-1:]:
        if step > result.steps:
            yield should(filed.where, "the curve's last step", f"at most {result.steps}", step)
        if seconds > result.seconds.train + DELAY:
            most = f"at most {result.seconds.train:.3f} s"
            yield should(filed.where, "the curve's last point", most, seconds)


def peak(_: Evidence, filed: Filed) -> Iterator[str]:
    """Asked where the peak is known."""
    result, device = filed.result, filed.experiment.cell.device
    most = peak_flops(device) * EXCUSE * result.seconds.train
    flops = FLOPS_PER_TOKEN * result.weights * result.tokens
    if flops > most:
        bound = f"at most {EXCUSE:g} times what the {device} can do in {result.seconds.train:.1f} s"
        yield should(filed.where, "6 x weights x tokens", f"{bound}, {most:.3g},", f"{flops:.3g}")


@dataclass(frozen=True)
class Size:
    """What a candidate's runs in one cell have in common, whatever the seed."""

    candidate: str
    cell: str
    weights: int
    parameters: str  # the Config that ran, as one hash
    where: str

    @classmethod
    def of(cls, filed: Filed) -> Self:
        experiment, result = filed.experiment, filed.result
        key, parameters = experiment.candidate.key, digest(repr(sorted(result.parameters.items())))
        return cls(key, experiment.cell.key, result.weights, parameters, filed.where)


def replicates(sizes: Sequence[Size]) -> Check:
    """Equal programs with equal overrides are equally large."""
    first: dict[tuple[str, str], Size] = {}
    complaints = []
    for size in sizes:
        other = first.setdefault((size.candidate, size.cell), size)
        if size.weights != other.weights:
            wanted = f"{other.weights}, as in {other.where},"
            complaints.append(should(size.where, "weights", wanted, size.weights))
        if size.parameters != other.parameters:
            complaints.append(f"{size.where}: parameters should be as in {other.where}, but differ")
    claim = "of one size and one Config in all their runs"
    return Check("replicates", "candidate", claim, len(first), tuple(complaints))


@dataclass(frozen=True)
class Span:
    """When a pilot was at work on an attempt (Unix time)."""

    pilot: str
    started: float
    ended: float
    where: str


def sequence(spans: Sequence[Span]) -> Check:
    """A pilot holds one device and runs one experiment after another."""
    mine: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        mine[span.pilot].append(span)
    complaints = []
    for pilot, some in mine.items():
        for first, second in pairwise(sorted(some, key=lambda span: span.started)):
            if pilot and second.started < first.ended - CLOCK_STEP:
                overlap = f"{first.ended - second.started:.0f} s before {first.where} had ended"
                complaints.append(f"{second.where}: should begin later, but began {overlap}")
    claim = "ran one experiment after another"
    return Check("pilots", "pilot", claim, len(mine), tuple(complaints))
