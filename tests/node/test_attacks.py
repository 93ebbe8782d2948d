"""All attacks of the corpus end as they must; each gets through without its defences.

The second part shows that the first is no accident: a program that is broken by itself would be
contained, too.
"""

from pathlib import Path

import pytest
from corpus import DEFENCES, Attack, attacks, run, seen
from walls import needs_bubblewrap

from autoresearch.experiment import Failure, Result

RUN = [attack for attack in attacks() if attack.is_run]
SEEN = [attack for attack in attacks() if not attack.is_run]
HELD = sorted({attack.held_by for attack in RUN if attack.held_by})
TRIES = 4
QUICK = {("calls",), ("challenge",), ("network",)}  # proved every time


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    needs_bubblewrap()
    return run(RUN, tmp_path_factory.mktemp("attacks"))


@pytest.mark.parametrize("attack", RUN, ids=lambda attack: attack.name)
def test_an_attack_ends_in_a_named_failure(ends: dict[str, Result], attack: Attack) -> None:
    result = ends[attack.name]
    assert (result.failure, result.bpb) == (Failure(attack.ends), None), result.reason
    assert attack.because in result.reason
    assert "\n" not in result.reason


@pytest.mark.parametrize("attack", SEEN, ids=lambda attack: attack.name)
def test_what_no_run_can_tell_is_seen_in_the_text(attack: Attack) -> None:
    assert attack.because in seen(attack)


def test_every_attack_says_what_it_tries_and_there_are_many() -> None:
    assert len(attacks()) >= 50
    assert all(attack.docstring.endswith(".") for attack in attacks())
    assert {name for held in HELD for name in held} == set(DEFENCES)  # each one is needed


@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param(held, marks=() if held in QUICK else (pytest.mark.slow,), id="+".join(held))
        for held in HELD
    ],
)
def test_without_its_defences_an_attack_gets_through(
    left_out: tuple[str, ...], tmp_path: Path
) -> None:
    """Once is enough: some take the time that an answer takes, of a machine that is busy."""
    needs_bubblewrap()
    held = [attack for attack in RUN if attack.held_by == left_out]
    for number in range(TRIES):
        results = run(held, tmp_path / str(number), left_out)
        held = [attack for attack in held if results[attack.name].bpb is None]
        if not held:
            return
    raise AssertionError({attack.name: results[attack.name].reason for attack in held})
