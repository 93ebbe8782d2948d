"""The referee's arithmetic against scorers that are honest, and scorers that cheat.

A scorer here is a function from rows to logits; its claimed nats follow from them, unless it lies.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import SCORING, VOCABULARY, text
from numpy.typing import NDArray

from autoresearch.errors import DataError
from autoresearch.experiment import Failure
from autoresearch.node import scoring
from autoresearch.node.data import Tokens
from autoresearch.node.failure import AttemptFailed
from autoresearch.settings import SEEN, Scoring

Floats = NDArray[np.float32]
Model = Callable[[Tokens], Floats]  # (B, T) tokens -> (B, T, V) logits

TOKENS = text(5000, seed=7)
BYTES = np.where(np.arange(VOCABULARY) == 0, 0, 3).astype(np.int32)
TABLE = np.random.default_rng(0).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)


def causal(rows: Tokens) -> Floats:
    """An honest model: logits of the next token from this one."""
    logits: Floats = TABLE[rows]
    return logits


def ahead(steps: int) -> Model:
    """A model that sees the token `steps` places on, and bets on it."""

    def look(rows: Tokens) -> Floats:
        seen = np.concatenate([rows[:, steps:], rows[:, :steps]], axis=1)
        bets: Floats = np.eye(VOCABULARY, dtype=np.float32)[seen]
        return causal(rows) + np.float32(20) * bets

    return look


def nats_of(model: Model, rows: Tokens) -> scoring.Nats:
    """(B, T) nats that an honest harness computes from a model's logits."""
    logits = model(rows[:, :-1]).astype(np.float64)
    total = np.log(np.exp(logits).sum(axis=2))
    chosen = np.take_along_axis(logits, rows[:, 1:, None].astype(np.intp), axis=2)[..., 0]
    nats: scoring.Nats = (total - chosen).astype(np.float32)
    return nats


def referee(
    model: Model, lie: Callable[[scoring.Nats], scoring.Nats] = lambda nats: nats, seed: int = 0
) -> tuple[float, dict[str, float]]:
    """The score of a scorer, or the AttemptFailed that its probes deserve."""
    rng = np.random.default_rng(seed)
    plan = scoring.plan(TOKENS, VOCABULARY, SCORING, rng)
    nats = lie(np.concatenate([nats_of(model, call) for call in plan.sent]))
    probes = scoring.check(plan, nats, VOCABULARY, SCORING)
    asked = scoring.challenge(plan, BYTES, SCORING, rng)
    logits = np.concatenate([
        model(rows)[np.arange(SCORING.rows), at]
        for rows, at in zip(asked.sent, asked.position, strict=True)
    ])  # fmt: skip
    probes |= scoring.check_challenge(plan, asked, nats, logits, SCORING)
    return scoring.bits_per_byte(plan, nats, BYTES), probes


def test_an_honest_score_is_nats_over_bytes_of_the_first_tokens() -> None:
    bpb, probes = referee(causal)
    targets = TOKENS[1 : SCORING.tokens + 1]
    nats = nats_of(causal, TOKENS[None, : SCORING.tokens + 1])[0]
    counted = targets != 0
    expected = nats[counted].sum(dtype=np.float64) / math.log(2) / (3 * counted.sum())
    assert bpb == pytest.approx(expected, rel=1e-6)
    assert probes["prefix_difference"] == 0
    assert abs(probes["challenge_mean"]) < 1e-6
    assert probes["random_excess"] > 0


@given(st.sampled_from([1, 2, 3, 4, 5, 8, 40]), st.integers(0, 99))
def test_the_score_does_not_depend_on_the_shape_of_calls_or_the_order(rows: int, seed: int) -> None:
    changed = replace(SCORING, rows=rows)
    plan = scoring.plan(TOKENS, VOCABULARY, changed, np.random.default_rng(seed))
    assert plan.sent.shape[1:] == (rows, SCORING.length + 1)
    nats = np.concatenate([nats_of(causal, call) for call in plan.sent])
    assert scoring.bits_per_byte(plan, nats, BYTES) == pytest.approx(referee(causal)[0], rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_sees_its_target_is_disqualified(seed: int) -> None:
    """It scores 0 nats on random rows: below ln V without any tolerance to argue about."""
    with pytest.raises(AttemptFailed, match="random rows' mean nats should be at least ln V"):
        referee(ahead(1), seed=seed)


@given(st.integers(0, 2**32), st.floats(0, 30))
def test_bold_guesses_are_no_leak_however_lucky(seed: int, boldness: float) -> None:
    """A model that bets wildly, but cannot know: its rare hits must not be taken for knowledge."""
    rng = np.random.default_rng(seed)
    plan = scoring.plan(TOKENS, VOCABULARY, SCORING, rng)
    guess = (rng.normal(size=(VOCABULARY, VOCABULARY)) * boldness).astype(np.float32)
    nats = np.concatenate([nats_of(lambda rows: guess[rows], call) for call in plan.sent])
    scoring.check_random(plan, nats, VOCABULARY)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [2, 3])
