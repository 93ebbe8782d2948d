"""The full grid and the Latin hypercube: complete, in a fixed order, in waves of any size."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import ConfigError
from autoresearch.planners.factorial import Settings, propose
from autoresearch.planners.points import Point
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.space import Choice, Interval, Space

SPACE: Space = {
    "matrix_lr": Interval(0.01, 0.1, log=True),
    "depth": Interval(4, 8, integer=True),
    "pattern": Choice(("S", "L")),
}
START: Point = {"matrix_lr": 0.05, "depth": 4, "pattern": "S"}


def request(capacity: int, space: Space = SPACE, start: Point = START) -> Request:
    return Request("factorial", 1, 1, capacity, space, start)


def whole(first: Request, settings: Settings) -> tuple[list[Point], list[str]]:
    """Every point in order, and every hypothesis, until the design is exhausted."""
    points, hypotheses = list[Point](), list[str]()
    while not (wave := propose(first, settings)).exhausted:
        new = [proposal.overrides for proposal in wave.proposals]
        points += new
        hypotheses.append(wave.hypothesis)
        pending = tuple(Trial(point, Outcome.pending) for point in new)
        first = replace(first, trials=first.trials + pending, wave=first.wave + 1)
    return points, [*hypotheses, wave.hypothesis]


def test_a_full_grid_is_every_combination_once() -> None:
    points, hypotheses = whole(request(8), Settings(levels=3))
    cells = {(p["matrix_lr"], p["depth"], p["pattern"]) for p in points}
    assert cells == set(product((0.01, 0.0316228, 0.1), (4, 6, 8), ("S", "L")))
    assert len(points) == 18
    factors = "depth (4, 6, 8) × matrix_lr (0.01, 0.03162, 0.1) × pattern (S, L)"
    assert hypotheses == [
        f"{factors}: cells 1–8 of 18",
        f"{factors}: cells 9–16 of 18",
        f"{factors}: cells 17–18 of 18",
        f"all 18 cells have been tried: {factors}",
    ]


@pytest.mark.parametrize("settings", [Settings(), Settings(design="lhs", points=11)])
@given(capacity=st.integers(1, 20))
def test_the_order_does_not_depend_on_the_waves(settings: Settings, capacity: int) -> None:
    assert whole(request(capacity), settings)[0] == whole(request(100), settings)[0]


def test_a_grid_cut_short_has_seen_every_level() -> None:
    points, _ = whole(request(18), Settings(levels=3))
    for name, count in (("matrix_lr", 3), ("depth", 3), ("pattern", 2)):
        assert len({point[name] for point in points[:6]}) == count


def test_the_incumbents_own_cell_is_skipped() -> None:
    start: Point = {"matrix_lr": 0.1, "depth": 8, "pattern": "L"}
    points, _ = whole(request(5, start=start), Settings(levels=3))
    assert len(points) == 17
    assert start not in points


def test_a_latin_hypercube_has_one_point_in_every_stratum() -> None:
    space: Space = {"a": Interval(0.0, 1.0), "b": Interval(1e-4, 1.0, log=True)}
    points, hypotheses = whole(
        request(4, space, {"a": 0.5, "b": 0.5}), Settings(design="lhs", points=10)
    )
    for name in space:
        domain = space[name]
        assert isinstance(domain, Interval)
        shares = [domain.share(float(point[name])) for point in points]
        assert sorted(int(share * 10) for share in shares) == list(range(10))
    assert hypotheses[0] == "Latin hypercube over a × b: cells 1–4 of 10"


def test_a_factor_of_many_levels_is_abbreviated() -> None:
    space: Space = {"depth": Interval(1, 20, integer=True)}
    wave = propose(request(2, space, {"depth": 1}), Settings(levels=20))
    assert wave.hypothesis.startswith("depth (1 … 20, 20 levels): cells ")


def test_a_grid_too_large_to_list_is_begun_all_the_same() -> None:
    space: Space = {f"x{i:02}": Interval(0.0, 1.0) for i in range(40)}
    wave = propose(request(3, space, dict.fromkeys(space, 0.7)), Settings(levels=9))
    assert len(wave.proposals) == 3
    assert wave.hypothesis.endswith(f"cells 1–3 of {9**40}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": "ful"}, "there is no design 'ful'; did you mean 'full'?"),
        ({"levels": 0}, "levels should be at least 1, but was 0"),
        ({"points": -1}, "points should be at least 1, but was -1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**options)  # type: ignore[arg-type]
    assert str(error.value) == message
