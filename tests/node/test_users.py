"""An ordinary user's programs are held as root's are, on this machine."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import attacks, make, queued
from nodes import PROGRAM
from users import user
from walls import needs_bubblewrap

from autoresearch.experiment import Failure, Result

TRIED = (
    *("reach_tcp", "read_other_experiments", "kill_the_referee", "more_rights", "fork_bomb"),
    *("shifted_embedding", "lies_a_little"),
)


@pytest.fixture(scope="module")
def ends() -> Iterator[dict[str, Result]]:
    """How an honest program and some attacks end that an ordinary user runs."""
    needs_bubblewrap()
    ordinary = user("ordinary")
    folder = Path(tempfile.mkdtemp(prefix="walled-", dir="/tmp"))
    campaign = make(folder, sandbox="bubblewrap")
    with queued(campaign, [attack for attack in attacks() if attack.name in TRIED]) as attempts:
        attempts["honest"] = campaign.queue(PROGRAM)
        pilot = ordinary.start(campaign)
        _, printed = pilot.communicate(timeout=300)
    assert pilot.returncode == 0, printed
    yield {name: campaign.result(attempt) for name, attempt in attempts.items()}
    shutil.rmtree(folder)


def test_an_ordinary_users_program_is_scored_and_protected(ends: dict[str, Result]) -> None:
    assert ends["honest"].failure is None, ends["honest"].reason
    assert ends["honest"].protected


@pytest.mark.parametrize("name", TRIED)
def test_an_attack_ends_as_it_does_for_root(ends: dict[str, Result], name: str) -> None:
    attack = next(attack for attack in attacks() if attack.name == name)
    assert ends[name].failure is Failure(attack.ends), ends[name].reason
    assert attack.because in ends[name].reason
