"""Points of a space: when two are the same, how they are laid out, how they are written.

A point is a full assignment of the space's parameters. Pure; random numbers come from the caller.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random

from autoresearch.experiment import Scalar
from autoresearch.space import Choice, Domain, Space, names

Point = Mapping[str, Scalar]
Key = tuple[tuple[bool, Scalar], ...]

LISTED = 20_000  # a space of at most so many points is searched by listing what is left of it
GOLDEN = (math.sqrt(5) - 1) / 2


def key(space: Space, point: Point) -> Key:
    """Equal for equal points: 4 is 4.0, but True is not 1."""
    return tuple((isinstance(point[name], bool), point[name]) for name in names(space))


def fresh(space: Space, stream: Iterable[Point], tried: Iterable[Key], count: int) -> list[Point]:
    """The first `count` points of `stream` that are neither in `tried` nor repeated."""
    seen, found = set(tried), list[Point]()
    for point in stream:
        if len(found) == count:
            break
        if key(space, point) not in seen:
            seen.add(key(space, point))
            found.append(point)
    return found


def levels(domain: Domain) -> Sequence[Scalar] | None:
    """Every value of a domain, or None where there is a continuum."""
    if isinstance(domain, Choice):
        return domain.values
    if domain.integer:
        return range(math.ceil(domain.low), math.floor(domain.high) + 1)
    return None


def ordered(choice: Choice) -> bool:
    """Whether a choice is of rising numbers, whose neighbours say something of each other."""
    numbers = [value for value in choice.values if isinstance(value, (int, float))]
    numeric = len(numbers) == len(choice.values) and not any(type(n) is bool for n in numbers)
    return numeric and len(numbers) > 2 and sorted(numbers) == numbers


def cell(space: Space, grid: Sequence[Sequence[Scalar]], index: int) -> Point:
    """Cell `index` of a grid (one row of values per parameter): its digits in mixed radix."""
    point = dict[str, Scalar]()
    for name, values in zip(names(space), grid, strict=True):
        index, digit = divmod(index, len(values))
        point[name] = values[digit]
    return point


def spread(count: int) -> Iterator[int]:
    """Every index below `count` once, neighbours in time far apart: strides of the golden ratio."""
    stride = max(1, round(count * GOLDEN))
    while math.gcd(stride, count) > 1:
        stride += 1
    return (k * stride % count for k in range(count))


def uniform(space: Space, rng: Random) -> Iterator[Point]:
    """Endless independent points, uniform on each domain's own scale."""
    while True:
        yield {name: space[name].at(rng.random()) for name in names(space)}


def latin(space: Space, count: int, rng: Random) -> list[Point]:
    """A Latin hypercube (McKay, Beckman and Conover, 1979): `count` points, one in each of
    `count` equal strata of every parameter."""
    strata = {name: rng.sample(range(count), count) for name in names(space)}
    return [
        {name: space[name].at((strata[name][i] + rng.random()) / count) for name in names(space)}
        for i in range(count)
    ]


def remaining(space: Space, tried: Iterable[Key]) -> list[Point]:
    """Every point not tried, of a space small enough to list; else nothing."""
    grid = [levels(space[name]) or () for name in names(space)]
    size = math.prod(map(len, grid))
    if size > LISTED:
        return []
    return fresh(space, (cell(space, grid, i) for i in range(size)), tried, size)


def draw(space: Space, tried: Iterable[Key], count: int, rng: Random) -> list[Point]:
    """`count` random points that were not tried; fewer only where no more can be found."""
    tried = set(tried)
    points = fresh(space, islice(uniform(space, rng), 1000 + 100 * count), tried, count)
    if len(points) < count:
        rest = remaining(space, tried | {key(space, point) for point in points})
        points += rng.sample(rest, min(count - len(points), len(rest)))
    return points


def written(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def change(before: Point, after: Point, most: int = 4) -> str:
    """What differs, in a few words: `depth 4 → 6, matrix_lr 0.04 → 0.082`."""
    moved = [name for name in sorted(after) if before.get(name) != after[name]]
    parts = [f"{name} {written(before[name])} → {written(after[name])}" for name in moved[:most]]
    if len(moved) > most:
        parts.append(f"and {len(moved) - most} more")
    return ", ".join(parts)
