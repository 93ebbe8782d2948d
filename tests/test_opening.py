"""Starting a campaign: what can be wrong is said in one line, before anything is written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from bigram import PROGRAM, write_task

from autoresearch import config, opening
from autoresearch.campaign import Campaign
from autoresearch.errors import CampaignError, ConfigError, DataError, SourceError, UserError
from autoresearch.experiment import Json, Scalar
from autoresearch.journal import replay
from autoresearch.node import sandbox
from autoresearch.program import SIZE_LIMIT, parameters
from autoresearch.record import Record
from autoresearch.report.summary import summarize
from autoresearch.settings import NodeSettings, Planner, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_task(tmp_path)
    overrides = ["task=bigram", "search=bigram", f"dir={tmp_path}/c", "task.params.batch=4"]
    folders = [tmp_path / "conf", *config.composition.conf_folders()[-1:]]
    return config.compose(overrides, folders)


def close(campaign: Campaign) -> None:
    campaign.record.journal.close()
    campaign.lease.release()


def test_fixed_parameters_are_the_baselines_defaults(settings: Settings) -> None:
    campaign = opening.start(settings)
    history = campaign.history
    assert parameters(campaign.sources.read(history.baseline.program))["batch"] == 4
    assert history.champion == history.baseline
    assert history.tiers["cpu"].device == "cpu-1"
    assert (campaign.layout.node / "autoresearch" / "node" / "referee.py").exists()
    close(campaign)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("no data", DataError, "autoresearch prepare"),
        ("little data", DataError, "task.scoring.rows="),
        ("no program", SourceError, "should be the program"),
        ("broken program", SourceError, "line 1"),
        ("unknown parameter", ConfigError, "rate"),
        ("empty space", ConfigError, "space"),
        ("unknown planner", ConfigError, "bayes"),
        ("unknown planner option", ConfigError, "startup"),
        ("unknown cluster", ConfigError, "local"),
        ("statement out of place", SourceError, "line"),
        ("long program", SourceError, "at most 262144 bytes"),
        ("unwritable", CampaignError, "should be a directory we can write"),
    ],
)
def test_a_campaign_that_cannot_begin_says_so_and_writes_nothing(
    settings: Settings, change: str, error: type[UserError], words: str
) -> None:
    wrong = spoil(settings, change)
    with pytest.raises(error, match=words) as raised:
        opening.start(wrong)
    assert "\n" not in str(raised.value)
    assert not Path(wrong.dir, "journal").exists()


def spoil(settings: Settings, change: str) -> Settings:
    program = Path(settings.task.dir) / "train.py"
    if change == "no data":
        shutil.rmtree(settings.task.data.directory)
    elif change == "little data":
        scoring = replace(settings.task.scoring, rows=1000, tokens=1 << 20)
        return replace(settings, task=replace(settings.task, scoring=scoring))
    elif change == "no program":
        program.unlink()
    elif change == "broken program":
        program.write_text("def train(:\n", encoding="utf-8")
    elif change == "long program":
        program.write_text(PROGRAM + "#" * SIZE_LIMIT, encoding="utf-8")
    elif change == "statement out of place":
        program.write_text(PROGRAM + "\nreturn 1\n", encoding="utf-8")
    elif change in ("unknown cluster", "unwritable"):
        kind, place = ("locl", settings.dir) if change[2:4] == "kn" else ("local", "/proc/nowhere")
        return replace(settings, dir=place, cluster=replace(settings.cluster, kind=kind))
    elif change.startswith("unknown planner"):
        options: dict[str, Scalar] = {"startap": 3} if change.endswith("option") else {}
        kind = settings.planner.kind if options else "bays"
        return replace(settings, planner=Planner(kind, options))
    elif change == "empty space":
        return replace(settings, search=replace(settings.search, space={}))
    elif change == "unknown parameter":
        space = {"raet": settings.search.space["rate"]}
        return replace(settings, search=replace(settings.search, space=space))
    return settings


@pytest.mark.parametrize(("policy", "count"), [("refuse", 6), ("warn", 6), ("none", 0)])
def test_what_the_users_own_program_does_is_told_and_never_refused(
    settings: Settings, policy: str, count: int
) -> None:
    program = Path(settings.task.dir) / "train.py"
    program.write_text(PROGRAM + "import os\n" * 9, encoding="utf-8")
    task = replace(settings.task, inspection=policy)
    campaign = opening.start(replace(settings, task=task))
    remarks = opening.remarks(campaign)
    line = PROGRAM.count("\n") + 1
    told = "taken all the same, the baseline's train.py breaks a rule:"
    first = f"{told} line {line} imports os: a program reads and writes no files"
    assert remarks[:1] == [first][:count]
    assert remarks[5:] == ["… and 4 more of this kind"][:count]
    broken = "rules that the baseline's train.py breaks: 1; one of them: imports os: a program"
    shown = summarize(campaign.history, campaign.settings, campaign.sources).remarks
    assert [words.startswith(broken) for words in shown] == [True][:count]
    close(campaign)


def test_an_honest_program_begins_without_a_word(settings: Settings) -> None:
    campaign = opening.start(settings)
    assert opening.remarks(campaign) == []
    close(campaign)


def test_a_directory_that_holds_a_campaign_is_not_started_again(settings: Settings) -> None:
    close(opening.start(settings))
    with pytest.raises(CampaignError, match="autoresearch resume"):
        opening.start(settings)


def test_of_two_that_start_at_once_one_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = opening.check_data

    def slow(late: Settings) -> None:
        check(late)
        monkeypatch.setattr(opening, "check_data", check)
        close(opening.start(settings))  # the other one, in the meantime

    monkeypatch.setattr(opening, "check_data", slow)
    with pytest.raises(CampaignError, match="holds a campaign"):
        opening.start(replace(settings, seed=settings.seed + 1))
    layout = opening.existing(Path(settings.dir))
    assert opening.read_settings(layout).seed == settings.seed


def test_resume_checks_the_planners_options_too(settings: Settings) -> None:
    close(opening.start(settings))
    with pytest.raises(ConfigError, match="startap"):
        opening.resume(Path(settings.dir), ["+planner.options.startap=3"])


class Killed(Exception):  # noqa: N818 - it stands for SIGKILL
    """The controller stops existing here."""


def test_killed_before_it_began_a_campaign_begins_on_resume(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Record, *events: Json) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Record, "append", killed)
        with pytest.raises(Killed):
            opening.start(settings)
    campaign = opening.resume(Path(settings.dir))
    assert campaign.history.started
    assert campaign.settings == settings
    close(campaign)


def test_amendments_are_recorded_complete_and_hold_for_the_next_controller(
    settings: Settings,
) -> None:
    close(opening.start(settings))
    close(opening.resume(Path(settings.dir), ["budget.experiments=7", "planner=greedy"]))
    layout = opening.existing(Path(settings.dir))
    again = opening.effective(layout)
    assert again.budget.experiments == 7
    assert again.planner.kind == "greedy"
    recorded = [e for e in replay(layout.journal).events if e["type"] == "amended"]
    assert len(recorded) == 1
    assert opening.read_settings(layout) == settings  # config.yaml is never changed


def test_a_program_must_say_what_the_referee_sets() -> None:
    with pytest.raises(SourceError, match="should have a field 'context'"):
        opening.check_program(
            "from dataclasses import dataclass\n@dataclass\nclass Config:\n"
            "    vocabulary: int = 1\n"
        )
    assert opening.check_program(PROGRAM)["rate"] == 0.5


def test_a_sandbox_that_this_machine_has_not_is_told_at_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "BWRAP", "no-such-program")
    insisting = replace(settings, cluster=replace(settings.cluster, sandbox="bubblewrap"))
    with pytest.raises(ConfigError, match="there is no no-such-program; install bubblewrap"):
        opening.start(insisting)
    assert not (tmp_path / "c").exists()
    trusting = replace(settings, cluster=replace(settings.cluster, sandbox="auto"))
    close(opening.start(trusting))


@pytest.mark.parametrize("missing", ["build", "train"])
def test_a_program_must_define_what_the_referee_calls(missing: str) -> None:
    text = PROGRAM.replace(f"def {missing}(", f"def {missing}s(")
    with pytest.raises(SourceError, match=rf"should define {missing}\(\), but does not"):
        opening.check_program(text)
    assert opening.check_program(f"{text}\n{missing} = {missing}s\n")


def test_a_campaign_from_before_results_had_a_choice_is_taken_up(settings: Settings) -> None:
    campaign = opening.start(settings)
    close(campaign)
    path = campaign.layout.node_settings
    record = json.loads(path.read_text())
    del record["results"]
    path.write_text(json.dumps(record))
    again = opening.resume(campaign.layout.root)
    assert NodeSettings.read(path).results == "files"
    close(again)