def test_a_model_that_looks_further_ahead_is_disqualified(steps: int, seed: int) -> None:
    with pytest.raises(AttemptFailed, match="nats before a change of the row should be within"):
        referee(ahead(steps), seed=seed)


@pytest.mark.parametrize("share", [0.9, 0.995])
def test_claims_below_what_the_logits_say_are_disqualified(share: float) -> None:
    with pytest.raises(AttemptFailed, match="challenged token") as caught:
        referee(causal, lambda nats: nats * np.float32(share))
    assert caught.value.failure is Failure.disqualified


def test_a_mean_that_is_off_by_little_everywhere_is_disqualified() -> None:
    with pytest.raises(AttemptFailed, match="challenged tokens' mean nats"):
        referee(causal, lambda nats: nats - np.float32(0.002))


@pytest.mark.parametrize(
    ("value", "failure"),
    [(math.nan, Failure.diverged), (math.inf, Failure.diverged), (-1.0, Failure.disqualified)],
)
def test_one_impossible_value_is_enough(value: float, failure: Failure) -> None:
    def lie(nats: scoring.Nats) -> scoring.Nats:
        nats[3, 5] = value
        return nats

    with pytest.raises(AttemptFailed) as caught:
        referee(causal, lie)
    assert caught.value.failure is failure


def test_logits_that_are_not_finite_are_a_divergence() -> None:
    rng = np.random.default_rng(0)
    plan = scoring.plan(TOKENS, VOCABULARY, SCORING, rng)
    nats = np.concatenate([nats_of(causal, call) for call in plan.sent])
    asked = scoring.challenge(plan, BYTES, SCORING, rng)
    logits = np.full((len(asked.place), VOCABULARY), np.nan, dtype=np.float32)
    with pytest.raises(AttemptFailed, match="not finite") as caught:
        scoring.check_challenge(plan, asked, nats, logits, SCORING)
    assert caught.value.failure is Failure.diverged


SHAPES = st.builds(
    Scoring,
    rows=st.integers(1, 8),
    length=st.integers(2, 40),
    tokens=st.integers(320, 3000),
    altered=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    random=st.integers(0, 9),
    challenges=st.integers(1, 20),
)


@given(SHAPES, st.integers(0, 2**32))
def test_a_plan_holds_what_it_promises(wanted: Scoring, seed: int) -> None:
    plan = scoring.plan(TOKENS, VOCABULARY, wanted, np.random.default_rng(seed))
    n = wanted.tokens // wanted.length
    assert len(plan.original) == n
    assert plan.sent.shape[1:] == (wanted.rows, wanted.length + 1)
    flat = plan.flat[plan.original]
    assert (flat[:, :-1].reshape(-1) == TOKENS[: n * wanted.length]).all()
    assert (flat[:-1, -1] == flat[1:, 0]).all()  # every token but the first is a target once
    used = np.concatenate([plan.original, plan.altered, plan.random])
    assert len(set(used)) == len(used) <= len(plan.flat) < len(used) + wanted.rows
    assert len(plan.altered) == round(wanted.altered * n)
    assert len(set(plan.source)) == len(plan.source)
    for place, source, change in zip(plan.altered, plan.source, plan.change, strict=True):
        differs = plan.flat[place] != plan.flat[plan.original[source]]
        assert np.argmax(differs) == change
        assert differs[change]


@given(st.integers(0, 2**32))
def test_half_of_the_altered_rows_come_before_their_originals(seed: int) -> None:
    plan = scoring.plan(TOKENS, VOCABULARY, SCORING, np.random.default_rng(seed))
    before = plan.altered < plan.original[plan.source]
    assert before.sum() == (len(before) + 1) // 2


