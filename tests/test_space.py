"""Domains: what lies in them, how they are cut up, and which are refused."""

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoresearch.errors import ConfigError
from autoresearch.experiment import Scalar
from autoresearch.space import (
    Choice,
    Domain,
    Interval,
    check_domain,
    check_inside,
    check_reach,
    names,
    space_from_json,
    space_to_json,
)

scalars = st.one_of(
    st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.text(max_size=4)
)
shares = st.floats(0.0, 1.0)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    integer, log = draw(st.booleans()), draw(st.booleans())
    if integer:
        start = draw(st.integers(1 if log else -(10**6), 10**6))
        return Interval(start, start + draw(st.integers(1, 10**6)), log, integer)
    low = draw(st.floats(1e-12 if log else -1e12, 1e12))
    high = draw(st.floats(1e-12 if log else -1e12, 1e12))
    assume(low != high)
    return Interval(min(low, high), max(low, high), log, integer)


choices = st.lists(scalars, min_size=1, max_size=6, unique_by=repr).map(
    lambda values: Choice(tuple(values))
)


@given(intervals(), shares)
def test_every_share_of_an_interval_is_a_value_of_it(domain: Interval, share: float) -> None:
    value = domain.at(share)
    assert domain.contains(value)
    assert isinstance(value, int if domain.integer else float)


@given(intervals(), st.integers(1, 9))
def test_a_grid_is_of_rising_values_of_the_domain(domain: Interval, levels: int) -> None:
    grid = domain.grid(levels)
    assert 1 <= len(grid) <= levels
    assert all(domain.contains(value) for value in grid)
    assert list(grid) == sorted(set(grid))


def test_a_grid_goes_from_end_to_end_on_the_domains_own_scale() -> None:
    assert Interval(0.0, 1.0).grid(5) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert Interval(0.01, 100.0, log=True).grid(5) == (0.01, 0.1, 1.0, 10.0, 100.0)
    assert Interval(2, 5, integer=True).grid(9) == (2, 3, 4, 5)
    assert Interval(0.0, 1.0).grid(1) == (0.5,)
    assert Choice(("b", "a")).grid(9) == ("b", "a")


@given(intervals(), shares)
def test_share_is_the_inverse_of_at(domain: Interval, share: float) -> None:
    """Nearly: values are written with six digits, and a whole number stands for a stretch."""
    assume(not domain.integer)
    width = math.log(domain.high / domain.low) if domain.log else domain.high - domain.low
    largest = 1.0 if domain.log else max(abs(domain.low), abs(domain.high))
    assume(width > 1e-3 * largest)
    assert domain.share(float(domain.at(share))) == pytest.approx(share, abs=2e-3)


def test_whole_numbers_are_equally_likely() -> None:
    domain = Interval(1, 4, integer=True)
    assert [domain.at(share) for share in (0.0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1.0)] == [
        1, 1, 2, 2, 3, 3, 4, 4,
    ]  # fmt: skip


def test_ends_of_many_digits_are_never_left() -> None:
    domain = Interval(1.00000049, 2.00000051)
    assert domain.at(0.0) == 1.00000049
    assert domain.at(1.0) == 2.0
    assert domain.contains(domain.tidy(0.0))
    assert domain.contains(domain.tidy(3.0))


@given(choices, shares)
def test_every_share_of_a_choice_is_one_of_it(domain: Choice, share: float) -> None:
    assert domain.contains(domain.at(share))


def test_a_choice_is_cut_into_equal_parts() -> None:
    domain = Choice(("a", "b", "c", "d"))
    assert [domain.at(i / 8) for i in range(9)] == ["a", "a", "b", "b", "c", "c", "d", "d", "d"]


@pytest.mark.parametrize("value", [True, "0.5", math.nan, math.inf, -0.1, 1.1])
def test_what_is_not_in_an_interval(value: Any) -> None:
    assert not Interval(0.0, 1.0).contains(value)
    assert not Interval(0, 1, integer=True).contains(value)


def test_a_whole_interval_has_no_halves() -> None:
    assert Interval(0, 4, integer=True).contains(2.0)
    assert not Interval(0, 4, integer=True).contains(2.5)


@pytest.mark.parametrize(
    ("domain", "value", "spelling"),
    [
        (Interval(0, 4, integer=True), 2.0, "2"),
        (Interval(0.0, 4.0), 2, "2.0"),
        (Interval(-1.0, 1.0), -0.0, "0.0"),
        (Choice((1, 2)), 2.0, "2"),
        (Choice((0.5, 1)), 1.0, "1"),
        (Choice((1.0, 2.0)), 1, "1.0"),
        (Choice((False, True)), True, "True"),
        (Choice((1, True)), True, "True"),
        (Choice(("a", "b")), "b", "'b'"),
    ],
)
def test_a_value_has_one_spelling(domain: Domain, value: Scalar, spelling: str) -> None:
    assert repr(domain.spelled(value)) == spelling


@given(st.one_of(choices, intervals()), shares)
def test_what_planners_write_is_spelled_so(domain: Domain, share: float) -> None:
    value = domain.at(share)
    again = domain.spelled(value)
    assert again == value
    assert isinstance(again, bool) == isinstance(value, bool)
    if isinstance(domain, Interval):
        assert type(again) is type(value)


@given(st.dictionaries(st.text(min_size=1), st.one_of(choices, intervals()), max_size=5))
def test_a_space_crosses_json_unchanged(space: dict[str, Domain]) -> None:
    again = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert again == space
    assert repr(again) == repr(space)  # True is not 1, 2.0 is not 2
    assert list(names(again)) == sorted(space)


@given(st.one_of(choices, intervals()))
def test_what_can_be_searched_passes(domain: Domain) -> None:
    check_domain("x", domain)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Choice(()), "space 'x' should offer at least one value, but is empty"),
        (Choice((1, 2, 1)), "space 'x' should list each value once, but repeats one"),
        (Interval(0, math.inf), "space 'x' should have finite ends, but has 0, inf"),
        (Interval(math.nan, 1), "space 'x' should have finite ends, but has nan, 1"),
        (Interval(1.2, 1.4, integer=True), "a whole number, but none lies from 1.2 to 1.4"),
        (Interval(2, 1), "goes from 2 to 1; swap the ends"),
        (Interval(1, 1), "goes from 1 to 1; swap the ends"),
        (Interval(0, 1, log=True), "its low end should be above 0, but is 0"),
    ],
)
def test_what_cannot_be_searched_is_refused(domain: Domain, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_domain("x", domain)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 10**400), (-1e308, 1e308), (1, 2.0**63), (-(2.0**62), 2.0**62), (0.0, math.nan)],
)
def test_what_reaches_too_far_is_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="should have ends below 2\\*\\*63 that lie less than"):
        check_reach("x", Interval(low, high))


@pytest.mark.parametrize("domain", [Interval(-1e18, 1e18), Choice((1e300,))])
def test_what_does_not_passes(domain: Domain) -> None:
    check_reach("x", domain)


def test_values_are_checked_against_their_domains() -> None:
    space: dict[str, Domain] = {"depth": Choice((4, 6)), "lr": Interval(0.01, 0.1)}
    check_inside(space, {"depth": 4, "lr": 0.1})
    check_inside(space, {})
    with pytest.raises(ConfigError, match="'width' is not in the space; it has: depth, lr"):
        check_inside(space, {"width": 3})
    with pytest.raises(ConfigError, match=r"'lr' should lie in .*, but was 0\.2"):
        check_inside(space, {"lr": 0.2})
