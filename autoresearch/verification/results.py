"""Every result.json against its experiment, the journal, the probes' tolerances and its claim.

Each is read once, and every rule looks at it; what decisions are made of is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from autoresearch.entry import Entry, brief
from autoresearch.experiment import Attempt, Failure, Json, Result
from autoresearch.hardware import peak_flops
from autoresearch.layout import file_hash, read_json
from autoresearch.node.device import same_gpu
from autoresearch.node.scoring import LEAK_EVIDENCE
from autoresearch.settings import SANDBOXES, Scoring
from autoresearch.verification import physics
from autoresearch.verification.evidence import (
    Evidence,
    Filed,
    attempts,
    read_experiment,
    read_result,
)
from autoresearch.verification.findings import Check, differing, should

# What ends so may have left no result.json: the controller wrote what the cluster had said.
WITHOUT_A_FILE = {
    *(Failure.node_failed, Failure.preempted, Failure.out_of_memory, Failure.cancelled),
}
UNREADABLE = "result.json "  # how the journal's reason begins where a file could not be used

Rule = Callable[[Evidence, Filed], Iterator[str]]
Asked = Callable[[Evidence, Filed], bool]


@dataclass
class Reading:
    """What all result files together have shown."""

    checks: list[Check] = field(default_factory=list)
    briefs: dict[Attempt, Json] = field(default_factory=dict)  # as the journal should have them
    unprotected: int = 0
    scored: int = 0
    spans: list[physics.Span] = field(default_factory=list)
    sizes: list[physics.Size] = field(default_factory=list)
    complaints: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def file(self, rule: str, found: Iterator[str]) -> None:
        self.counts[rule] += 1
        self.complaints.setdefault(rule, []).extend(found)


def results(evidence: Evidence) -> Reading:
    reading = Reading()
    for filed in files(evidence, reading):
        look_at(evidence, filed, reading)
    if evidence.history:
        for entry in evidence.history.entries.values():
            if entry.result is not None:
                found = agreement(evidence, entry, entry.result, reading.briefs.get(entry.current))
                reading.file("agreement", found)
    claims = {name: claim for name, (claim, _, _) in RULES.items()}
    claims = {"schema": "of schema 1, whole", "agreement": "as the journal has them"} | claims
    reading.checks = [
        Check(name, "result", claim, reading.counts[name], tuple(reading.complaints.get(name, ())))
        for name, claim in claims.items()
    ]
    reading.checks += [physics.replicates(reading.sizes), physics.sequence(reading.spans)]
    return reading


def look_at(evidence: Evidence, filed: Filed, reading: Reading) -> None:
    result = filed.result
    reading.briefs[filed.attempt] = brief(result)
    reading.scored += result.bpb is not None
    reading.unprotected += result.bpb is not None and not result.protected
    if result.bpb is not None:
        reading.sizes.append(physics.Size.of(filed))
    if result.started and result.ended:
        reading.spans.append(physics.Span(result.pilot, result.started, result.ended, filed.where))
    for name, (_, is_asked, rule) in RULES.items():
        if is_asked(evidence, filed):
            reading.file(name, safely(rule, evidence, filed))


def safely(rule: Rule, evidence: Evidence, filed: Filed) -> Iterator[str]:
    """A record that somebody has written by hand may hold anything where no referee puts it."""
    try:
        yield from rule(evidence, filed)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        yield f"{filed.where}: should be as a referee writes it, but: {error!r}"


def files(evidence: Evidence, reading: Reading) -> Iterator[Filed]:
    """Every result.json that can be read, in an experiment that can; complaints on the others."""
    known = evidence.history.entries if evidence.history else {}
    for id in dict.fromkeys([*known, *evidence.folders]):
        for attempt in attempts(evidence.layout, id):
            path = evidence.layout.result(attempt)
            where, entry = evidence.name(path), known.get(id)
            try:
                result = read_result(path)
                experiment = entry.experiment if entry else read_experiment(evidence.layout, id)
            except FileNotFoundError:
                continue
            except (ValueError, OSError) as error:
                is_known = is_unusable(entry, attempt)
                reading.file("schema", iter([] if is_known else [f"{where}: {error}"]))
                continue
            reading.file("schema", iter(()))
            yield Filed(where, attempt, experiment, result)


def is_unusable(entry: Entry | None, attempt: Attempt) -> bool:
    """Whether the controller, too, has found a file of no use and tried again or given up."""
    if entry is None:
        return False
    if entry.attempt != attempt.number:
        return any(UNREADABLE in reason for reason in entry.losses)
    return entry.result is not None and entry.result.reason.startswith(UNREADABLE)


def agreement(
    evidence: Evidence, entry: Entry, recorded: Result, found: Json | None
) -> Iterator[str]:
    """The journal's `finished` event and the file it was made of."""
    path = evidence.layout.result(entry.current)
    where = evidence.name(path)
    if recorded.failure in WITHOUT_A_FILE and not recorded.started:
        return  # given up by the controller: a file that came later does not count
    if found is not None:
        yield from differing(where, brief(recorded), found)
    elif not path.exists():
        score = recorded.failure or f"{recorded.bpb} bits per byte"
        yield f"{where}: should be there, for the journal has {score} of it, but is missing"


# ---- rules -----------------------------------------------------------------------------------


