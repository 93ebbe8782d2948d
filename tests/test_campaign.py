"""The loop itself, with real journal, sources, planners and judge; only the nodes are played.

`Players` answer whatever is in line with a score drawn from the candidate, as fast as it is asked.
"""

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from desks import PROGRAM, Desk, Pilots, open_desk

from autoresearch import asking
from autoresearch import campaign as story
from autoresearch.campaign import Campaign
from autoresearch.cluster.interface import Sighting
from autoresearch.errors import TakenOver
from autoresearch.experiment import Attempt, Experiment, Failure, Json, Split, State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.lease import acquire
from autoresearch.mirror.watching import Watching
from autoresearch.program import parameters
from autoresearch.programs import Programs
from autoresearch.settings import Judge, Planner, Search, Spending
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3, 4, 5, 6, 7, 8))}


@dataclass
class Players(Pilots):
    """Pilots that answer at once. `desk` is set once it is open."""

    desk: Desk | None = None
    broken: bool = False

    def look(self, jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        if self.desk is not None and not self.desk.layout.drain.exists():
            for _, attempt in list(self.desk.layout.queued("screen")):
                self.play(self.desk, attempt, next(iter(jobs), ""))
        if self.desk is not None and self.desk.layout.drain.exists():
            self.dead |= set(jobs)
        return super().look(jobs)

    def play(self, desk: Desk, attempt: Attempt, pilot: str) -> None:
        if not pilot:
            return
        desk.claim(attempt.experiment, pilot, attempt.number)
        experiment = desk.history.entries[attempt.experiment].experiment
        if self.broken:
            desk.answer(attempt, None, Failure.crashed)
        else:
            desk.answer(attempt, self.draw(desk, experiment))

    def draw(self, desk: Desk, experiment: Experiment) -> float:
        program = desk.sources.read(experiment.candidate.program)
        width = {**parameters(program), **experiment.candidate.overrides}["width"]
        noise = random.Random(f"{experiment.candidate.key} {experiment.seed}").gauss(0, 0.01)
        shift = 0.3 if experiment.split is Split.test else 0.0
        return 2.0 + 0.1 * abs(int(width) - 5) + noise + shift


def make(root: Path, **changes: object) -> Campaign:
    settings: dict[str, object] = {
        "search": Search(SPACE, wave=4, rungs=(1, 2), eta=3),
        "judge": Judge(baseline_seeds=3, crown_seeds=4, certify_seeds=4),
        "planner": Planner("random"),
        "budget": Spending(experiments=40),
        **changes,
    }
    desk = open_desk(root, **settings)
    players = Players(desk=desk)
    quick = replace(desk.settings, cluster=replace(desk.settings.cluster, poll_seconds=0.02))
    return Campaign(
        quick,
        desk.layout,
        desk.record,
        desk.sources,
        players,
        acquire(desk.layout.lease),
        Watching(desk.layout, desk.settings),
        asking.Desk(quick, desk.layout, desk.record, desk.sources, Programs(desk.sources)),
    )


def play(campaign: Campaign) -> History:
    deadline = time.monotonic() + 120

    def watch(_: Campaign) -> None:
        assert time.monotonic() < deadline, "the campaign did not end"

    story.run(campaign, watch)
    campaign.record.journal.close()
    return campaign.history


@pytest.mark.parametrize("planner", ["random", "bayes", "factorial", "greedy"])
def test_a_campaign_finds_the_best_width_and_certifies_it(tmp_path: Path, planner: str) -> None:
    campaign = make(tmp_path, planner=Planner(planner))
    history = play(campaign)
    assert len(history.entries) <= 40
    assert all(entry.state is State.finished for entry in history.entries.values())
    champion = campaign.sources.read(history.champion.program)
    assert parameters(champion)["width"] in (4, 5, 6)
    assert campaign.sources.champion() == history.champion.program
    (certified,) = history.certifications
    assert certified["high"] < 0
    assert certified["champion_mean"] > 2.2  # of the test split, which reads 0.3 higher


def test_the_budget_holds_however_many_seeds_a_candidate_begins_with(tmp_path: Path) -> None:
    search = Search(SPACE, wave=4, rungs=(4, 6), eta=3)
    history = play(make(tmp_path, search=search, budget=Spending(experiments=30)))
    assert len(history.entries) <= 30
    assert history.search_ended.startswith("budget: ")
    assert history.crowns or history.champion == history.baseline


def test_nothing_is_crowned_when_nothing_is_better(tmp_path: Path) -> None:
    space: dict[str, Domain] = {"rate": Interval(0.1, 1.0)}
    program = PROGRAM + "    rate: float = 0.5\n"
    campaign = make(tmp_path, search=Search(space, wave=4, rungs=(1, 2), eta=3))
    campaign.desk.programs._parameters[campaign.history.baseline.program] = parameters(program)
    history = play(campaign)
    assert history.champion == history.baseline
    assert not history.certifications
    assert len(history.waves) >= 2


def test_a_baseline_that_fails_ends_the_campaign_with_its_reason(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    campaign.cluster.broken = True  # type: ignore[attr-defined]
    history = play(campaign)
    assert history.ended.startswith("the baseline failed: crashed")


def test_budgets_hold_whatever_is_in_flight(tmp_path: Path) -> None:
    for experiments in (16, 17, 23):
        campaign = make(tmp_path / str(experiments), budget=Spending(experiments=experiments))
        history = play(campaign)
        assert len(history.entries) <= experiments


def test_a_finite_space_is_searched_once_and_then_it_is_over(tmp_path: Path) -> None:
    campaign = make(tmp_path, planner=Planner("factorial"), budget=Spending(experiments=200))
    history = play(campaign)
    widths = [g[0].experiment.candidate.overrides for g in history.screened().values()]
    assert len(widths) == len({str(width) for width in widths}) == len(SPACE["width"].grid(0)) - 1
    assert history.search_ended == "nothing left to propose"


def test_stopping_starts_nothing_new_and_resuming_goes_on(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    for _ in range(10):
        story.step(campaign)
    story.stop(campaign, "stopped by Ctrl-C")
    known = len(campaign.history.entries)
    history = play(campaign)
    assert history.ended == "stopped by Ctrl-C"
    assert len(history.entries) == known
    again = make(tmp_path)
    again.layout.drain.unlink()
    again.record.append({"type": "resumed"})
    history = play(again)
    assert history.champion != history.baseline


def test_a_request_to_stop_is_heeded_and_pilots_are_cancelled_if_it_says_now(
    tmp_path: Path,
) -> None:
    campaign = make(tmp_path)
    story.step(campaign)
    campaign.layout.stop.write_text('{"now": true}', encoding="utf-8")
    history = play(campaign)
    assert history.ended == "stopped by request"
    assert campaign.cluster.cancelled  # type: ignore[attr-defined]
    assert not campaign.layout.stop.exists()


def test_a_wished_promotion_leads_to_a_crown_test(tmp_path: Path) -> None:
    campaign = make(tmp_path, search=Search(SPACE, wave=4, rungs=(1, 9), eta=100))
    while not campaign.history.screened():
        story.step(campaign)
        time.sleep(0.02)
    (entry, *_), *_ = campaign.history.screened().values()
    wish = campaign.layout.promotions / "1.json"
    wish.write_text(f'{{"experiment": "{entry.experiment.id}"}}', encoding="utf-8")
    history = play(campaign)
    assert history.crowns[0].challenger == entry.experiment.candidate
    assert not wish.exists()


def test_a_planner_that_keeps_failing_ends_the_search_and_says_why(tmp_path: Path) -> None:
    campaign = make(tmp_path, planner=Planner("random", {"nonsense": 1}))
    history = play(campaign)
    assert "nonsense" in history.ended
    assert history.baseline == history.champion


class Killed(Exception):  # noqa: N818 - it stands for SIGKILL
    """The controller stops existing here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("appends", range(1, 37, 3))
def test_killed_at_any_journal_write_the_next_controller_finishes(
    tmp_path: Path, appends: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = make(tmp_path, budget=Spending(experiments=30))
    left = appends
    whole = type(campaign.record).append

    def fragile(self: object, *events: Json) -> None:
        nonlocal left
        left -= 1
        if left < 0 or (left == 0 and not after):
            raise Killed
        whole(self, *events)  # type: ignore[arg-type]
        if left == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(campaign.record), "append", fragile)
        with pytest.raises(Killed):
            play(campaign)
    again = make(tmp_path, budget=Spending(experiments=30))
    history = play(again)
    for planning in campaign.desk.at_work.values():  # which the next controller has waited for
        planning.kill()
    assert len(history.entries) <= 30
    assert all(entry.state is State.finished for entry in history.entries.values())
    assert all(entry.attempt == 1 for entry in history.entries.values())
    again_history = History.of(replay(again.layout.journal).events)
    assert again_history.entries == history.entries
    on_disk = {path.name for path in again.layout.experiments.iterdir()}
    assert on_disk == set(history.entries)


def test_a_taken_over_controller_stops_without_writing(tmp_path: Path) -> None:
    old = make(tmp_path)
    story.step(old)
    events = len(replay(old.layout.journal).events)
    new = open_desk(tmp_path)
    old.lease.renewed = -1e9  # it has slept
    old.cluster.look = None  # type: ignore[method-assign, assignment]
    lease = old.layout.lease.read_bytes()
    with pytest.raises(TakenOver, match="took over"):
        story.step(old)  # without a look: it would end pilots that it does not know
    assert len(replay(old.layout.journal).events) == events + 1
    assert old.layout.lease.read_bytes() == lease
    new.record.journal.close()


def visit(root: Path, **changes: object) -> Campaign:
    """A controller that looks in and leaves."""
    campaign = make(root, **changes)
    story.visit(campaign)
    campaign.record.journal.close()
    campaign.lease.release()
    return campaign


def test_visits_alone_bring_a_campaign_to_its_end(tmp_path: Path) -> None:
    visits = [visit(tmp_path)]
    while not visits[-1].history.ended:
        assert len(visits) < 100
        visits.append(visit(tmp_path))
    history = visits[-1].history
    assert history.certifications
    assert all(entry.attempt == 1 for entry in history.entries.values())
    assert not any(campaign.desk.at_work for campaign in visits)


@pytest.mark.parametrize("text", ["", "garbage", "[1]"])
def test_any_request_to_stop_is_one(tmp_path: Path, text: str) -> None:
    campaign = make(tmp_path)
    story.step(campaign)
    campaign.layout.stop.write_text(text, encoding="utf-8")
    assert play(campaign).ended == "stopped by request"


def test_nothing_begins_once_the_budget_is_spent(tmp_path: Path) -> None:
    campaign = make(tmp_path, budget=Spending(wall_hours=1e-9, experiments=40))
    story.step(campaign)
    assert campaign.stopping.startswith("wall-clock budget")
    assert campaign.layout.drain.exists()
    assert not campaign.history.pilots


def test_a_drain_that_nobody_wants_any_more_is_taken_away(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    campaign.layout.drain.touch()
    story.step(campaign)
    assert not campaign.layout.drain.exists()


def test_a_request_to_stop_outlives_the_controller_that_heard_it(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    story.step(campaign)
    campaign.cluster.desk = None  # type: ignore[attr-defined]
    campaign.layout.stop.write_text('{"now": false}', encoding="utf-8")
    story.step(campaign)
    assert campaign.stopping
    assert not campaign.history.ended
    campaign.record.journal.close()
    campaign.lease.release()
    assert visit(tmp_path).history.ended == "stopped by request"


def test_a_long_rest_ends_when_somebody_asks_for_it(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    slow = replace(campaign.settings.cluster, poll_seconds=600.0)
    campaign.settings = replace(campaign.settings, cluster=slow)
    campaign.layout.stop.write_text('{"now": false}', encoding="utf-8")
    began = time.monotonic()
    story.rest(campaign)
    assert time.monotonic() - began < 60


def test_what_an_earlier_controller_was_let_know_does_not_stay(tmp_path: Path) -> None:
    campaign = make(tmp_path)
    campaign.layout.notices.write_text('{"schema": 1, "notices": ["2 wait"]}', encoding="utf-8")
    story.step(campaign)
    assert json.loads(campaign.layout.notices.read_text(encoding="utf-8"))["notices"] == []
