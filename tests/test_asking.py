"""Whom a campaign asks for waves, and when; the planners are the real ones, or played by hand."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from desks import PROGRAM, open_desk
from worlds import make_settings

from autoresearch import asking
from autoresearch.asking import Desk
from autoresearch.entry import Purpose
from autoresearch.experiment import Json, Proposal, Version, Wave
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import write_atomically
from autoresearch.placement import PLANNING_SECONDS
from autoresearch.planning import Planning
from autoresearch.program import SIZE_LIMIT, bake, program_of
from autoresearch.programs import Programs
from autoresearch.settings import Planner, Search, Settings, Spending
from autoresearch.smoke import Wish
from autoresearch.space import Choice, Domain
from autoresearch.spending import usd_left

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3, 4, 5, 6, 7, 8))}
WIDE = bake(PROGRAM, {"width": 9})


def settings(kind: str, **options: bool) -> Settings:
    return make_settings(
        search=Search(SPACE, wave=3, rungs=(1, 2)),
        planner=Planner(kind, {**options}),
        budget=Spending(experiments=60, usd_agent=2.0),
    )


DESKS: list[Desk] = []


@pytest.fixture(autouse=True)
def _planners_end() -> Iterator[None]:
    yield
    while DESKS:
        for planning in DESKS.pop().at_work.values():
            planning.kill()


def sit(root: Path, kind: str = "random", **options: bool) -> Desk:
    """A desk in a campaign's directory, a new one or one that is there already."""
    opened = open_desk(root)
    hands = opened.layout, opened.record, opened.sources, Programs(opened.sources)
    DESKS.append(Desk(settings(kind, **options), *hands))
    return DESKS[-1]


def thinker(desk: Desk, kind: str = "claude") -> Planning:
    """A planner that was asked and says nothing yet: the test answers for it."""
    desk.has_looked = True
    name = f"{len(desk.history.asks) + 1:04d}"
    bounds = {"planner": kind, "capacity": 3, "usd": 2.0}
    desk.record.append({"type": "asking", "ask": name, **bounds})
    folder = desk.layout.ask(name)
    folder.mkdir(parents=True)
    write_atomically(folder / "request.json", json.dumps({"capacity": 3}))
    planning = Silent(folder, 3, asking.results(desk.history))
    desk.at_work[kind] = planning
    return planning


class Silent(Planning):
    """At work until it has said something."""

    def may_live(self) -> bool:
        return not (self.folder / "wave.json").exists()


def say(planning: Planning, wave: Wave) -> None:
    (planning.folder / "wave.json").write_text(json.dumps(wave.to_json()), encoding="utf-8")


def await_waves(desk: Desk, count: int) -> History:
    deadline = time.monotonic() + 60
    while len(desk.history.waves) < count:
        assert time.monotonic() < deadline, "no wave came"
        asking.tend(desk)
        time.sleep(0.05)
    return desk.history


def events(desk: Desk, kind: str) -> list[Json]:
    return [e for e in replay(desk.layout.journal).events if e["type"] == kind]


def test_a_question_is_on_record_before_its_answer_and_closed_after_it(tmp_path: Path) -> None:
    desk = sit(tmp_path)
    asking.tend(desk)
    (ask,) = desk.history.asks.values()
    assert (ask.planner, ask.capacity, ask.usd, ask.ended) == ("random", 3, 0.0, None)
    assert desk.promised == 3
    history = await_waves(desk, 1)
    assert desk.promised == 0
    assert history.asks["0001"].ended is not None
    assert history.taken == {"0001"}
    assert not desk.layout.ask("0001").exists()


def test_no_wave_is_recorded_twice_whenever_the_controller_dies(tmp_path: Path) -> None:
    desk = sit(tmp_path)
    planning = thinker(desk, "random")
    wave = Wave("random", "why not", (Proposal({"width": 3}),))
    say(planning, wave)
    asking.take_wave(desk, wave, planning.name)  # and dies before the question is closed
    desk.record.journal.close()
    again = sit(tmp_path)
    asking.take_up(again)
    assert [w for w, _ in again.history.waves] == [wave]
    assert again.history.asks["0001"].ended is not None
    assert again.at_work == {}