@given(SHAPES, st.integers(0, 2**32))
def test_a_challenge_hides_every_target_and_shows_all_that_comes_before(
    wanted: Scoring, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plan = scoring.plan(TOKENS, VOCABULARY, wanted, rng)
    asked = scoring.challenge(plan, BYTES, wanted, rng)
    sent, position = asked.sent.reshape(-1, wanted.length), asked.position.reshape(-1)
    assert wanted.challenges <= len(sent) < wanted.challenges + wanted.rows
    for row, at, place in zip(sent, position, asked.place, strict=True):
        whole = plan.flat[place]
        assert (row[: at + 1] == whole[: at + 1]).all()
        assert whole[at + 1] != 0  # the target counts in the score


def test_what_follows_a_challenged_position_says_nothing_about_its_target() -> None:
    """Not even what the target is not: the token in its place is it as often as any other."""
    rng = np.random.default_rng(1)
    wanted = replace(SCORING, challenges=40)
    same = total = 0
    for _ in range(100):
        plan = scoring.plan(TOKENS, VOCABULARY, wanted, rng)
        asked = scoring.challenge(plan, BYTES, wanted, rng)
        position = asked.position.reshape(-1)
        inside = position + 1 < wanted.length
        shown = asked.sent.reshape(-1, wanted.length)[inside, position[inside] + 1]
        targets = plan.flat[asked.place, asked.targets_at][inside]
        same, total = same + int((shown == targets).sum()), total + len(targets)
    assert abs(same - total / VOCABULARY) < 5 * (total / VOCABULARY) ** 0.5


def test_no_target_of_a_challenge_has_been_seen_in_an_earlier_one() -> None:
    wanted = replace(SCORING, challenges=200)  # of 40 rows
    rng = np.random.default_rng(1)
    plan = scoring.plan(TOKENS, VOCABULARY, wanted, rng)
    asked = scoring.challenge(plan, BYTES, wanted, rng)
    for place in plan.original:
        positions = asked.position.reshape(-1)[asked.place == place]
        assert len(positions) == 5
        assert (np.diff(positions) >= 0).all()


def test_so_many_challenges_see_a_lie_in_half_a_percent() -> None:
    share, probability = SEEN
    needed = math.ceil(math.log(1 - probability) / math.log(1 - share))
    assert Scoring().challenges == needed


def test_logits_so_large_that_others_are_lost_beside_them_count_as_they_are() -> None:
    rng = np.random.default_rng(0)
    plan = scoring.plan(TOKENS, VOCABULARY, SCORING, rng)
    asked = scoring.challenge(plan, BYTES, SCORING, rng)
    logits = np.full((len(asked.place), VOCABULARY), 1e30, dtype=np.float32)
    nats = np.zeros(plan.flat[:, 1:].shape, dtype=np.float32)
    with pytest.raises(AttemptFailed, match=f"off by {math.log(VOCABULARY):.4g}"):
        scoring.check_challenge(plan, asked, nats, logits, SCORING)


def test_positions_are_spread_over_rows_and_over_the_row() -> None:
    rng = np.random.default_rng(1)
    wanted = replace(SCORING, challenges=40)
    plan = scoring.plan(TOKENS, VOCABULARY, wanted, rng)
    asked = scoring.challenge(plan, BYTES, wanted, rng)
    assert len(set(asked.place)) == len(asked.place) == 40
    assert len(set(asked.position.reshape(-1))) > 10


def test_two_passes_differ_in_everything_but_the_scored_text() -> None:
    one, two = (scoring.plan(TOKENS, VOCABULARY, SCORING, np.random.default_rng()) for _ in "ab")
    assert not np.array_equal(one.sent, two.sent)
    assert np.array_equal(one.flat[one.original], two.flat[two.original])


@pytest.mark.parametrize("size", [0, 1, SCORING.rows * SCORING.length])
def test_too_little_text_is_an_error_that_says_what_is_needed(size: int) -> None:
    with pytest.raises(DataError, match="fill one scoring call of 4 rows of 16 tokens, but has"):
        scoring.original_rows(TOKENS[:size], SCORING)


def test_text_for_exactly_one_call_is_enough() -> None:
    rows = scoring.original_rows(TOKENS[: SCORING.rows * SCORING.length + 1], SCORING)
    assert rows.shape == (SCORING.rows, SCORING.length + 1)


def test_text_of_one_token_only_can_still_be_altered() -> None:
    dull = np.full(1000, 5, dtype=np.uint16)
    plan = scoring.plan(dull, VOCABULARY, SCORING, np.random.default_rng(0))
    assert all(plan.flat[p][c] != 5 for p, c in zip(plan.altered, plan.change, strict=True))
