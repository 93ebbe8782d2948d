"""`autoresearch effects` on the command line; the arithmetic has its own tests."""

from pathlib import Path

import pytest
from outside import EDIT, PROGRAM, SPACE, Campaign, ask, begin, say

from autoresearch.lessons import of_campaign
from autoresearch.programs import Programs

Said = pytest.CaptureFixture[str]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    """Width does much, and rate nothing."""
    campaign = begin(tmp_path / "c")
    for width in (2, 3, 4):
        for rate in (0.2, 0.5, 0.9):
            campaign.screen(2.0 - width / 10, {"width": width, "rate": rate})
    return campaign


def test_it_prints_what_the_campaign_has_taught(campaign: Campaign, capsys: Said) -> None:
    history, programs = campaign.history, Programs(campaign.sources)
    known = of_campaign(history, programs, SPACE, history.champion.program)
    out, err = say(capsys, "effects", campaign.root)
    assert (out, err) == (f"{known.text()}\n", "")
    assert "width" in out
    answer = ask(capsys, "effects", campaign.root)
    assert answer == {"schema": 1, "program": history.champion.program, **known.to_json()}


def test_another_program_has_its_own(campaign: Campaign, capsys: Said) -> None:
    other = campaign.sources.add(PROGRAM.replace(EDIT["search"], EDIT["replace"]), "x", when=0.0)
    key = campaign.screen(1.5, program=other).key
    assert ask(capsys, "effects", campaign.root, "--program", key)["program"] == other
    assert say(capsys, "effects", campaign.root, "--program", key) != say(
        capsys, "effects", campaign.root
    )


def test_with_the_baseline_alone_nothing_is_claimed(tmp_path: Path, capsys: Said) -> None:
    young = begin(tmp_path / "young")
    out, err = say(capsys, "effects", young.root)
    assert out
    assert err == ""


def test_of_a_new_program_it_says_where_more_was_tried(campaign: Campaign, capsys: Said) -> None:
    other = campaign.sources.add(PROGRAM.replace(EDIT["search"], EDIT["replace"]), "x", when=0.0)
    key = campaign.screen(1.5, program=other).key
    out, _ = say(capsys, "effects", campaign.root, "--program", key)
    assert out.splitlines()[-1].startswith("1 candidate of this program alone; --program baseline")
    out, _ = say(capsys, "effects", campaign.root, "--program", "baseline")
    assert "alone" not in out
