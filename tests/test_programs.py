"""What is known of programs without running them, on real versions in a real repository."""

from pathlib import Path

import pytest
from desks import PROGRAM, Desk, open_desk
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import dispatch
from autoresearch.experiment import Candidate, Proposal, Scalar, Version, Wave
from autoresearch.program import bake
from autoresearch.programs import Programs, fits, natural, searchable, space_of
from autoresearch.space import Choice, Domain, Interval, check_domain, space_to_json

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3))}
WITH_GAIN = PROGRAM + "    gain: float = 0.9\n    name: str = 'x'\n    on: bool = True\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def write(desk: Desk, text: str, **space: Domain) -> str:
    """Record a wave that brings a program."""
    parent = desk.history.baseline.program
    program = desk.sources.add(text, "why not", [parent], when=0.0)
    version = Version(program, (parent,), "why not", space_to_json(space))
    wave = Wave("test", "why not", (Proposal({}, program=program),), versions=(version,))
    dispatch.propose(desk.record, [], wave, "1")
    return program


def test_programs_that_differ_in_defaults_alone_are_one_family(desk: Desk) -> None:
    programs = Programs(desk.sources)
    baseline = desk.history.baseline.program
    baked = desk.sources.add(bake(PROGRAM, {"width": 7}), "wider", when=0.0)
    other = desk.sources.add(WITH_GAIN, "with a gain", when=0.0)
    assert programs.family(baseline) == programs.family(baked)
    assert programs.family(baseline) != programs.family(other)


def test_a_candidate_is_one_text_with_its_overrides_as_defaults(desk: Desk) -> None:
    programs = Programs(desk.sources)
    candidate = Candidate(desk.history.baseline.program, {"width": 5})
    assert "width: int = 5" in programs.text(candidate)
    assert programs.values(candidate)["width"] == 5


def test_the_baseline_is_searched_in_the_campaigns_space_and_no_other(desk: Desk) -> None:
    programs = Programs(desk.sources)
    assert space_of(desk.history, programs, SPACE, desk.history.baseline.program) == SPACE


def test_new_fields_join_the_space_of_their_family_with_the_domain_they_came_with(
    desk: Desk,
) -> None:
    programs = Programs(desk.sources)
    program = write(desk, WITH_GAIN, gain=Interval(0.5, 2.0))
    found = space_of(desk.history, programs, SPACE, program)
    assert found == {**SPACE, "gain": Interval(0.5, 2.0), "on": Choice((False, True))}
    kin = desk.sources.add(bake(WITH_GAIN, {"gain": 1.5}), "kin", when=0.0)
    assert space_of(desk.history, programs, SPACE, kin) == found
    assert space_of(desk.history, programs, SPACE, desk.history.baseline.program) == SPACE


def test_a_field_that_a_program_has_lost_leaves_its_space(desk: Desk) -> None:
    program = write(desk, PROGRAM.replace("width: int = 1", "depth: int = 6"))
    found = space_of(desk.history, Programs(desk.sources), SPACE, program)
    assert found == {"depth": Interval(2, 18, log=True, integer=True)}


def test_a_domain_of_another_kind_than_the_field_is_not_used() -> None:
    fields: dict[str, Scalar] = {"width": 0.5}
    assert searchable(SPACE, fields, fields, {}) == SPACE  # whole numbers are numbers
    assert searchable({"width": Choice(("a", "b"))}, fields, fields, {}) == {}
    assert searchable({"width": Interval(0.1, 1.0)}, {"width": 3}, {"width": 3}, {}) == {}


NUMBERS = st.integers(-(10**6), 2**65) | st.floats(allow_nan=False)


@given(st.booleans() | NUMBERS | st.text())
def test_a_guessed_domain_can_be_searched_and_fits_its_field(value: Scalar) -> None:
    domain = natural(value)
    if domain is not None:
        assert not isinstance(domain, Interval) or 0 < domain.low < domain.high < 2**63
        check_domain("x", domain)
        assert fits(domain, value)