def test_an_answer_that_came_while_nobody_was_there_is_taken(tmp_path: Path) -> None:
    desk = sit(tmp_path)
    say(thinker(desk, "random"), Wave("random", "why not", (Proposal({"width": 3}),)))
    desk.record.journal.close()
    again = sit(tmp_path)
    asking.tend(again)
    assert [w.hypothesis for w, _ in again.history.waves] == ["why not"]


def test_a_question_without_a_trace_is_closed_and_asked_anew(tmp_path: Path) -> None:
    desk = sit(tmp_path)
    bounds = {"planner": "random", "capacity": 3, "usd": 0.0}
    desk.record.append({"type": "asking", "ask": "0001", **bounds})
    history = await_waves(desk, 1)
    assert list(history.asks) == ["0001", "0002"]
    assert history.taken == {"0002"}


def test_bayes_fills_in_while_claude_thinks(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    history = await_waves(desk, 1)
    assert history.waves[0][0].planner == "bayes"
    assert "claude" in desk.at_work
    say(planning, Wave("claude", "an idea", (Proposal({"width": 5}, "wide"),)))
    history = await_waves(desk, 2)
    assert history.waves[-1][0].hypothesis == "an idea"
    assert desk.at_work.keys() <= {"bayes"}


def test_nobody_fills_in_for_a_planner_that_answers_at_once(tmp_path: Path) -> None:
    desk = sit(tmp_path, "random")
    thinker(desk, "random")
    for _ in range(5):
        asking.tend(desk)
    assert [ask.planner for ask in desk.history.asks.values()] == ["random"]


@pytest.mark.parametrize(("fill", "asked"), [(False, []), (True, ["bayes"])])
def test_waves_from_outside_are_waited_for_and_gaps_filled_if_wished(
    tmp_path: Path, fill: bool, asked: list[str]
) -> None:
    desk = sit(tmp_path, "external", fill=fill)
    for _ in range(5):
        asking.tend(desk)
    assert [ask.planner for ask in desk.history.asks.values()] == asked
    if fill:
        await_waves(desk, 1)


def submit(desk: Desk, name: str, wave: Wave | Mapping[str, object]) -> None:
    desk.layout.waves.mkdir(parents=True, exist_ok=True)
    record = wave.to_json() if isinstance(wave, Wave) else dict(wave)
    write_atomically(desk.layout.waves / f"{name}.json", json.dumps(record))


def version(desk: Desk) -> Version:
    parent = desk.history.baseline.program
    return Version(program_of(WIDE), (parent,), "wider is better", {}, WIDE)


def test_a_wave_from_outside_is_recorded_once_with_its_programs(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    new = version(desk)
    wave = Wave("external", "wider", (Proposal({}, program=new.program),), versions=(new,))
    submit(desk, "a", wave)
    asking.tend(desk)
    submit(desk, "a", wave)  # the controller had died before it removed the file
    asking.tend(desk)
    assert [w for w, _ in desk.history.waves] == [wave.kept()]
    assert desk.sources.read(new.program) == WIDE
    assert list(desk.history.versions) == [new.program]
    assert list(desk.layout.waves.iterdir()) == []
    log = desk.sources._git("log", "-1", "--format=%s", desk.sources.commit(new.program))
    assert log.decode().strip() == "wider is better"


def test_a_wave_from_outside_keeps_to_the_budget(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    desk.settings = replace(desk.settings, budget=Spending(experiments=18))
    submit(desk, "a", Wave("external", "x", tuple(Proposal({"width": n}) for n in range(2, 9))))
    asking.tend(desk)
    ((wave, ids),) = desk.history.waves
    assert len(ids) == 2  # 18, less a crown test of 2 x 4 and a certification of 2 x 4
    assert wave.problem == "the budget had room for 2 of 7 experiments"


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"planner": 1}', '{"proposals": [3]}'])
def test_what_is_no_wave_is_put_aside_with_the_reason(tmp_path: Path, text: str) -> None:
    desk = sit(tmp_path, "external")
    desk.layout.waves.mkdir(parents=True)
    (desk.layout.waves / "a.json").write_text(text, encoding="utf-8")
    asking.tend(desk)
    assert (desk.layout.waves / "a.json.refused").read_text(encoding="utf-8") == text
    assert len(list(desk.layout.waves.iterdir())) == 2  # and the reason
    assert desk.history.waves == []


def test_a_wave_that_cannot_be_read_now_is_kept_for_the_next_turn(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", Wave("external", "x", (Proposal({"width": 3}),)))
    path = desk.layout.waves / "a.json"
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".loop"))
    path.with_suffix(".loop").symlink_to(path)  # ELOOP
    asking.tend(desk)
    assert desk.history.waves == []
    path.unlink()
    path.with_suffix(".moved").rename(path)
    asking.tend(desk)
    assert len(desk.history.waves) == 1


@pytest.mark.parametrize("kind", ["claude", "random"])
def test_a_wave_that_cannot_be_run_is_a_failure_of_its_planner(tmp_path: Path, kind: str) -> None:
    """JSON knows no infinity: such a wave could not even be written down."""
    desk = sit(tmp_path, kind)
    planning = thinker(desk, kind)
    (planning.folder / "wave.json").write_text(
        json.dumps(Wave(kind, "x", (Proposal({"width": float("inf")}),)).to_json())
    )
    asking.take_answer(desk, kind)
    assert kind not in desk.at_work
    assert desk.history.waves == []
    assert "cannot be run" in desk.history.asks[planning.name].problem


def test_where_somebody_fills_in_a_planner_that_always_fails_ends_nothing(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    for _ in range(2 * asking.PATIENCE):
        planning = thinker(desk)
        (planning.folder / "wave.json").write_text("nonsense", encoding="utf-8")
        asking.take_answer(desk, "claude")
    assert not desk.history.search_ended
    asking.tend(desk)
    assert list(desk.at_work) == ["bayes"]  # it is not asked again before there is news


def test_a_program_that_does_not_compile_is_put_aside_whole(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    bad = replace(version(desk), text="def (", program=program_of("def ("))
    wave = Wave("external", "x", (Proposal({}, program=bad.program),), versions=(bad,))
    submit(desk, "a", wave)
    asking.tend(desk)
    assert "train.py line 1" in (desk.layout.waves / "a.refused").read_text()
    assert desk.history.waves == []


# ---- a look at new programs --------------------------------------------------------------------

READS = f"{WIDE}\n\ndef peek():\n    return open('x')\n"
SAID = "line 12 uses open: a program reads and writes no files"


def careless(desk: Desk, policy: str, text: str = READS) -> Wave:
    """A wave that no draft has checked, with a program that breaks a rule."""
    desk.settings = replace(desk.settings, task=replace(desk.settings.task, inspection=policy))
    new = replace(version(desk), text=text, program=program_of(text))
    return Wave("external", "x", (Proposal({}, program=new.program),), versions=(new,))


def test_nothing_is_queued_of_a_wave_from_outside_that_breaks_rules(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", careless(desk, "refuse"))
    asking.tend(desk)
    assert f"train.py {SAID} (rule: file)" in (desk.layout.waves / "a.refused").read_text()
    assert desk.history.waves == []
    assert not desk.history.active


def test_nothing_is_queued_of_a_planners_wave_that_breaks_rules(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    say(planning, careless(desk, "refuse"))
    asking.take_answer(desk, "claude")
    assert SAID in desk.history.asks[planning.name].problem
    assert desk.history.waves == []


@pytest.mark.parametrize(("policy", "remarks"), [("warn", (SAID,)), ("none", ())])
def test_what_is_queued_all_the_same_is_on_record(
    tmp_path: Path, policy: str, remarks: tuple[str, ...]
) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", careless(desk, policy))
    asking.tend(desk)
    ((wave, ids),) = History.of(replay(desk.layout.journal).events).waves
    assert (wave.versions[0].remarks, len(ids)) == (remarks, 1)


@pytest.mark.parametrize("policy", ["refuse", "warn", "none"])
def test_what_is_too_long_to_be_a_program_is_refused_by_every_policy(
    tmp_path: Path, policy: str
) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", careless(desk, policy, WIDE + "#" * SIZE_LIMIT))
    asking.tend(desk)
    assert f"at most {SIZE_LIMIT} bytes" in (desk.layout.waves / "a.refused").read_text()
    assert desk.history.waves == []


@pytest.mark.parametrize(("policy", "queued"), [("refuse", 0), ("warn", 1), ("none", 1)])
def test_what_breaks_rules_is_not_even_tried(tmp_path: Path, policy: str, queued: int) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    (new,) = careless(desk, policy).versions
    Wish(new.program, new.text, new.parents, "it reads", 20).leave(planning.folder)
    asking.tend(desk)
    asking.tend(desk)
    smokes = [e for e in desk.history.entries.values() if e.purpose is Purpose.smoke]
    assert len(smokes) == queued


def test_a_wave_of_an_older_journal_has_no_remarks(tmp_path: Path) -> None:
    record = careless(sit(tmp_path, "external"), "none").to_json()
    del record["versions"][0]["remarks"]
    assert Wave.from_json(record).versions[0].remarks == ()


def test_done_from_outside_ends_the_search(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", Wave("external", "", (), exhausted=True))
    asking.tend(desk)
    assert desk.history.search_ended == "`wave done` was said"


def test_notes_are_kept_with_their_wave(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", Wave("external", "", (), notes=("width helps",)))
    asking.tend(desk)
    (note,) = History.of(replay(desk.layout.journal).events).notes
    assert (note.wave, note.planner, note.text) == (1, "external", "width helps")


def test_what_is_to_be_promoted_meets_the_champion_next(tmp_path: Path) -> None:
    desk = sit(tmp_path, "external")
    submit(desk, "a", Wave("external", "x", (Proposal({"width": 4}, promote=True),)))
    asking.tend(desk)
    (candidate,) = desk.history.promoted
    assert candidate.overrides == {"width": 4}


def test_a_wish_is_queued_once_ahead_of_everything(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    wish = Wish(program_of(WIDE), WIDE, (desk.history.baseline.program,), "wider", 20)
    wish.leave(planning.folder)
    asking.tend(desk)
    asking.tend(desk)
    smokes = [e for e in desk.history.entries.values() if e.purpose is Purpose.smoke]
    assert [e.experiment.candidate.program for e in smokes] == [wish.program]
    assert smokes[0].experiment.cell.budget.tokens == 20


def test_a_planner_has_no_more_wishes_than_it_may(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    for width in range(2, 9):
        text = bake(PROGRAM, {"width": width})
        Wish(program_of(text), text, (desk.history.baseline.program,), "w", 20).leave(
            planning.folder
        )
    desk.settings = replace(desk.settings, claude=replace(desk.settings.claude, smokes=3))
    asking.tend(desk)
    assert sum(e.purpose is Purpose.smoke for e in desk.history.entries.values()) == 3


@pytest.mark.parametrize(
    "damage", ["no JSON\n", '{"sent": 7, "usd_at_most": 0.1}\n', "\xff\n", None]
)
def test_what_was_spent_unreadably_counts_as_all_that_was_set_aside(
    tmp_path: Path, damage: str | None
) -> None:
    desk = sit(tmp_path, "claude")
    planning = thinker(desk)
    path = planning.folder / "spend.jsonl"
    path.write_text(damage, encoding="latin-1") if damage else path.mkdir()
    say(planning, Wave("claude", "why not", (Proposal({"width": 3}),)))
    asking.tend(desk)
    ask = desk.history.asks["0001"]
    assert (ask.ended is None, ask.spent) == (False, 2.0)
    assert str(path) in ask.problem
    assert "counted as $2.00" in ask.problem
    assert [w.hypothesis for w, _ in desk.history.waves] == ["why not"]
    assert usd_left(desk.history, desk.settings) == 0.0


def test_money_that_is_being_spent_is_set_aside(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    thinker(desk)
    assert usd_left(desk.history, desk.settings) == 0.0


def test_a_stopped_campaign_closes_its_questions(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    thinker(desk)
    asking.dismiss(desk)
    (asked,) = events(desk, "asked")
    assert asked["problem"] == "the campaign was stopped"
    assert desk.at_work == {}
    assert usd_left(desk.history, desk.settings) == 2.0


def test_a_planner_that_fails_again_and_again_ends_the_search(tmp_path: Path) -> None:
    desk = sit(tmp_path, "random")
    for _ in range(asking.PATIENCE):
        planning = thinker(desk, "random")
        say(planning, Wave("random", "", ()))
        (planning.folder / "wave.json").write_text("nonsense", encoding="utf-8")
        asking.take_answer(desk, "random")
    assert "the planner failed: it answered 'nonsense'" in desk.history.search_ended


def test_how_long_claude_thinks_is_learned(tmp_path: Path) -> None:
    desk = sit(tmp_path, "claude")
    assert asking.thinking_time(desk) == PLANNING_SECONDS
    planning = thinker(desk)
    desk.history.asks[planning.name].since -= 100
    asking.close(desk, planning, "")
    assert 99 < asking.thinking_time(desk) < 110
