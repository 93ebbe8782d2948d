"""Honest programs in real pilots: what the referee's probes measured, beside their tolerances."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from honest import Honest, campaign_of, queue  # noqa: E402
from honest_facets import CPU, facets  # noqa: E402
from nodes import Campaign  # noqa: E402

from autoresearch.experiment import Attempt, Failure, Result, Scalar  # noqa: E402
from autoresearch.settings import Scoring  # noqa: E402

LIVES = 5  # how often pilots that went home early are sent again
LOOK = 1.0  # seconds between two looks at what has come

SCORED = {  # how the scorers ran what a program compiles so; all else is "compiled"
    "eager": "eager",
    "training": "eager",
    "max-autotune": "max-autotune",
    "reduce-overhead": "reduce-overhead",
}
BOUNDS = {  # the field of Scoring that bounds a probe's absolute value
    "challenge_mean": "mean_tolerance",
    "challenge_worst": "token_tolerance",
    "prefix_difference": "prefix_tolerance",
    "prefix_drift": "mean_tolerance",
    "prefix_mean": "mean_tolerance",
}
RANDOM = "random_excess"  # what no honest program makes small: nats above ln V

Rows = list[list[str]]


@dataclass(frozen=True)
class Outcome:
    """A program and what became of it, as a record keeps it."""

    name: str
    facets: Mapping[str, str]
    overrides: Mapping[str, Scalar]
    device: str = ""  # the processor's or GPU's name
    failure: str = ""
    reason: str = ""
    bpb: float | None = None
    probes: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> tuple[str, str, str]:
        scored = SCORED.get(self.facets["compile"], "compiled")
        return self.facets["dtype"], scored, self.device

    @property
    def is_disqualified(self) -> bool:
        return self.failure == Failure.disqualified

    def share(self, probe: str, scoring: Scoring) -> float:
        """How much of its tolerance a probe has used up; 0 where there is none."""
        bound = bound_of(probe, scoring)
        return abs(self.probes.get(probe, 0.0)) / bound if bound else 0.0

    def worst_share(self, scoring: Scoring) -> float:
        return max((self.share(probe, scoring) for probe in self.probes), default=0.0)


def bound_of(probe: str, scoring: Scoring) -> float:
    name = BOUNDS.get(probe, f"{probe}_tolerance")
    return float(getattr(scoring, name, 0.0))


# ---- running -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """How programs are run: on what, how many at once, and how long."""

    folder: Path
    device: str  # CPU or CUDA
    pilots: int
    minutes: float = 0.0  # after which nothing new begins; 0: no end

    def run(self, programs: Sequence[Honest], sandbox: str, times: int = 1) -> Iterator[Outcome]:
        """What became of each program, `times` over, in order; those never begun are left out."""
        campaign = campaign_of(self.folder, self.device, sandbox, life=60 * self.minutes)
        attempts = [
            (program, queue(campaign, program, number))
            for program in programs
            for number in range(1, times + 1)
        ]
        waiting = {attempt: program.name for program, attempt in attempts}
        for life in range(LIVES):
            self.work(campaign, life, waiting, len(attempts))
            if self.minutes or not any(campaign.layout.queued("screen")):
                break
        for program, attempt in attempts:
            if campaign.layout.claim(attempt).exists():
                yield outcome(program, result_of(campaign, attempt))

    def work(self, campaign: Campaign, life: int, waiting: dict[Attempt, str], count: int) -> None:
        """Pilots until the last has gone home; tells of results as they come."""
        pilots = [campaign.start(f"p{life}-{k}") for k in range(self.pilots)]
        try:
            while any(pilot.poll() is None for pilot in pilots):
                time.sleep(LOOK)
                tell(campaign, waiting, count)
        finally:
            end(pilots)
        tell(campaign, waiting, count)


def end(pilots: Sequence[subprocess.Popen[str]]) -> None:
    for pilot in pilots:
        pilot.terminate()
    for pilot in pilots:
        _, said = pilot.communicate()
        if said.strip():
            print(said.strip(), file=sys.stderr, flush=True)


def tell(campaign: Campaign, waiting: dict[Attempt, str], count: int) -> None:
    """A line for every result that has come since the last look."""
    for attempt, name in list(waiting.items()):
        if campaign.layout.result(attempt).exists():
            del waiting[attempt]
            result = campaign.result(attempt)
            ended = f"{result.failure}: {result.reason}" if result.failure else f"{result.bpb:.4f}"
            done = f"{count - len(waiting)} of {count}"
            print(f"{done}: {name}: {ended}", file=sys.stderr, flush=True)


def result_of(campaign: Campaign, attempt: Attempt) -> Result:
    """Also where a pilot has died with its claim."""
    if campaign.layout.result(attempt).exists():
        return campaign.result(attempt)
    reason = "the pilot left no result"
    return Result(attempt.experiment, attempt.number, "", None, Failure.node_failed, reason)


def outcome(program: Honest, result: Result) -> Outcome:
    return Outcome(
        name=program.name,
        facets=program.facets,
        overrides=program.overrides,
        device=str(result.device.get("name", "")),
        failure=str(result.failure or ""),
        reason=result.reason,
        bpb=result.bpb,
        probes={name: float(value) for name, value in result.probes.items()},
        seconds=asdict(result.seconds),
    )


# ---- tables ------------------------------------------------------------------------------------


def account(outcomes: Sequence[Outcome], scoring: Scoring) -> str:
    """All there is to say about honest programs."""
    parts = [
        "Largest absolute value, 99.9th percentile over programs (and their shares of the bound):",
        by_kind(outcomes, scoring),
        "Closest to a tolerance:",
        closest(outcomes, scoring),
        "Median and longest:",
        durations(outcomes),
    ]
    failed = [outcome for outcome in outcomes if outcome.failure]
    return "\n\n".join([*parts, "Without a score:", failures(failed)] if failed else parts)


def markdown(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def by_kind(outcomes: Sequence[Outcome], scoring: Scoring) -> str:
    """The table of probes: a line for dtype x compile x device, and one for all together."""
    kinds = sorted({o.kind for o in outcomes})
    probes = probes_of(outcomes)
    head = ["dtype", "scored", "device", "programs", "disqualified", "other failures"]
    head += [titled(probe, scoring) for probe in probes]
    rows = []
    for kind in [*kinds, ("all", "", "")]:
        some = [o for o in outcomes if kind in (o.kind, ("all", "", ""))]
        bad = sum(o.is_disqualified for o in some)
        other = sum(bool(o.failure) for o in some) - bad
        counts = [str(len(some)), str(bad), str(other)]
        rows.append([*kind, *counts, *(measured(probe, some, scoring) for probe in probes)])
    return markdown(head, rows)


def probes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Those with a known bound first, what random rows say last."""
    found = {probe for o in outcomes for probe in o.probes}
    others = sorted(found - set(BOUNDS) - {RANDOM})
    return [p for p in (*BOUNDS, *others, RANDOM) if p in found]


