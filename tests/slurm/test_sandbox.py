"""The wall inside of real Slurm jobs: for root and for an ordinary user."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus import attacks, make, queued
from nodes import PROGRAM
from testbeds import Testbed, script
from users import USERS, User, user

from autoresearch.experiment import Failure, Result

pytestmark = pytest.mark.slurm

TRIED = (
    *("reach_tcp", "read_other_experiments", "kill_the_referee", "more_rights", "fork_bomb"),
    *("shifted_embedding", "lies_a_little"),
)


@dataclass(frozen=True)
class Site:
    user: User
    testbed: Testbed


@pytest.fixture(scope="module", params=USERS)
def site(request: pytest.FixtureRequest, testbed: Testbed) -> Iterator[Site]:
    """Root's testbed is the session's; an ordinary user has one of their own."""
    who = user(request.param)
    if not who.prefix:
        yield Site(who, testbed)
        return
    directory = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    who.take(directory)
    try:
        yield Site(who, Testbed.start(directory, user=who.prefix, HOME=str(directory)))
    finally:
        script({"TESTBED_DIR": str(directory)}, "down", "--wipe", check=False, user=who.prefix)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def ends(site: Site) -> Iterator[dict[str, Result]]:
    """How an honest program and some attacks end in a job of this user's, behind bubblewrap."""
    folder = Path(tempfile.mkdtemp(prefix="walled-", dir="/tmp"))
    folder.chmod(0o755)
    campaign = make(folder, sandbox="bubblewrap")
    srun = ("srun", "--partition=h100", "--gpus=1", "--cpus-per-task=1", "--mem=4G")
    with queued(campaign, [attack for attack in attacks() if attack.name in TRIED]) as attempts:
        attempts["honest"] = campaign.queue(PROGRAM)
        campaign.environment |= site.testbed.environment
        pilot = site.user.start(campaign, srun)
        _, printed = pilot.communicate(timeout=300)
    assert pilot.returncode == 0, printed
    yield {name: campaign.result(attempt) for name, attempt in attempts.items()}
    shutil.rmtree(folder)


def test_an_honest_program_is_scored_and_protected(ends: dict[str, Result]) -> None:
    assert ends["honest"].failure is None, ends["honest"].reason
    assert ends["honest"].protected


@pytest.mark.parametrize("name", TRIED)
def test_an_attack_ends_as_it_does_without_slurm(ends: dict[str, Result], name: str) -> None:
    attack = next(attack for attack in attacks() if attack.name == name)
    assert ends[name].failure is Failure(attack.ends), ends[name].reason
    assert attack.because in ends[name].reason
