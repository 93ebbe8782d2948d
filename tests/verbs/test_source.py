"""A candidate's program as the command line prints it."""

from pathlib import Path

import pytest
from outside import EDIT, PROGRAM, Campaign, ask, begin, say

from autoresearch.experiment import Version, Wave

Said = pytest.CaptureFixture[str]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


def write(campaign: Campaign) -> str:
    """A program that came with a wave."""
    text = PROGRAM.replace(EDIT["search"], EDIT["replace"])
    program = campaign.sources.add(text, "one wider", [campaign.history.champion.program], when=0)
    version = Version(program, (campaign.history.champion.program,), "one wider")
    wave = Wave("external", "width", (), versions=(version,)).to_json()
    proposed = {"type": "proposed", "purpose": "screen", "wave": wave, "experiments": []}
    campaign.record.append(proposed)
    return program


def test_without_a_name_it_is_the_champions(campaign: Campaign, capsys: Said) -> None:
    assert say(capsys, "source", campaign.root) == (PROGRAM, "")
    assert say(capsys, "source", campaign.root, "baseline") == (PROGRAM, "")


def test_overrides_are_written_in(campaign: Campaign, capsys: Said) -> None:
    wide = campaign.screen(1.9, {"width": 4})
    out, _ = say(capsys, "source", campaign.root, wide.key[:6])
    assert out == PROGRAM.replace("width: int = 1", "width: int = 4")
    answer = ask(capsys, "source", campaign.root, wide.key)
    assert (answer["text"], answer["overrides"]) == (out, {"width": 4})
    assert answer["program"] == campaign.history.baseline.program


def test_it_says_what_it_was_made_from_and_why(campaign: Campaign, capsys: Said) -> None:
    baseline = campaign.history.baseline.program
    program = write(campaign)
    key = campaign.screen(1.8, program=program).key
    answer = ask(capsys, "source", campaign.root, key)
    assert (answer["parents"], answer["message"]) == ([baseline], "one wider")
    assert answer["commit"] == campaign.sources.commit(program)
    assert ask(capsys, "source", campaign.root)["parents"] == []


def test_a_champion_was_made_from_both_sides_of_its_test(campaign: Campaign, capsys: Said) -> None:
    baseline = campaign.history.baseline.program
    program = write(campaign)
    winner = campaign.screen(1.5, {"rate": 0.9}, program)
    text = campaign.sources.read(program).replace("float = 0.5", "float = 0.9")
    campaign.crown(winner, campaign.sources.add(text, "rate = 0.9", [baseline, program], when=0))
    answer = ask(capsys, "source", campaign.root, "champion")
    assert answer["parents"] == [baseline, program]
    assert "rate: float = 0.9" in answer["text"]


def test_it_goes_to_a_file(campaign: Campaign, capsys: Said, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("old")
    assert say(capsys, "source", campaign.root, "-o", str(path)) == ("", "")
    assert path.read_text() == PROGRAM
    assert ask(capsys, "source", campaign.root, "-o", str(path))["text"] == PROGRAM


@pytest.mark.parametrize("name", ["", "folder", "nowhere/train.py"])
def test_a_place_where_no_file_can_be_is_one_line(
    campaign: Campaign, capsys: Said, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    where = str(tmp_path / name)
    out, err = say(capsys, "source", campaign.root, "-o", where, code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert "should be a file in a folder that exists" in err


def test_an_unknown_name_is_one_line(campaign: Campaign, capsys: Said) -> None:
    out, err = say(capsys, "source", campaign.root, "zebra", "--json", code=1)
    assert (out, err.count("\n")) == ("", 1)
