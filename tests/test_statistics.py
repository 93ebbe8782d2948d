"""Statistics against scipy's own, at their edges, and in simulation."""

import json
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from autoresearch.statistics import (
    Comparison,
    Noise,
    Summary,
    alpha_spent,
    climbers,
    detectable_effect,
    interval,
    noise,
    welch,
)

scores = st.lists(st.floats(0.5, 5.0).map(lambda x: round(x, 6)), min_size=2, max_size=12)


# ---- summaries and noise ---------------------------------------------------------------------


def test_a_summary_of_known_values() -> None:
    found = Summary.of([1.0, 2.0, 4.0])
    assert (found.n, found.mean, found.variance) == pytest.approx((3, 7 / 3, 7 / 3))
    assert Summary.of([1.5]) == Summary(1, 1.5, None)
    assert Summary.of([]) == Summary(0, None, None)


def test_equal_values_have_no_variance_at_all() -> None:
    for n in range(2, 30):
        assert Summary.of([0.1] * n) == Summary(n, 0.1, 0.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(wrong: float) -> None:
    for refuse in (Summary.of, lambda v: noise([v]), lambda v: welch(v, [1.0, 2.0])):
        with pytest.raises(ValueError, match="scores should be finite numbers, but one was"):
            refuse([1.0, wrong])


def test_noise_is_pooled_over_groups_by_their_degrees_of_freedom() -> None:
    found = noise([[1.0, 2.0, 3.0], [10.0, 14.0], [7.0], []])
    assert found is not None
    assert found.sigma == pytest.approx(math.sqrt((2 * 1.0 + 1 * 8.0) / 3))
    assert found.degrees == 3


def test_noise_ignores_how_groups_differ() -> None:
    rng = Random(1)
    groups = [[mean + rng.gauss(0, 0.02) for _ in range(5)] for mean in range(200)]
    found = noise(groups)
    assert found is not None
    assert found.degrees == 800
    assert found.sigma == pytest.approx(0.02, rel=0.1)


def test_without_replicates_there_is_no_noise_estimate() -> None:
    assert noise([]) is None
    assert noise([[1.0], [2.0], []]) is None
    assert noise([[1.0, 1.0]]) == Noise(0.0, 1)


# ---- comparisons -----------------------------------------------------------------------------


@given(a=scores, b=scores)
def test_welch_is_scipys(a: list[float], b: list[float]) -> None:
    assume(min(a) < max(a) and min(b) < max(b))  # scipy warns of a side without variance
    ours = welch(a, b)
    theirs = stats.ttest_ind(a, b, equal_var=False, alternative="less")
    both = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    assert ours.degrees == pytest.approx(theirs.df, rel=1e-6)
    assert ours.interval(0.9) == pytest.approx((both.low, both.high), rel=1e-6, abs=1e-9)


@given(a=scores, b=scores, shift=st.floats(-3, 3))
def test_p_falls_as_the_challenger_improves(a: list[float], b: list[float], shift: float) -> None:
    lower = [value - abs(shift) for value in a]
    assert welch(lower, b).p <= welch(a, b).p + 1e-9


@given(a=scores, b=scores)
def test_the_sides_mirror_each_other(a: list[float], b: list[float]) -> None:
    one, other = welch(a, b), welch(b, a)
    assert one.difference == -(other.difference or 0.0)
    if one.error:
        assert one.p + other.p == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [([], [1.0, 2.0], None), ([1.0], [2.0, 3.0], -1.5), ([0.0, 0.0], [9.0], -9.0), ([], [], None)],
)
def test_too_few_values_are_never_significant(
    a: list[float], b: list[float], difference: float | None
) -> None:
    found = welch(a, b)
    assert found == Comparison(difference, None, None, 1.0)
    assert found.interval() == (None, None)


def test_deterministic_programs_differ_exactly() -> None:
    better, equal, worse = ([x, x, x] for x in (1.1, 1.2, 1.3))
    assert welch(better, equal).p == 0.0
    assert welch(equal, equal).p == 1.0
    assert welch(worse, equal).p == 1.0
    found = welch(better, equal)
    assert found.interval() == (found.difference, found.difference)


def test_one_side_without_variance_leaves_the_others() -> None:
    a, b = [1.0, 1.0, 1.0], [1.1, 1.2, 1.3, 1.4]
    found = welch(a, b)
    one_sample = stats.ttest_1samp(b, 1.0, alternative="greater")
    assert found.degrees == pytest.approx(3)
    assert found.p == pytest.approx(one_sample.pvalue)


