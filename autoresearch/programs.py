"""What can be known of programs without running them: parameters, families, and what to search.

Programs of one family differ in nothing but the defaults of their `Config`: their results teach a
planner about the same space. A program that somebody wrote may have fields that the campaign's
space does not know; they join the space of its family.
"""

import hashlib
from collections.abc import Mapping

from autoresearch.experiment import Candidate, Scalar
from autoresearch.history import History
from autoresearch.program import bake, parameters, skeleton
from autoresearch.sources import Sources
from autoresearch.space import Choice, Domain, Interval, Space, space_from_json

REACH = 3.0  # a number that nobody gave a domain is searched from a third of it to three times it
SMALLEST, LARGEST = 1e-100, 1e18  # beyond them nothing is guessed


class Programs:
    """The programs of one campaign. They never change, so nothing is read or parsed twice."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._parameters: dict[str, Mapping[str, Scalar]] = {}
        self._families: dict[str, str] = {}

    def text(self, candidate: Candidate) -> str:
        """A candidate as one program: its overrides as defaults."""
        return bake(self.sources.read(candidate.program), candidate.overrides)

    def parameters(self, program: str) -> Mapping[str, Scalar]:
        """The defaults of a program's Config. Raises SourceError for an unknown program."""
        if program not in self._parameters:
            self._parameters[program] = parameters(self.sources.read(program))
        return self._parameters[program]

    def values(self, candidate: Candidate) -> Mapping[str, Scalar]:
        """Every parameter of a candidate."""
        return {**self.parameters(candidate.program), **candidate.overrides}

    def family(self, program: str) -> str:
        """The same for programs that differ in defaults alone."""
        if program not in self._families:
            bones = skeleton(self.sources.read(program))
            self._families[program] = hashlib.sha256(bones.encode()).hexdigest()[:12]
        return self._families[program]


def space_of(history: History, programs: Programs, space: Space, program: str) -> Space:
    """What may be searched of a program: the campaign's space as far as the program has these
    parameters, and what its family has brought."""
    baseline, fields = map(programs.parameters, (history.baseline.program, program))
    return searchable(space, fields, baseline, brought(history, programs, program))


def searchable(
    space: Space, fields: Mapping[str, Scalar], baseline: Mapping[str, Scalar], own: Space
) -> Space:
    """The domains of these fields of a Config: from the campaign's space, else of its `own`, else
    guessed for those that the baseline has not."""
    guessed = {name: natural(value) for name, value in fields.items() if name not in baseline}
    known = {**own, **space}
    return {
        **{name: domain for name, domain in guessed.items() if domain is not None},
        **{name: domain for name, domain in known.items() if fits(domain, fields.get(name))},
    }


def brought(history: History, programs: Programs, program: str) -> dict[str, Domain]:
    """The domains that programs of a family were given for fields of their own."""
    found: dict[str, Domain] = {}
    for version in history.versions.values():
        if version.space and programs.family(version.program) == programs.family(program):
            found |= space_from_json(version.space)
    return found


def natural(value: Scalar) -> Domain | None:
    """Where to search a parameter that nobody gave a domain; None where nothing can be guessed."""
    if isinstance(value, bool):
        return Choice((False, True))
    if isinstance(value, str) or value <= 0:
        return None
    if not SMALLEST < value < LARGEST:
        return None
    if isinstance(value, int):
        return Interval(max(1, round(value / REACH)), round(value * REACH), True, True)
    return Interval(float(f"{value / REACH:.3g}"), float(f"{value * REACH:.3g}"), log=True)


def fits(domain: Domain, value: Scalar | None) -> bool:
    """Whether a parameter with this default can be set to what a domain offers."""
    if value is None:
        return False
    if isinstance(domain, Choice):
        return all(is_alike(offered, value) for offered in domain.values)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (domain.integer or isinstance(value, float))


def is_alike(offered: Scalar, value: Scalar) -> bool:
    if isinstance(value, float):
        return isinstance(offered, (int, float)) and not isinstance(offered, bool)
    return type(offered) is type(value)
