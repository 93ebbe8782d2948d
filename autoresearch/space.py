"""Parameter domains: what a search may set a parameter to.

A user writes them in Hydra's own sweep grammar, `config` parses that into these classes:

    choice(6,8,10)                    Choice
    interval(0.01,0.1)                Interval
    tag(log, interval(0.01,0.1))      Interval on a logarithmic scale
    int(interval(2,16))               Interval of whole numbers
    range(2,10,2)                     Choice of 2, 4, 6, 8

Pure: no I/O, no clock, no random state of its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from autoresearch.errors import ConfigError
from autoresearch.experiment import Json, Scalar

BEYOND = 2**63  # no end of an interval lies there, nor do its ends lie so far apart


@dataclass(frozen=True)
class Choice:
    """One of a few values, in the order the user wrote them."""

    values: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        return value in self.values

    def spelled(self, value: Scalar) -> Scalar:
        """A value of the domain as it stands there: 2 where 2 is offered and 2.0 is asked for."""
        is_truth = isinstance(value, bool)
        alike = (v for v in self.values if v == value and isinstance(v, bool) == is_truth)
        return next(alike, value)

    def at(self, share: float) -> Scalar:
        """The value at `share` in [0, 1) of the domain."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def grid(self, levels: int) -> tuple[Scalar, ...]:  # noqa: ARG002 - one shape with Interval
        return self.values


@dataclass(frozen=True)
class Interval:
    """Every number from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def contains(self, value: Scalar) -> bool:
        if isinstance(value, (bool, str)) or (self.integer and value % 1 != 0):
            return False
        return self.low <= value <= self.high

    def spelled(self, value: Scalar) -> int | float:
        """A value of the domain as `at` writes it: 2.0 is 2 in whole numbers, 1 is 1.0 in others,
        and -0.0 is 0.0."""
        return int(value) if self.integer else float(value) + 0.0

    def at(self, share: float) -> int | float:
        """The value at `share` in [0, 1] of the domain, on its own scale."""
        if self.integer:
            low, high = (self.low, self.high + 1 - 1e-9)
        else:
            low, high = self.low, self.high
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return self.tidy(math.floor(value) if self.integer else value)

    def tidy(self, value: float) -> int | float:
        """The nearest value inside the domain as people write it: whole, or of six digits."""
        if self.integer:
            return min(max(round(value), math.ceil(self.low)), math.floor(self.high))
        return float(min(max(float(f"{value:.6g}"), self.low), self.high))

    def share(self, value: float) -> float:
        """Where `value` lies in the domain: the inverse of `at` (for whole numbers, nearly)."""
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def grid(self, levels: int) -> tuple[Scalar, ...]:
        """At most `levels` values from end to end, evenly spaced on the domain's scale."""
        if levels < 2:
            return (self.at(0.5),)
        values = []
        for k in range(levels):
            share = k / (levels - 1)
            if self.log:
                value = self.low * (self.high / self.low) ** share
            else:
                value = self.low + share * (self.high - self.low)
            values.append(self.tidy(value))
        return tuple(dict.fromkeys(values))


Domain = Choice | Interval
Space = Mapping[str, Domain]


def check_domain(name: str, domain: Domain) -> None:
    """Raises ConfigError unless the domain can be searched."""
    if isinstance(domain, Choice):
        if not domain.values:
            raise ConfigError(f"space '{name}' should offer at least one value, but is empty")
        if len(set(map(repr, domain.values))) < len(domain.values):
            raise ConfigError(f"space '{name}' should list each value once, but repeats one")
        return
    if not (abs(domain.low) < math.inf and abs(domain.high) < math.inf):
        raise ConfigError(
            f"space '{name}' should have finite ends, but has {domain.low}, {domain.high}"
        )
    if domain.low >= domain.high:
        raise ConfigError(
            f"space '{name}' should go from a smaller to a larger number, "
            f"but goes from {domain.low:g} to {domain.high:g}; swap the ends"
        )
    if domain.log and domain.low <= 0:
        raise ConfigError(
            f"space '{name}' is logarithmic: its low end should be above 0, but is {domain.low:g}"
        )
    if domain.integer and math.ceil(domain.low) > math.floor(domain.high):
        raise ConfigError(
            f"space '{name}' should hold a whole number, "
            f"but none lies from {domain.low:g} to {domain.high:g}"
        )


def check_reach(name: str, domain: Domain) -> None:
    """Raises ConfigError unless what is computed with the ends of an interval stays small enough
    for every reader. Only of domains that came with a program: a user may want more."""
    if isinstance(domain, Choice):
        return
    low, high = domain.low, domain.high
    if not (max(abs(low), abs(high)) < BEYOND and high - low < BEYOND):
        raise ConfigError(
            f"space '{name}' should have ends below 2**63 that lie less than that apart, "
            f"but has {low!r:.30}, {high!r:.30}"
        )


def check_inside(space: Space, values: Mapping[str, Scalar]) -> None:
    """Raises ConfigError if a value lies outside its domain or belongs to no domain."""
    for name, value in values.items():
        if name not in space:
            raise ConfigError(f"'{name}' is not in the space; it has: {', '.join(sorted(space))}")
        if not space[name].contains(value):
            raise ConfigError(f"'{name}' should lie in {space[name]}, but was {value!r:.80}")


def space_to_json(space: Space) -> Json:
    return {name: asdict(domain) for name, domain in space.items()}


def space_from_json(record: Mapping[str, Json]) -> dict[str, Domain]:
    """The inverse of `space_to_json`."""
    return {
        name: Choice(tuple(d["values"])) if "values" in d else Interval(**d)
        for name, d in record.items()
    }


def names(space: Space) -> Sequence[str]:
    """Parameter names in one fixed order: planners' arrays all use it."""
    return sorted(space)