def hashes(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """What it was made of. An attempt that ended before anything was read has no hashes."""
    result, cell = filed.result, filed.experiment.cell
    yield from differing(
        filed.where,
        {"experiment": filed.attempt.experiment, "attempt": filed.attempt.number},
        {"experiment": result.experiment, "attempt": result.attempt},
    )
    if not result.hashes and result.failure is not None:
        return
    expected: Json = {
        "experiment": filed.attempt.experiment,
        "program": filed.experiment.candidate.program,
        "manifest": cell.data,
    }
    if evidence.code is not None:
        expected["node"] = evidence.code
    if result.failure is not None:  # also of a node whose data or code were found to be wrong
        expected = {key: expected[key] for key in ("experiment", "program")}
    yield from differing(f"{filed.where}, hashes", expected, result.hashes)


def probes(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """Every probe that the settings ask for was made, and measured no more than is tolerated."""
    scoring, found = evidence.start.task.scoring, filed.result.probes
    for name in needed(scoring):
        if name not in found:
            yield f"{filed.where}: probe {name} should have been made, but was not"
    for name, bound in tolerances(scoring).items():
        measured = found.get(name, 0.0)
        if not isinstance(measured, (int, float)) or not beyond(name, measured) <= bound:
            yield should(filed.where, f"probe {name}", f"within {bound:g}", measured)


RANDOM = "random_excess"  # above ln V it may lie as far as it likes


def beyond(name: str, measured: float) -> float:
    return -measured if name == RANDOM else abs(measured)


def needed(scoring: Scoring) -> Iterator[str]:
    """The probes that are always made with these settings."""
    if scoring.random:
        yield RANDOM
    if round(scoring.altered * scoring.rows):
        yield "prefix_difference"
    if scoring.challenges:
        yield from ("challenge_mean", "challenge_worst")


def tolerances(scoring: Scoring) -> dict[str, float]:
    """How far each probe may be off."""
    return {
        RANDOM: LEAK_EVIDENCE / max(1, scoring.random * scoring.length),
        "prefix_difference": scoring.prefix_tolerance,
        "prefix_drift": scoring.mean_tolerance,  # in campaigns since there is such a probe
        "challenge_mean": scoring.mean_tolerance,
        "challenge_worst": scoring.token_tolerance,
    }


def device(_: Evidence, filed: Filed) -> Iterator[str]:
    wanted, facts = filed.experiment.cell.device, filed.result.device
    if wanted.startswith("cpu-"):
        found = f"cpu-{facts.get('threads')}"
        is_it = found == wanted
    else:
        found = str(facts.get("name", ""))
        is_it = wanted.startswith("fake-") or same_gpu(wanted, found)
    if not is_it:
        yield should(filed.where, "device", wanted, found)


def wall(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """A result may not claim a protection that nobody has asked for."""
    auto, *_, none = SANDBOXES
    asked = evidence.start.cluster.sandbox
    allowed = SANDBOXES[1:] if asked == auto else tuple({asked, none})
    if filed.result.sandbox not in allowed:
        yield should(filed.where, "sandbox", " or ".join(allowed), filed.result.sandbox)


def claim(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """The pilot that a result names had claimed the attempt."""
    claimed = (read_json(evidence.layout.claim(filed.attempt)) or {}).get("pilot")
    if claimed != filed.result.pilot and filed.result.pilot:
        yield should(filed.where, "pilot", f"as in its claim, {claimed},", filed.result.pilot)


def weights(evidence: Evidence, filed: Filed) -> Iterator[str]:
    """What lies beside a result is what the referee has kept."""
    path = evidence.layout.checkpoint(filed.attempt)
    try:
        found = file_hash(path)
    except OSError as error:
        found = str(error.strerror)
    wanted = str(filed.result.hashes.get("weights", "none"))
    yield from differing(evidence.name(path), {"SHA-256": wanted}, {"SHA-256": found})


def score(_: Evidence, filed: Filed) -> Iterator[str]:
    """Finite it is, or it could not be read."""
    if (filed.result.bpb or 0.0) < 0:
        yield should(filed.where, "bpb", "at least 0", filed.result.bpb)


def always(_: Evidence, __: Filed) -> bool:
    return True


def has_score(_: Evidence, filed: Filed) -> bool:
    return filed.result.bpb is not None


def has_claim(evidence: Evidence, filed: Filed) -> bool:
    return evidence.layout.claim(filed.attempt).exists()


def has_weights(evidence: Evidence, filed: Filed) -> bool:
    return evidence.layout.checkpoint(filed.attempt).exists()


def has_peak(_: Evidence, filed: Filed) -> bool:
    return filed.result.bpb is not None and peak_flops(filed.experiment.cell.device) > 0


# By name: what holds, of which results it is asked, and the rule.
RULES: dict[str, tuple[str, Asked, Rule]] = {
    "hashes": ("of this program, this node code, this data", always, hashes),
    "weights": ("as they were kept", has_weights, weights),
    "scores": ("finite, of 0 bits per byte or more", has_score, score),
    "probes": ("within the tolerances of the scoring settings", has_score, probes),
    "device": ("made on the cell's device", has_score, device),
    "sandbox": ("of no wall that nobody asked for", has_score, wall),
    "claims": ("of the pilot that had claimed the attempt", has_claim, claim),
    "counts": ("of whole rows, and of no more tokens than the budget", has_score, physics.counts),
    "clock": ("trained within budget and grace", has_score, physics.clock),
    "curve": ("with a curve that ends where its counts do", has_score, physics.curve),
    "peak": ("no faster than the device's peak allows", has_peak, physics.peak),
}
