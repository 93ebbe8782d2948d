"""The referee's arithmetic: which rows go to the scorer, and what its answers are worth.

Pure numpy; randomness comes in as a generator that the program cannot guess. All scoring calls
have one shape, so that content and position are all that differ and tolerances can be tight.
The score is karpathy/autoresearch's `val_bpb`: total nats / (ln 2 x total target bytes), special
tokens left out. The probes:

    altered     copies of rows, changed from one position on (real text, or one token swapped):
                nats before the change must agree with the original's, or the model looks ahead,
                and be no better the second time, or it remembers
    random      rows of uniformly random tokens: nobody predicts them better than ln V
    challenge   a second scorer gives logits where the target is hidden: nats must agree
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch.errors import DataError
from autoresearch.experiment import Failure
from autoresearch.node.data import Tokens
from autoresearch.node.failure import AttemptFailed
from autoresearch.settings import Scoring

Indices = NDArray[np.intp]
Nats = NDArray[np.float32]

LEAK_EVIDENCE = math.log(1e9)  # nats by which luck may beat all random targets together


@dataclass(frozen=True)
class Plan:
    """All rows of one scoring pass, in the order of sending, and what each is for.

    `sent` is (calls, rows, length + 1): a row's inputs are all but its last token, its targets
    all but its first. The index arrays give places in the flattened first two axes.
    """

    sent: Tokens
    original: Indices  # (n,) place of each original row
    altered: Indices  # (a,) place of each altered copy
    source: Indices  # (a,) which original it is a copy of
    change: Indices  # (a,) the first token that differs
    random: Indices  # (r,) place of each random row

    @property
    def flat(self) -> Tokens:
        return self.sent.reshape(-1, self.sent.shape[2])


def rows_of(tokens: int, scoring: Scoring) -> int:
    """How many rows of a split of so many tokens are scored.

    Raises DataError if they do not fill one scoring call.
    """
    targets = max(0, min(scoring.tokens, tokens - 1))
    count = targets // scoring.length
    if count < scoring.rows:
        more = "prepare more text" if tokens <= scoring.tokens else "raise task.scoring.tokens"
        raise DataError(
            f"a held-out split should fill one scoring call of {scoring.rows} rows of "
            f"{scoring.length} tokens, but has {targets} tokens to score; {more}, "
            f"or set {f'task.scoring.rows={count}' if count else 'a smaller task.scoring.length'}"
        )
    return count


def original_rows(tokens: Tokens, scoring: Scoring) -> Tokens:
    """(n, length + 1): the split's first tokens as rows that share one token with the next.

    Raises DataError if the split does not fill one scoring call.
    """
    length = scoring.length
    count = rows_of(len(tokens), scoring)
    rows: Tokens = tokens[np.arange(count)[:, None] * length + np.arange(length + 1)]
    return rows


def plan(tokens: Tokens, vocabulary: int, scoring: Scoring, rng: np.random.Generator) -> Plan:
    """Draw a scoring pass over a split. Raises DataError if the split is too small."""
    rows = original_rows(tokens, scoring)
    n = len(rows)
    copies = min(n, round(scoring.altered * n))
    source = rng.permutation(n)[:copies]
    change = rng.integers(2, scoring.length + 1, copies)
    altered = alter(rows[source], change, tokens, rng)
    random = rng.integers(0, vocabulary, (scoring.random, scoring.length + 1)).astype(np.uint16)
    padding = rows[rng.integers(0, n, -(n + copies + scoring.random) % scoring.rows)]
    everything = np.concatenate([rows, altered, random, padding])
    places = shuffled_places(len(everything), source, n, rng)
    sent = np.empty_like(everything)
    sent[places] = everything
    return Plan(
        sent=sent.reshape(-1, scoring.rows, scoring.length + 1),
        original=places[:n],
        altered=places[n : n + copies],
        source=source,
        change=change,
        random=places[n + copies : n + copies + scoring.random],
    )


def alter(rows: Tokens, change: Indices, tokens: Tokens, rng: np.random.Generator) -> Tokens:
    """Copies that differ at `change`; every second one is real text of elsewhere from there on."""
    altered = rows.copy()
    for k, (row, at) in enumerate(zip(altered, change, strict=True)):
        if k % 2:
            start = rng.integers(0, len(tokens) - (len(row) - at) + 1)
            row[at:] = tokens[start : start + len(row) - at]
        row[at] = another_token(int(rows[k, at]), tokens, rng)
    return altered


def another_token(token: int, tokens: Tokens, rng: np.random.Generator) -> int:
    """A token of the text that is not `token`."""
    drawn = tokens[rng.integers(0, len(tokens), 64)]
    different = drawn[drawn != token]
    return int(different[0]) if len(different) else (0 if token else 1)


def shuffled_places(count: int, source: Indices, n: int, rng: np.random.Generator) -> Indices:
    """Where each row is sent. Every second altered copy precedes its original."""
    places = rng.permutation(count)
    for k, original in enumerate(source):
        precedes = places[n + k] < places[original]
        if precedes != (k % 2 == 0):
            places[[n + k, original]] = places[[original, n + k]]
    return places


def bits_per_byte(plan: Plan, nats: Nats, token_bytes: NDArray[np.int32]) -> float:
    """`nats` is (places, length). Targets of no bytes (special tokens) count in neither sum."""
    targets = token_bytes[plan.flat[plan.original, 1:]]
    total = float(nats[plan.original].astype(np.float64)[targets > 0].sum())
    return total / (math.log(2) * float(targets.sum()))


def check(plan: Plan, nats: Nats, vocabulary: int, scoring: Scoring) -> dict[str, float]:
    """What the probes measured. Raises AttemptFailed if one of them is violated."""
    check_range(nats)
    return {**check_random(plan, nats, vocabulary), **check_altered(plan, nats, scoring)}


def check_range(nats: Nats) -> None:
    if not np.isfinite(nats).all():
        share = float(np.mean(~np.isfinite(nats)))
        raise AttemptFailed(Failure.diverged, f"{share:.1%} of the scored tokens are not finite")
    if nats.min() < -1e-5:  # rounding of an exact 0
        raise disqualified("a token's nats", "at least 0", f"{nats.min():.6g}")


def check_random(plan: Plan, nats: Nats, vocabulary: int) -> dict[str, float]:
    """Whoever does not know a uniform target gives it the probability 1/V on average.

    So the product of V x probability over all random targets is a fair bet: it exceeds a billion
    with a chance of one in a billion (Ville's inequality), whatever the model; no other tolerance.
    """
    if not len(plan.random):
        return {}
    gains = math.log(vocabulary) - nats[plan.random].astype(np.float64)
    if gains.sum() > LEAK_EVIDENCE:
        lowest = f"at least ln V = {math.log(vocabulary):.4f}"
        measured = f"{math.log(vocabulary) - gains.mean():.4f}"
        raise disqualified("random rows' mean nats", lowest, measured)
    return {"random_excess": float(-gains.mean())}


def check_altered(plan: Plan, nats: Nats, scoring: Scoring) -> dict[str, float]:
    """What precedes a change must not feel it; and which row came first must not matter.

    A model that learns from the rows it scores is better, on average, at what it sees again.
    """
    if not len(plan.altered):
        return {}
    worst, drift, count = 0.0, 0.0, 0
    for place, source, change in zip(plan.altered, plan.source, plan.change, strict=True):
        before, original = slice(0, change - 1), plan.original[source]  # inputs and target precede
        difference = nats[place, before].astype(np.float64) - nats[original, before]
        worst = max(worst, float(np.abs(difference).max(initial=0.0)))
        drift += float(difference.sum()) * (1 if place > original else -1)
        count += len(difference)
    drift /= max(1, count)
    if worst > scoring.prefix_tolerance:
        bound = f"within {scoring.prefix_tolerance:g} of the original's"
        raise disqualified("nats before a change of the row", bound, f"off by {worst:.4g}")
    if abs(drift) > scoring.mean_tolerance:
        bound = f"within {scoring.mean_tolerance:g} of the first time's"
        raise disqualified("mean nats of rows that come twice", bound, f"off by {drift:.4g}")
    return {"prefix_difference": worst, "prefix_drift": drift}


@dataclass(frozen=True)
class Challenge:
    """Rows whose text after one position is noise: the position's target cannot be seen.

    It has not been seen before either: of one row, earlier positions come first.

    `sent` is (calls, rows, length), `position` (calls, rows), `place` (calls * rows,).
    """

    sent: Tokens
    position: Indices
    place: Indices

    @property
    def targets_at(self) -> Indices:
        return self.position.reshape(-1) + 1


def challenge(
    plan: Plan, token_bytes: NDArray[np.int32], scoring: Scoring, rng: np.random.Generator
) -> Challenge:
    """Draw positions over as many rows as there are, in whole calls."""
    calls = -(-scoring.challenges // scoring.rows)
    count = calls * scoring.rows
    place = np.resize(rng.permutation(plan.original), count)
    rows = plan.flat[place]
    counted = token_bytes[rows[:, 1:]] > 0
    position = np.argmax(rng.random(counted.shape) * (counted + 1e-9), axis=1)
    position[np.argsort(place, kind="stable")] = position[np.lexsort((position, place))]
    noise = rng.integers(0, len(token_bytes), (count, scoring.length)).astype(np.uint16)
    is_seen = np.arange(scoring.length) <= position[:, None]
    sent = np.where(is_seen, rows[:, :-1], noise)
    shape = (calls, scoring.rows)
    return Challenge(sent.reshape(*shape, scoring.length), position.reshape(shape), place)


def check_challenge(
    plan: Plan, asked: Challenge, nats: Nats, logits: NDArray[np.float32], scoring: Scoring
) -> dict[str, float]:
    """`logits` is (calls * rows, vocabulary). Raises AttemptFailed if the claims do not agree."""
    if not np.isfinite(logits).all():
        raise AttemptFailed(Failure.diverged, "logits of the second scorer are not finite")
    each = np.arange(len(asked.place))
    below = logits.max(axis=1, keepdims=True) - logits  # right to a digit, however large they are
    chosen = below[each, plan.flat[asked.place, asked.targets_at]]
    recomputed = chosen + np.log(np.exp(-below).sum(axis=1, dtype=np.float64))
    difference = nats[asked.place, asked.position.reshape(-1)] - recomputed
    mean, worst = float(difference.mean()), float(np.abs(difference).max())
    if worst > scoring.token_tolerance:
        bound = f"within {scoring.token_tolerance:g} of the recomputed"
        raise disqualified("a challenged token's nats", bound, f"off by {worst:.4g}")
    if abs(mean) > scoring.mean_tolerance:
        bound = f"within {scoring.mean_tolerance:g} of the recomputed"
        raise disqualified("challenged tokens' mean nats", bound, f"off by {mean:.4g}")
    return {"challenge_mean": mean, "challenge_worst": worst}


def disqualified(what: str, expected: str, measured: str) -> AttemptFailed:
    reason = f"{what} should be {expected}, but were {measured}"
    return AttemptFailed(Failure.disqualified, reason)
