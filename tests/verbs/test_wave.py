"""Waves from outside: a template to start from, one that is submitted, the last one."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from outside import EDIT, Campaign, ask, begin, say

from autoresearch.experiment import Json
from autoresearch.program import SIZE_LIMIT

Said = pytest.CaptureFixture[str]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


def draft(campaign: Campaign, *experiments: Json, **more: object) -> str:
    """The file of a wave."""
    path = campaign.layout.root.parent / "wave.json"
    wave = {"hypothesis": "width helps", "experiments": list(experiments), **more}
    path.write_text(json.dumps(wave))
    return str(path)


def test_the_template_is_a_wave_that_can_be_submitted_as_it_is(
    campaign: Campaign, capsys: Said
) -> None:
    printed, _ = say(capsys, "wave", "template", campaign.root)
    path = campaign.layout.root.parent / "wave.json"
    path.write_text(printed)
    assert ask(capsys, "wave", "submit", campaign.root, str(path), "--check")["ok"]
    assert ask(capsys, "wave", "submit", campaign.root, str(path))["experiments"] == 2
    assert ask(capsys, "wave", "template", campaign.root) == json.loads(printed)


def test_what_is_submitted_is_what_the_controller_takes_in(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(
        campaign,
        {"overrides": {"width": 3}, "expected": -0.01},
        {"edits": [EDIT], "description": "one wider"},
        notes=["begun"],
    )
    answer = ask(capsys, "wave", "submit", campaign.root, wave)
    assert answer["is_new"]
    assert (answer["experiments"], answer["programs"], answer["notes"]) == (2, 1, 1)
    assert "autoresearch step" in answer["next"]
    campaign.take_in()
    wave_taken, ids = campaign.history.waves[-1]
    assert (wave_taken.planner, len(ids)) == ("external", 2)
    (version,) = wave_taken.versions
    assert "config.width + 1" in campaign.sources.read(version.program)
    assert [note.text for note in campaign.history.notes] == ["begun"]
    assert not list(campaign.layout.waves.glob("*.json"))


def test_the_same_wave_twice_is_one_wave_before_and_after_it_was_taken_in(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(campaign, {"overrides": {"width": 3}})
    first = ask(capsys, "wave", "submit", campaign.root, wave)
    assert ask(capsys, "wave", "submit", campaign.root, wave)["wave"] == first["wave"]
    assert len(list(campaign.layout.waves.glob("*.json"))) == 1
    campaign.take_in()
    again = ask(capsys, "wave", "submit", campaign.root, wave)
    assert (again["wave"], again["is_new"]) == (first["wave"], False)
    assert not list(campaign.layout.waves.glob("*.json"))


def test_every_problem_is_a_line_below_one_that_sums_them_up(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(campaign, {"overrides": {"width": 9}}, {"parent": "zebra"}, hypothesis="")
    out, err = say(capsys, "wave", "submit", campaign.root, wave, code=1)
    first, *problems = err.splitlines()
    assert out == ""
    assert first == f"autoresearch: {wave} has 3 problems:"
    assert [line[:18] for line in problems] == [
        "  hypothesis shoul",
        "  experiments[0]: ",
        "  experiments[1]: ",
    ]
    assert not campaign.layout.waves.exists()
    assert say(capsys, "wave", "submit", campaign.root, wave, "--json", code=1)[0] == ""
    answer = ask(capsys, "wave", "submit", campaign.root, wave, "--check", code=1)
    assert not answer["ok"]
    assert len(answer["problems"]) == 3


def test_people_are_told_the_first_problems_and_how_many_more_there_are(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(campaign, *[{"parent": "zebra" * 1000}] * 20, zoo=1, **{"x" * 60000: 1})
    _, err = say(capsys, "wave", "submit", campaign.root, wave, code=1)
    assert len(err) < 1500
    wave = draft(campaign, *[{"parent": "zebra" * 1000}] * 20, hypothesis="", notes=[1])
    _, err = say(capsys, "wave", "submit", campaign.root, wave, code=1)
    lines = err.splitlines()
    assert (lines[0], len(lines)) == (f"autoresearch: {wave} has 22 problems:", 22)
    assert lines[-1] == "  … and 2 more problems"
    assert len(err) < 9000


# ---- a look at new programs --------------------------------------------------------------------

READS = {"edits": [{"search": "    pass\n", "replace": "    pass\n    open('x')\n"}]}
SAID = "line 19 uses open: a program reads and writes no files"


def lenient(campaign: Campaign, policy: str) -> Campaign:
    """The same after `resume DIR task.inspection=...`."""
    campaign.record.append({"type": "amended", "overrides": [f"task.inspection={policy}"]})
    task = replace(campaign.settings.task, inspection=policy)
    campaign.settings = replace(campaign.settings, task=task)
    return campaign


def test_a_program_that_breaks_rules_is_refused_in_one_line(campaign: Campaign) -> None:
    wave = draft(campaign, READS)
    command = (sys.executable, "-P", "-m", "autoresearch", "wave", "submit", campaign.root, wave)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"autoresearch: {wave} has 1 problem:\n"
        f"  experiments[0]: train.py {SAID} (rule: file); do without it\n"
    )
    assert not campaign.layout.waves.exists()


def test_a_program_that_breaks_rules_is_run_where_it_may_and_status_says_so(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(lenient(campaign, "warn"), READS)
    checked, _ = say(capsys, "wave", "submit", campaign.root, wave, "--check")
    assert SAID in checked.splitlines()[0]
    assert checked.endswith("nothing else is wrong with this wave\n")
    assert len(ask(capsys, "wave", "submit", campaign.root, wave, "--check")["remarks"]) == 1
    assert SAID in say(capsys, "wave", "submit", campaign.root, wave)[0].splitlines()[1]
    campaign.take_in()
    (version,) = campaign.history.versions.values()
    assert version.remarks == (SAID,)
    notice = f"programs whose texts break rules: 1; the last: program {version.program[:12]} {SAID}"
    assert notice in ask(capsys, "status", campaign.root)["remarks"]
    assert notice in " ".join(say(capsys, "report", campaign.root)[0].split())
    assert notice in " ".join(say(capsys, "status", campaign.root)[0].split())


def test_where_nobody_looks_a_program_is_run_without_a_word(
    campaign: Campaign, capsys: Said
) -> None:
    wave = draft(lenient(campaign, "none"), READS)
    assert ask(capsys, "wave", "submit", campaign.root, wave)["remarks"] == []
    campaign.take_in()
    assert [len(ids) for _, ids in campaign.history.waves] == [1]
    assert ask(capsys, "status", campaign.root)["remarks"] == []


@pytest.mark.parametrize("policy", ["refuse", "none"])
def test_what_is_too_long_to_be_a_program_is_refused(
    campaign: Campaign, capsys: Said, policy: str
) -> None:
    wave = draft(lenient(campaign, policy), {"source": "#" * (SIZE_LIMIT + 1)})
    _, err = say(capsys, "wave", "submit", campaign.root, wave, code=1)
    assert f"should have at most {SIZE_LIMIT} bytes, but has {SIZE_LIMIT + 1}" in err
    assert len(err) < 400


def test_to_check_is_not_to_submit(campaign: Campaign, capsys: Said) -> None:
    wave = draft(campaign, {"overrides": {"width": 3}})
    out, err = say(capsys, "wave", "submit", campaign.root, wave, "--check")
    assert (out, err) == ("nothing is wrong with this wave\n", "")
    assert not campaign.layout.waves.exists()


def test_a_wave_comes_by_standard_input_too(
    campaign: Campaign, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(draft(campaign, {"overrides": {"width": 3}})).read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert ask(capsys, "wave", "submit", campaign.root, "-")["experiments"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "should hold JSON"),
        ("{", "should hold JSON"),
        ("\udcff", "should hold JSON"),
        ('{"notes": [NaN]}', "NaN is no finite number"),
        ('{"notes": [1e999]}', "1e999 is no finite number"),
        ('{"notes": [-1' + "0" * 400 + "]}", "a whole number should be below 2**64"),
        ('{"notes": [1' + "0" * 5000 + "]}", "a whole number should be below 2**64"),
        ('{"notes": [18446744073709551616]}', "a whole number should be below 2**64"),
        ('{"notes": [1' + "0" * 5000 + ".0]}", "0 is no finite number"),
        ("[" * 100000, "should hold JSON"),
        ('{"schema": 2}', "schema should be 1"),
        ("{}", "should have experiments, notes or done"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_holds_no_wave_is_one_line(
    campaign: Campaign, capsys: Said, text: str | None, words: str
) -> None:
    path = campaign.layout.root.parent / "wave.json"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    out, err = say(capsys, "wave", "submit", campaign.root, str(path), code=1)
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert len(err) < 300


def test_done_ends_the_search(campaign: Campaign, capsys: Said) -> None:
    assert ask(capsys, "wave", "done", campaign.root)["is_new"]
    campaign.take_in()
    assert campaign.history.search_ended


def test_done_means_something_again_once_the_campaign_is_resumed(
    campaign: Campaign, capsys: Said
) -> None:
    say(capsys, "wave", "done", campaign.root)
    campaign.take_in()
    assert not ask(capsys, "wave", "done", campaign.root)["is_new"]
    campaign.record.append({"type": "ended", "reason": "nothing left"})
    campaign.record.append({"type": "resumed"})
    assert ask(capsys, "wave", "done", campaign.root)["is_new"]


def test_done_is_for_a_campaign_that_waits_for_waves(tmp_path: Path, capsys: Said) -> None:
    other = begin(tmp_path / "other", "bayes")
    for words in (["done", other.root], ["submit", other.root, draft(other, done=True)]):
        _, err = say(capsys, "wave", *words, code=1)
        assert "planner=bayes, which goes on by itself" in err
        assert err.count("\n") == 1


def test_a_wave_that_says_nothing_new_in_words_is_told_so(campaign: Campaign, capsys: Said) -> None:
    wave = draft(campaign, {"overrides": {"width": 3}})
    out, _ = say(capsys, "wave", "submit", campaign.root, wave)
    assert "is submitted: 1 experiment\n" in out
    assert "no controller is at work: `autoresearch step" in out
    assert "has been submitted before" in say(capsys, "wave", "submit", campaign.root, wave)[0]
