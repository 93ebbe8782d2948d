"""Asking for experiments, freezing them, lining them up, and hiring pilots: all repeatable."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from desks import PROGRAM, Desk, open_desk

from autoresearch import dispatch, judge
from autoresearch.cluster.interface import Refused
from autoresearch.entry import Purpose
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate, Experiment, Failure, Proposal, State, Wave
from autoresearch.layout import Layout
from autoresearch.settings import Cluster, Settings, Tier


def allowing(desk: Desk, pilots: int) -> Settings:
    cluster = Cluster("local", {"screen": Tier("cpu-1", pilots=pilots)})
    return replace(desk.settings, cluster=cluster)


def test_an_experiment_is_frozen_with_its_program_and_queued(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    record = json.loads(desk.layout.experiment_json(id).read_text(encoding="utf-8"))
    experiment = Experiment.from_json(record)
    assert experiment == desk.history.entries[id].experiment
    text = desk.layout.program(id).read_bytes()
    assert text.decode() == PROGRAM
    assert hashlib.sha256(text).hexdigest() == experiment.candidate.program
    assert [attempt.experiment for _, attempt in desk.layout.queued("screen")] == [id]
    assert desk.history.entries[id].state is State.queued


def test_asking_twice_is_a_no_op(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    assert len(desk.ask(1, 2)) == 2
    assert desk.ask(2, 1) == []
    assert len(list(desk.layout.queued("screen"))) == 2


def test_a_wave_is_on_record_even_if_it_proposes_nothing_new(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1)
    wave = Wave("random", "again", (Proposal({}),))
    request = judge.Request(desk.history.baseline, 1, "screen", Purpose.screen)
    assert dispatch.propose(desk.record, [request], wave) == 0
    assert desk.history.waves == [(wave, ())]


def test_crowns_stand_before_screening_in_line(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (screen,) = desk.ask(1)
    (crown,) = desk.ask(2, purpose=Purpose.crown)
    assert [a.experiment for _, a in desk.layout.queued("screen")] == [crown, screen]


@pytest.mark.parametrize("lost", ["queue entry", "nothing"])
def test_a_new_controller_goes_on_where_the_old_one_fell(tmp_path: Path, lost: str) -> None:
    desk = open_desk(tmp_path)
    wanted = [judge.Request(desk.history.baseline, s, "screen", Purpose.screen) for s in (1, 2)]
    dispatch.propose(desk.record, wanted)  # killed here: on record, not frozen
    if lost == "queue entry":
        id = next(iter(desk.history.entries))
        (desk.layout.experiments / f".{id}.1").mkdir()  # half a freeze is left behind
    again = open_desk(tmp_path)
    dispatch.enqueue(again.record, again.layout, again.sources)
    assert len(list(again.layout.queued("screen"))) == 2
    assert all(entry.state is State.queued for entry in again.history.entries.values())


def test_there_are_as_many_pilots_as_work_and_never_more_than_the_tier_allows(
    tmp_path: Path,
) -> None:
    desk = open_desk(tmp_path)
    settings = allowing(desk, 2)
    dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
    assert not desk.pilots.submitted
    desk.ask(1)
    dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
    assert len(desk.pilots.submitted) == 1
    desk.ask(2, 3, 4)
    dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
    dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
    assert len(desk.pilots.submitted) == 2
    assert set(desk.pilots.submitted) == set(desk.history.pilots)


def test_pilots_are_on_record_before_they_are_submitted(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1)

    class Refusing(type(desk.pilots)):  # type: ignore[misc]
        def submit(self, tier: str, names: list[str], *_: object) -> dict[str, object]:
            assert set(names) <= set(desk.history.pilots)
            raise CampaignError("no")

    broken = Refusing()
    with pytest.raises(CampaignError):
        dispatch.hire(desk.record, desk.layout, broken, desk.settings, tier="screen", count=1)
    assert len(desk.history.live_pilots("screen")) == 1


def test_pilots_that_take_nothing_are_not_replaced_for_ever(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1, 2)
    settings = allowing(desk, 2)
    for _ in range(dispatch.USELESS // 2):
        dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
        for pilot in desk.history.live_pilots():
            desk.record.append({"type": "pilot_ended", "pilot": pilot.name})
    with pytest.raises(CampaignError, match=r"see why in .*/pilots/screen-"):
        dispatch.staff(desk.record, desk.layout, desk.pilots, settings)
    assert len(desk.history.pilots) == dispatch.USELESS
    again = open_desk(tmp_path)
    with pytest.raises(CampaignError):
        dispatch.staff(again.record, again.layout, again.pilots, settings)
    again.history.forgive()  # somebody has seen why, and resumes
    dispatch.staff(again.record, again.layout, again.pilots, settings)
    assert len(again.history.live_pilots()) == 2


def test_an_unwritable_directory_is_one_line(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    shutil.rmtree(desk.layout.experiments)
    desk.layout.experiments.write_text("in the way", encoding="utf-8")
    with pytest.raises(CampaignError, match="should take another experiment"):
        desk.ask(1)
    with pytest.raises(CampaignError, match="should be a directory we can write"):
        dispatch.settled(Layout(Path("/proc/nowhere")), ["screen"])


def test_freezing_again_changes_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    before = desk.layout.experiment_json(id).stat().st_mtime_ns
    dispatch.freeze(desk.layout, desk.sources, desk.history.entries[id].experiment)
    assert desk.layout.experiment_json(id).stat().st_mtime_ns == before


def test_another_budget_is_another_experiment(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    experiment = Experiment(Candidate("p"), 1, desk.history.tiers["screen"])
    cell = replace(experiment.cell, device="h100")
    assert replace(experiment, cell=cell).id != experiment.id
    assert replace(experiment, seed=2).id != experiment.id


def test_what_the_cluster_refuses_now_is_asked_for_again_later(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1)

    class Full(type(desk.pilots)):  # type: ignore[misc]
        def submit(self, *_: object) -> dict[str, object]:
            raise Refused("AssocMaxSubmitJobLimit")

    dispatch.staff(desk.record, desk.layout, Full(), desk.settings)
    (pilot,) = desk.history.pilots.values()
    assert (pilot.failure, pilot.reason) == (Failure.cancelled, "AssocMaxSubmitJobLimit")
    assert not desk.history.live_pilots()
    assert not desk.history.useless_pilots("screen")
    assert desk.history.pilot_hours(1e12) == 0
    dispatch.staff(desk.record, desk.layout, desk.pilots, desk.settings)
    assert len(desk.history.live_pilots()) == 1


def test_a_cluster_without_room_is_asked_for_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1, 2, 3)
    desk.pilots.room = 0
    dispatch.staff(desk.record, desk.layout, desk.pilots, allowing(desk, 3))
    assert not desk.history.pilots
    desk.pilots.room = 1
    dispatch.staff(desk.record, desk.layout, desk.pilots, allowing(desk, 3))
    assert len(desk.history.pilots) == 1


def test_a_node_that_keeps_failing_is_avoided(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1)
    for name in ("a", "b", "c"):
        where = {"pilot": name, "started": 1.0, "node": "sick"}
        desk.record.append(
            {"type": "submitting", "tier": "screen", "pilots": [name]},
            {"type": "pilot_started", **where},
            {"type": "pilot_ended", "pilot": name, "ended": 2.0, "failure": "node_failed"},
        )
    dispatch.staff(desk.record, desk.layout, desk.pilots, desk.settings)
    assert desk.pilots.avoided == {"sick"}


def test_the_tier_with_the_most_urgent_work_gets_the_room_there_is(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    cell = desk.history.tiers["screen"]
    desk.history.tiers["validate"] = replace(cell, device="cpu-2")
    desk.layout.queue("validate").mkdir()
    desk.ask(1, 2)
    champion = desk.history.baseline
    dispatch.propose(desk.record, [judge.Request(champion, 9, "validate", Purpose.crown)])
    asked: list[str] = []

    class Narrow(type(desk.pilots)):  # type: ignore[misc]
        def batches(self, tier: str, count: int) -> list[int]:
            asked.append(tier)
            return []

    tiers = {"screen": Tier("cpu-1", pilots=2), "validate": Tier("cpu-2", pilots=2)}
    settings = replace(desk.settings, cluster=Cluster("local", tiers))
    dispatch.staff(desk.record, desk.layout, Narrow(), settings)
    assert asked == ["validate", "screen"]


def test_after_a_refusal_nothing_more_is_asked_for(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(*range(6))
    asked: list[int] = []

    class Small(type(desk.pilots)):  # type: ignore[misc]
        def batches(self, tier: str, count: int) -> list[int]:
            return [1] * count

        def submit(self, tier: str, names: list[str], *_: object) -> dict[str, object]:
            asked.append(len(names))
            raise Refused("no")

    dispatch.staff(desk.record, desk.layout, Small(), allowing(desk, 6))
    assert asked == [1]
