"""What was checked, and what is wrong: the outcome of a verification, in words."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from autoresearch.experiment import Json, one_line, plural

T = TypeVar("T")

LONGEST = 1000  # characters of a complaint, which may quote what anybody wrote


@dataclass(frozen=True)
class Check:
    """One kind of check: on how many things, what should be so of each, what is wrong."""

    name: str
    noun: str
    claim: str
    count: int
    complaints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{plural(self.count, self.noun)}: {self.claim}"


def check(
    name: str, noun: str, claim: str, things: Iterable[T], faults: Callable[[T], Iterable[str]]
) -> Check:
    """Look at every thing. What is wrong stays in their order."""
    seen = list(things)
    return Check(name, noun, claim, len(seen), tuple(f for thing in seen for f in faults(thing)))


@dataclass(frozen=True)
class Report:
    """Everything that was checked, and what a reader should know besides."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        return [complaint for check in self.checks for complaint in check.complaints]

    def to_json(self) -> Json:
        checks = [{**asdict(c), "complaints": list(c.complaints)} for c in self.checks]
        return {"ok": not self.complaints, "checks": checks, "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """A line per check, below it one per complaint; then notes, and what to take away."""
        for check in self.checks:
            if not check.count and not check.complaints:
                continue  # of this there is nothing here
            yield f"{'wrong' if check.complaints else 'ok':5}  {check}"
            yield from (f"       {one_line(complaint, LONGEST)}" for complaint in check.complaints)
        yield from (f"note   {note}" for note in self.notes)
        count = len(self.complaints)
        yield f"{plural(count, 'complaint')}" if count else "Nothing is wrong"


def should(where: str, what: str, expected: object, found: object) -> str:
    """How a complaint reads."""
    return f"{where}: {what} should be {brief(expected)}, but is {brief(found)}"


def brief(value: object) -> str:
    """A value short enough for a line; of hashes the beginning."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return f"{text[:16]}…" if len(text) == 64 else text[:200]


def differing(where: str, expected: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """What differs of what is expected, a complaint each."""
    wrong = [key for key in expected if key not in found or not same(expected[key], found[key])]
    return [should(where, key, expected[key], found.get(key, "missing")) for key in wrong]


CLOSE = 1e-9  # relative; another machine's libraries may round otherwise


def same(a: object, b: object) -> bool:
    """Whether two JSON values are equal, numbers but for rounding."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= CLOSE * max(abs(a), abs(b))
    return a == b