def titled(probe: str, scoring: Scoring) -> str:
    if probe == RANDOM:
        return f"{probe}: smallest"
    bound = bound_of(probe, scoring)
    return f"{probe} ≤ {bound:g}" if bound else probe


def measured(probe: str, outcomes: Sequence[Outcome], scoring: Scoring) -> str:
    values = np.array([o.probes[probe] for o in outcomes if probe in o.probes])
    if not len(values):
        return ""
    if probe == RANDOM:
        return f"{values.min():.3g}"
    values = np.abs(values)
    bound = bound_of(probe, scoring)
    shown = (float(values.max()), float(np.percentile(values, 99.9)))
    return ", ".join(f"{v:.2g} ({v / bound:.2g})" if bound else f"{v:.2g}" for v in shown)


def closest(outcomes: Sequence[Outcome], scoring: Scoring, count: int = 10) -> str:
    """The programs that came closest to a tolerance, and how they are made."""
    ranked = sorted(outcomes, key=lambda o: -o.worst_share(scoring))[:count]
    rows = []
    for each in ranked:
        probe = max(each.probes, key=lambda p: each.share(p, scoring), default="")
        value, share = each.probes.get(probe, 0.0), each.worst_share(scoring)
        rows.append([each.name, probe, f"{value:.2g} ({share:.2g})", made_of(each)])
    return markdown(["program", "probe", "measured", "made of"], rows)


def failures(outcomes: Sequence[Outcome]) -> str:
    rows = [[o.name, o.failure, o.reason.replace("|", "/"), made_of(o)] for o in outcomes]
    return markdown(["program", "failure", "reason", "made of"], rows)


def made_of(each: Outcome) -> str:
    """Where a program is not like train.py."""
    own = {facet: choices[0].name for facet, choices in facets(CPU).items()}
    kept = ("dtype", "compile")
    return ", ".join(
        f"{facet} {choice}"
        for facet, choice in each.facets.items()
        if facet in kept or choice != own[facet]
    )


def durations(outcomes: Sequence[Outcome]) -> str:
    """Median and longest seconds of each stage, by how programs are compiled."""
    rows = []
    for scored in sorted({o.kind[1] for o in outcomes}):
        some = [o.seconds for o in outcomes if o.kind[1] == scored and not o.failure]
        row = [scored, str(len(some))]
        for stage in ("setup", "train", "score"):
            taken = [seconds[stage] for seconds in some] or [0.0]
            row.append(f"{np.median(taken):.1f}, {max(taken):.1f}")
        rows.append(row)
    return markdown(["scored", "programs", "set-up s", "train s", "score s"], rows)


def differences(without: Sequence[Outcome], behind: Sequence[Outcome]) -> str:
    """Scores behind a wall less those without, beside what two equal runs without differ by.

    `without` has every program twice, one run after the other.
    """
    pairs = {b.name: [b] for b in behind if b.bpb is not None}
    for each in without:
        if each.bpb is not None and each.name in pairs:
            pairs[each.name].append(each)
    whole = [some for some in pairs.values() if len(some) == 3]
    rows = []
    for kind in [*sorted({some[0].kind for some in whole}), ("all", "", "")]:
        scores = np.array(
            [[o.bpb for o in some] for some in whole if kind in (some[0].kind, ("all", "", ""))]
        ).reshape(-1, 3)
        walled, again = scores[:, 0] - scores[:, 1], scores[:, 2] - scores[:, 1]
        shown = (spread(walled), f"{walled.mean():.2g}" if len(walled) else "", spread(again))
        rows.append([*kind, str(len(scores)), str(int((walled == 0).sum())), *shown])
    head = ["dtype", "scored", "device", "programs", "the same to the last bit"]
    head += ["largest difference, bpb", "mean difference", "largest of two runs without"]
    return markdown(head, rows)


def spread(differences: Sequence[float]) -> str:
    return f"{np.abs(differences).max():.2g}" if len(differences) else ""
