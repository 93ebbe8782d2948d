"""Points: identity, layouts, and what is left of a space."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.planners.points import (
    LISTED,
    Point,
    cell,
    change,
    draw,
    fresh,
    key,
    latin,
    ordered,
    remaining,
    spread,
    uniform,
)
from autoresearch.space import Choice, Interval, Space

SPACE: Space = {"depth": Interval(1, 4, integer=True), "tied": Choice((False, True))}


def test_equal_numbers_are_one_point_but_true_is_not_one() -> None:
    space: Space = {"x": Choice((1, True))}
    assert key(space, {"x": 1}) == key(space, {"x": 1.0})
    assert key(space, {"x": 1}) != key(space, {"x": True})


def test_fresh_skips_what_was_tried_and_repeats() -> None:
    stream: list[Point] = [{"depth": d, "tied": False} for d in (1, 2, 1, 3, 3, 4)]
    tried = [key(SPACE, {"depth": 2, "tied": False})]
    assert [p["depth"] for p in fresh(SPACE, stream, tried, 2)] == [1, 3]
    assert [p["depth"] for p in fresh(SPACE, stream, tried, 9)] == [1, 3, 4]


@given(st.integers(1, 3000))
def test_spread_visits_everything_once(count: int) -> None:
    assert sorted(spread(count)) == list(range(count))


@pytest.mark.parametrize("count", [24, 100, 1000])
def test_spread_reaches_every_tenth_early(count: int) -> None:
    assert {10 * index // count for index in islice(spread(count), 16)} == set(range(10))


def test_cells_are_the_digits_of_their_index() -> None:
    grid = [(1, 2, 3), (False, True)]
    cells = [cell(SPACE, grid, index) for index in range(6)]
    assert cells[0] == {"depth": 1, "tied": False}
    assert cells[5] == {"depth": 3, "tied": True}
    assert len({key(SPACE, point) for point in cells}) == 6


@given(count=st.integers(1, 40), seed=st.integers(0, 999))
def test_latin_has_one_point_in_every_stratum(count: int, seed: int) -> None:
    space: Space = {"a": Interval(0.0, 1.0), "b": Interval(5.0, 6.0)}
    points = latin(space, count, Random(seed))
    for name, low in (("a", 0.0), ("b", 5.0)):
        shares = sorted(float(point[name]) - low for point in points)
        assert all(i / count - 1e-4 <= s <= (i + 1) / count + 1e-4 for i, s in enumerate(shares))


def test_draw_finds_the_last_point_of_a_large_space() -> None:
    space: Space = {"x": Interval(1, LISTED, integer=True)}
    tried = [key(space, {"x": x}) for x in range(1, LISTED + 1) if x != 77]
    assert draw(space, tried, 3, Random(1)) == [{"x": 77}]
    assert draw(space, [*tried, key(space, {"x": 77})], 3, Random(1)) == []


def test_a_continuum_has_nothing_to_list() -> None:
    assert remaining({"x": Interval(0.0, 1.0), "y": Choice((1, 2))}, []) == []
    assert len(remaining(SPACE, [])) == 8
    assert len(draw({"x": Interval(0.0, 1.0)}, [], 50, Random(1))) == 50


def test_uniform_is_inside() -> None:
    assert all(
        SPACE[name].contains(value)
        for point in islice(uniform(SPACE, Random(1)), 50)
        for name, value in point.items()
    )


def test_rising_numbers_are_an_axis_and_words_are_not() -> None:
    assert ordered(Choice((2, 4, 8)))
    assert ordered(Choice((0.1, 1, 10)))
    assert not ordered(Choice((8, 2, 4)))
    assert not ordered(Choice((2, 4)))
    assert not ordered(Choice(("a", "b", "c")))
    assert not ordered(Choice((False, True)))


def test_a_change_is_told_in_a_few_words() -> None:
    before: Point = {"a": 1, "b": 0.04, "c": False, "d": "x", "e": 5}
    assert change(before, before) == ""
    assert change(before, {**before, "b": 0.0820001, "c": True}) == "b 0.04 → 0.082, c False → True"
    after: Point = {"a": 2, "b": 0.05, "c": True, "d": "y", "e": 6}
    assert change(before, after).endswith("d x → y, and 1 more")