@pytest.mark.parametrize("scale", [1e-100, 1e-9, 1e150])
def test_degrees_of_freedom_survive_extreme_scales(scale: float) -> None:
    a, b = [1.0 * scale, 2.0 * scale, 4.0 * scale], [2.0 * scale, 3.0 * scale]
    assert welch(a, b).degrees == pytest.approx(welch([1, 2, 4], [2, 3]).degrees)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = Random(7)
    covered = 0
    for _ in range(2000):
        a = [rng.gauss(1.0, 0.01) for _ in range(4)]
        b = [rng.gauss(1.03, 0.03) for _ in range(6)]
        low, high = welch(a, b).interval(0.9)
        assert low is not None
        assert high is not None
        covered += low <= -0.03 <= high
    assert covered / 2000 == pytest.approx(0.9, abs=0.025)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence should lie between 0 and 1"):
        interval(0.1, 0.1, 5.0, confidence)


# ---- what could be found ---------------------------------------------------------------------


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.05), (5, 0.03), (5, 0.0003), (10, 0.01)])
def test_the_detectable_effect_is_the_noncentral_t(n: int, alpha: float) -> None:
    effect = detectable_effect(0.02, n, n, alpha, power=0.8)
    assert effect is not None
    degrees, shift = 2 * n - 2, effect / (0.02 * math.sqrt(2 / n))
    power = stats.nct.sf(stats.t.isf(alpha, degrees), degrees, shift)
    assert power == pytest.approx(0.8, abs=1e-5)


def test_an_effect_of_that_size_is_found_as_often_as_promised() -> None:
    rng = Random(3)
    effect = detectable_effect(0.02, 5, 5, 0.03, power=0.8)
    assert effect is not None
    found = 0
    for _ in range(2000):
        challenger = [rng.gauss(1.0 - effect, 0.02) for _ in range(5)]
        champion = [rng.gauss(1.0, 0.02) for _ in range(5)]
        found += welch(challenger, champion).p <= 0.03
    assert found / 2000 == pytest.approx(0.8, abs=0.035)


def test_more_seeds_and_less_noise_show_smaller_effects() -> None:
    effects = [detectable_effect(0.02, n, n, 0.05) or math.inf for n in (2, 3, 5, 10, 30)]
    assert effects == sorted(effects, reverse=True)
    assert detectable_effect(0.01, 5, 5, 0.05) == pytest.approx(effects[2] / 2)
    assert detectable_effect(0.0, 5, 5, 0.05) == 0.0
    assert detectable_effect(0.02, 1, 5, 0.05) is None


# ---- how often to test -----------------------------------------------------------------------


def test_the_levels_of_all_tests_sum_to_alpha() -> None:
    levels = [alpha_spent(k, 0.05) for k in range(1, 10_000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.0499 < sum(levels) < 0.05
    assert levels[0] == pytest.approx(0.05 * 0.6079271)


def test_tests_count_from_one() -> None:
    with pytest.raises(ValueError, match="tests count from 1, but k was 0"):
        alpha_spent(0, 0.05)


def false_crowns(level: Callable[[int], float], campaigns: int = 2000, tests: int = 15) -> float:
    """The share of campaigns with any crown, where no challenger differs from the champion."""
    rng = Random(11)
    crowned = 0
    for _ in range(campaigns):
        values = [[rng.gauss(1.0, 0.02) for _ in range(10)] for _ in range(tests)]
        crowned += any(
            welch(drawn[:5], drawn[5:]).p <= level(k) for k, drawn in enumerate(values, start=1)
        )
    return crowned / campaigns


def test_a_campaign_without_winners_crowns_one_at_most_at_the_promised_rate() -> None:
    """Spending alpha keeps the rate of the whole sequence; testing each at alpha does not."""
    assert 0.02 < false_crowns(lambda k: alpha_spent(k, 0.05)) <= 0.05
    assert false_crowns(lambda _: 0.05) > 0.3


# ---- who climbs ------------------------------------------------------------------------------


@given(n=st.integers(0, 200), eta=st.integers(2, 10))
def test_the_best_of_every_eta_climb(n: int, eta: int) -> None:
    found = climbers(list(range(n)), eta)
    assert list(found) == list(range(n // eta))


def test_an_eta_of_one_would_promote_everybody() -> None:
    with pytest.raises(ValueError, match="eta should be at least 2, but was 1"):
        climbers(["a"], 1)


def test_comparisons_are_plain_json() -> None:
    for found in (welch([], []), welch([1.0], [2.0]), welch([1.0, 2.0], [2.0, 3.5])):
        json.dumps([found.difference, found.p, *found.interval()], allow_nan=False)
