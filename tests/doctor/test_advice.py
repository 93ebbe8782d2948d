"""The table of advice: complete, and shown only where it is needed."""

from dataclasses import replace

import pytest

from autoresearch.doctor.advice import ADVICE, Finding, State
from autoresearch.doctor.verdict import VERDICTS

OTHERS = {
    *("inside", "sbatch", "squeue", "sacct", "directory", "options"),
    *("queue", "job", "setup", "clock", "delay"),
}


def test_every_check_has_advice_and_all_advice_a_check() -> None:
    assert set(VERDICTS) | OTHERS == set(ADVICE)


@pytest.mark.parametrize("check", sorted(ADVICE))
def test_every_problem_has_a_cure_in_one_line(check: str) -> None:
    cure = Finding(check, State.problem, "found").cure
    assert len(cure) > 20
    assert "\n" not in cure
    assert not cure.endswith(".")


def test_titles_tell_checks_apart() -> None:
    assert len({advice.title for advice in ADVICE.values()}) == len(ADVICE)


def test_only_a_problem_is_cured_or_breaks_anything() -> None:
    finding = Finding("torch", State.problem, "2.1", "screen", "gpu", "n1")
    assert finding.breaks
    for state in set(State) - {State.problem}:
        other = replace(finding, state=state)
        assert (other.breaks, other.cure) == (False, "")
    assert not Finding("secrets", State.problem, "A_KEY").breaks


def test_what_is_printed_as_json_is_all_that_is_shown() -> None:
    record = Finding("cores", State.problem, "1", "screen", "gpu", "n1").to_json()
    assert record == {
        "check": "cores",
        "state": "problem",
        "found": "1",
        "tier": "screen",
        "partition": "gpu",
        "node": "n1",
        "title": "cores",
        "cure": ADVICE["cores"].cure,
        "breaks": True,
    }
