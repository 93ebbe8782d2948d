"""Designs laid out in full before the first result: a full grid, or a Latin hypercube.

The design depends on the space, the settings and the seed, never on results or on the waves it
is handed out in. The grid's order is spread out, so that a search cut short has seen all levels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Scalar, Wave
from autoresearch.planners.points import Point, cell, fresh, key, latin, spread, written
from autoresearch.planners.protocol import Request
from autoresearch.space import Space, names

DESIGNS = ("full", "lhs")


@dataclass(frozen=True)
class Settings:
    """`levels` per interval for design=full (a choice has all its own), `points` for lhs."""

    design: str = "full"
    levels: int = 3
    points: int = 16

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            raise ConfigError(
                f"there is no design '{self.design}'; {nearest(self.design, DESIGNS)}"
            )
        for name in ("levels", "points"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} should be at least 1, but was {getattr(self, name)}")


def grid(space: Space, levels: int) -> list[tuple[Scalar, ...]]:
    return [space[name].grid(levels) for name in names(space)]


def design(request: Request, settings: Settings) -> tuple[int, Iterator[Point], str]:
    """How many cells the design has, the cells in their order, and what it crosses."""
    space = request.space
    if settings.design == "lhs":
        rng = Random(f"{request.seed}/lhs")
        cells = latin(space, settings.points, rng)
        return len(cells), iter(cells), f"Latin hypercube over {' × '.join(names(space))}"
    rows = grid(space, settings.levels)
    size = math.prod(map(len, rows))
    factors = " × ".join(map(factor, names(space), rows))
    return size, (cell(space, rows, i) for i in spread(size)), factors


def factor(name: str, values: Sequence[Scalar]) -> str:
    """`depth (4, 6, 8)`, or `depth (4 … 20, 17 levels)` where there are many."""
    if len(values) <= 5:
        return f"{name} ({', '.join(map(written, values))})"
    return f"{name} ({written(values[0])} … {written(values[-1])}, {len(values)} levels)"


def propose(request: Request, settings: Settings) -> Wave:
    """The next cells of the design that were not tried."""
    size, cells, factors = design(request, settings)
    numbers = dict[object, int]()

    def numbered() -> Iterator[Point]:
        for number, point in enumerate(cells, start=1):
            numbers.setdefault(key(request.space, point), number)
            yield point

    points = fresh(request.space, numbered(), request.tried, request.capacity)
    if not points:
        return request.nothing(f"all {size} cells have been tried: {factors}", exhausted=True)
    first, last = (numbers[key(request.space, point)] for point in (points[0], points[-1]))
    return request.answer(f"{factors}: cells {first}–{last} of {size}", points)
