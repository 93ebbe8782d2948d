"""The lab notebook on the command line: what was noted, and noting something."""

from pathlib import Path

import pytest
from outside import Campaign, ask, begin, say

Said = pytest.CaptureFixture[str]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


def test_it_begins_empty(campaign: Campaign, capsys: Said) -> None:
    assert say(capsys, "notebook", campaign.root) == ("the notebook is empty\n", "")
    assert ask(capsys, "notebook", campaign.root)["notes"] == []


def test_a_note_waits_until_the_controller_has_taken_it_in(
    campaign: Campaign, capsys: Said
) -> None:
    answer = ask(capsys, "notebook", campaign.root, "--add", "width helps")
    assert (answer["is_new"], answer["notes"], answer["experiments"]) == (True, 1, 0)
    before = ask(capsys, "notebook", campaign.root)
    assert (before["notes"], before["waiting"]) == ([], ["width helps"])
    assert "not taken in yet\n  width helps\n" in say(capsys, "notebook", campaign.root)[0]
    campaign.take_in()
    after = ask(capsys, "notebook", campaign.root)
    assert after["waiting"] == []
    (note,) = after["notes"]
    assert (note["text"], note["planner"], note["wave"]) == ("width helps", "external", 1)


def test_the_newest_stands_last_with_its_wave_and_planner(campaign: Campaign, capsys: Said) -> None:
    for text in ("first", "second\nof two lines"):
        say(capsys, "notebook", campaign.root, "--add", text)
        campaign.take_in()
    lines = say(capsys, "notebook", campaign.root)[0].splitlines()
    assert lines[0].endswith("wave 1, external")
    assert lines[1:2] == ["  first"]
    assert lines[2].endswith("wave 2, external")
    assert lines[3:] == ["  second", "of two lines"]


def test_a_note_twice_is_one_note(campaign: Campaign, capsys: Said) -> None:
    say(capsys, "notebook", campaign.root, "--add", "width helps")
    campaign.take_in()
    assert not ask(capsys, "notebook", campaign.root, "--add", "width helps")["is_new"]
    assert len(ask(capsys, "notebook", campaign.root)["notes"]) == 1


@pytest.mark.parametrize(("text", "words"), [(" \n", "but is empty"), ("x" * 2001, "at most 2000")])
def test_a_note_that_cannot_be_kept_is_one_line(
    campaign: Campaign, capsys: Said, text: str, words: str
) -> None:
    out, err = say(capsys, "notebook", campaign.root, "--add", text, code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_what_is_said_at_the_end_is_kept(campaign: Campaign, capsys: Said) -> None:
    campaign.end()
    answer = ask(capsys, "notebook", campaign.root, "--add", "it was the width")
    assert "autoresearch resume" in answer["next"]
    assert ask(capsys, "notebook", campaign.root)["waiting"] == ["it was the width"]


def test_no_control_character_reaches_a_terminal(campaign: Campaign, capsys: Said) -> None:
    say(capsys, "notebook", campaign.root, "--add", "a\x1b[2Jb")
    assert "\x1b" not in say(capsys, "notebook", campaign.root)[0]
