"""--json: exactly one object on stdout, whatever the verb; mistakes stay one line on stderr."""

from dataclasses import asdict
from pathlib import Path

import pytest
from outside import PROGRAM, Campaign, ask, begin, say

from autoresearch.experiment import Failure, Json
from autoresearch.lease import acquire, who
from autoresearch.process import Identity
from autoresearch.report.summary import summarize
from autoresearch.verbs import answer, find

Said = pytest.CaptureFixture[str]

ON_A_CAMPAIGN = {
    "resume": [],
    "step": [],
    "stop": [],
    "replay": ["champion"],
    "promote": ["3f9c"],
    "sync": [],
    "status": [],
    "show": ["champion"],
    "diff": ["champion"],
    "source": [],
    "effects": [],
    "notebook": [],
    "report": [],
    "verify": [],
}


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return begin(tmp_path / "c")


@pytest.mark.parametrize("verb", ON_A_CAMPAIGN)
def test_a_mistake_leaves_stdout_empty(verb: str, capsys: Said, tmp_path: Path) -> None:
    words = [verb, str(tmp_path), *ON_A_CAMPAIGN[verb], "--json"]
    out, err = say(capsys, *words, code=1)
    assert out == ""
    assert err.startswith("autoresearch: ")
    assert err.count("\n") == 1


def test_wrong_settings_leave_stdout_empty(capsys: Said) -> None:
    for verb in (["run", "--cfg", "job"], ["run"], ["prepare"], ["doctor"]):
        out, err = say(capsys, *verb, "planner=bays", "--json", code=1)
        assert (out, err.count("\n")) == ("", 1)


def test_settings_are_printed_in_the_words_of_conf(capsys: Said) -> None:
    words = ["run", "--cfg", "job", "planner=greedy", "task.params.matrix_lr=interval(0.01,0.1)"]
    settings = ask(capsys, *words)["settings"]
    assert settings["planner"]["kind"] == "greedy"
    assert settings["search"]["space"]["matrix_lr"] == "interval(0.01,0.1)"


def test_status_is_the_whole_view_and_who_looks_after_it(
    campaign: Campaign, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = ask(capsys, "status", campaign.root)
    read = find.read(campaign.root)
    view = summarize(read.history, read.settings, read.sources)
    assert set(status) == {"schema", "controller", "room", *asdict(view)}
    assert status["room"] > 0
    assert (status["state"], status["controller"]) == ("running", "")
    assert status["cells"][0]["sigma"] == pytest.approx(0.01)
    acquire(campaign.layout.lease)
    mine = Identity.mine()
    monkeypatch.setattr(Identity, "mine", lambda: Identity(mine.host, 1, 1, mine.boot))
    assert ask(capsys, "status", campaign.root)["controller"] == who(campaign.layout.lease)


def test_step_has_nothing_to_do_in_an_ended_campaign_and_says_how_it_stands(
    campaign: Campaign, capsys: Said
) -> None:
    campaign.end("stopped by request")
    out, err = say(capsys, "step", campaign.root, "--json")
    assert "nothing to do" in err
    assert without_clock(ask(capsys, "step", campaign.root)) == without_clock(
        ask(capsys, "status", campaign.root)
    )
    assert '"end_reason": "stopped by request"' in out


def without_clock(status: Json) -> Json:
    return {key: value for key, value in status.items() if key not in ("spent", "room")}


def test_diff_leads_from_b_to_a(campaign: Campaign, capsys: Said) -> None:
    wide = campaign.screen(1.9, {"width": 4}).key
    answer = ask(capsys, "diff", campaign.root, wide, "baseline")
    assert (answer["a"], answer["b"]) == (wide, "baseline")
    assert answer["diff"] == say(capsys, "diff", campaign.root, wide, "baseline")[0]
    assert "+    width: int = 4" in answer["diff"]
    same = ask(capsys, "diff", campaign.root, "baseline")
    assert (same["b"], same["diff"]) == ("parent", "")


def test_stop_says_what_was_asked_and_how_many_run(campaign: Campaign, capsys: Said) -> None:
    answer = ask(capsys, "stop", campaign.root, "--now")
    assert answer["now"]
    assert (answer["controller"], answer["running"], answer["pilots"]) == (False, 0, 0)
    assert answer["ended"] == ""
    assert campaign.layout.stop.exists()
    campaign.end()
    assert ask(capsys, "stop", campaign.root)["ended"] == "budget"
    assert say(capsys, "stop", campaign.root)[0].startswith("it has ended already (budget); ")


def test_promote_says_whom_and_when(campaign: Campaign, capsys: Said) -> None:
    wide = campaign.screen(1.9, {"width": 4})
    answer = ask(capsys, "promote", campaign.root, wide.key)
    assert answer["candidate"] == wide.key
    assert answer["experiment"] in campaign.history.entries
    assert "autoresearch resume" in answer["next"]


def test_a_campaign_without_wandb_has_nothing_to_sync(campaign: Campaign, capsys: Said) -> None:
    answer = ask(capsys, "sync", campaign.root)
    assert (answer["sent"], answer["failed"], answer["fresh"]) == ([], {}, 0)


def test_what_a_program_holds_arrives_as_it_is(campaign: Campaign, capsys: Said) -> None:
    strange = PROGRAM + "\n# \x1b[2J é \U0001f600\n"
    key = campaign.screen(1.9, program=campaign.sources.add(strange, "x", when=0.0)).key
    assert ask(capsys, "source", campaign.root, key)["text"] == strange


def test_an_answer_is_one_object_with_a_schema(capsys: Said) -> None:
    answer.answer({"a": "é\n"})
    assert capsys.readouterr().out == '{\n "schema": 1,\n "a": "\\u00e9\\n"\n}\n'


def test_failures_are_counted_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = begin(tmp_path / "c")
    campaign.screen(Failure.crashed, {"width": 2})
    assert ask(capsys, "status", campaign.root)["failures"] == {"crashed": 1}


def test_runs_that_are_not_at_wandb_are_told_when_nobody_sends_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = begin(tmp_path / "c")
    text = campaign.layout.config.read_text().replace("kind: files", "kind: wandb")
    campaign.layout.config.write_text(text)
    folder = campaign.layout.wandb / "offline-run-20260101_000000-one"
    folder.mkdir(parents=True)
    (folder / "run-one.wandb").write_bytes(b"rows")
    (notice,) = ask(capsys, "status", campaign.root)["notices"]
    assert notice.startswith("1 run is not at W&B yet; `autoresearch sync")
