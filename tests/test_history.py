"""All state is a replay of the journal: the same events give the same history, always."""

import pytest
from test_judge import by_width, equal
from worlds import BASELINE, World

from autoresearch.entry import Purpose, brief, from_brief
from autoresearch.errors import RecordError
from autoresearch.experiment import Candidate, Failure, Result, Seconds, State
from autoresearch.history import History


def played() -> World:
    world = World(by_width)
    world.propose({"width": 3}, {"width": 4}, {"width": 5})
    world.finish()
    return world


def test_a_replay_gives_the_same_history() -> None:
    world = played()
    again = History.of(world.events)
    assert again.entries == world.history.entries
    assert again.crowns == world.history.crowns
    assert again.champion == world.history.champion
    assert again.certifications == world.history.certifications


def test_every_prefix_of_the_events_is_a_valid_state() -> None:
    events = played().events
    for length in range(len(events) + 1):
        history = History.of(events[:length])
        for entry in history.entries.values():
            assert (entry.state is State.finished) == (entry.result is not None)
            assert (entry.experiment.id in history.active) == (entry.result is None)


def test_a_crowned_champion_keeps_the_scores_it_had_before_it_was_baked() -> None:
    world = played()
    champion = world.history.champion
    assert champion.program != BASELINE
    (test,) = [t for t in world.history.crowns if t.crowned]
    before = world.history.scores(test.challenger, "screen")
    assert before.items() <= world.history.scores(champion, "screen").items()


def test_a_result_is_taken_in_once() -> None:
    world = World(equal)
    world.settle()
    again = next(event for event in world.events if event["type"] == "finished")
    with pytest.raises(RecordError, match="should be the current one"):
        world.record(again)


def test_a_lost_attempt_sends_the_experiment_back_and_its_late_result_is_refused() -> None:
    world = World(equal)
    world.settle()
    events = [e for e in world.events if e["type"] in ("started", "proposed", "queued")][:3]
    history = History.of(events)
    (entry,) = history.entries.values()
    where = {"experiment": entry.experiment.id, "attempt": 1}
    numbered = {"n": 9, "t": 0.0}
    history.apply({**numbered, "type": "running", **where, "pilot": "p1"})
    history.apply({**numbered, "type": "lost", **where, "failure": "node_failed", "reason": ""})
    assert entry.state is State.proposed
    assert history.retries == {"node_failed": 1}
    history.apply({**numbered, "type": "queued", "attempts": [[entry.experiment.id, 2]]})
    with pytest.raises(RecordError, match="attempt 1"):
        history.apply({**numbered, "type": "running", **where, "pilot": "p1"})


def test_an_event_of_a_newer_version_is_an_error_that_says_so() -> None:
    with pytest.raises(RecordError, match="newer version"):
        History.of([{"n": 1, "t": 0.0, "type": "transcended"}])


def test_an_experiment_whose_id_is_wrong_is_an_error() -> None:
    events = played().events
    proposed = next(event for event in events if event["type"] == "proposed")
    proposed["experiments"][0]["seed"] += 1
    with pytest.raises(RecordError, match="should have id"):
        History.of(events)


def test_what_the_journal_keeps_of_a_result_is_given_back() -> None:
    result = Result(
        "e", 2, "p", None, Failure.diverged, "loss is nan", Seconds(1, 2, 3, 4), steps=5, weights=6
    )
    assert from_brief("e", 2, brief(result)) == result


def test_purposes_have_distinct_priorities_crowns_first() -> None:
    priorities = [purpose.priority for purpose in Purpose]
    assert priorities == sorted(set(priorities))
    assert Purpose.crown.priority < Purpose.screen.priority


def test_planned_candidates_are_listed_in_order_of_proposal() -> None:
    world = World(equal)
    world.propose({"width": 9}, {"width": 2})
    world.propose({"width": 5})
    widths = [g[0].experiment.candidate.overrides for g in world.history.screened().values()]
    assert widths == [{"width": 9}, {"width": 2}, {"width": 5}]
    assert [len(ids) for _, ids in world.history.waves] == [1, 1]


def test_pilots_count_until_they_are_seen_to_be_gone() -> None:
    world = World(equal)
    world.record({"type": "submitting", "tier": "screen", "pilots": ["a", "b"]})
    world.record({"type": "submitted", "jobs": {"a": {"id": "1"}, "b": {"id": "2"}}})
    for name in ("a", "b"):
        where = {"started": world.time, "node": "n1"}
        world.record({"type": "pilot_started", "pilot": name, **where})
    assert world.history.pilot_hours(world.time) == pytest.approx(3 / 3600)  # two and one second
    end = {"ended": world.time + 8, "failure": None, "reason": "went home"}
    world.record({"type": "pilot_ended", "pilot": "a", **end})
    assert [pilot.name for pilot in world.history.live_pilots("screen")] == ["b"]
    assert world.history.pilot_hours(world.time + 3600) * 3600 == pytest.approx(3613, abs=5)


def test_a_pilot_is_charged_for_its_device_and_not_for_its_wait() -> None:
    world = World(equal)
    world.record({"type": "submitting", "tier": "screen", "pilots": ["a", "b"]})
    assert world.history.pilot_hours(world.time + 7200) == 0
    where = {"started": world.time + 7200, "node": "n1"}
    world.record({"type": "pilot_started", "pilot": "a", **where})
    assert world.history.pilot_hours(world.time + 7200 + 1800) == pytest.approx(0.5, abs=0.01)
    end = {"failure": "cancelled", "reason": "was not accepted"}
    world.record({"type": "pilot_ended", "pilot": "b", **end})
    assert world.history.pilots["b"].hours(world.time + 1e6) == 0


def test_a_record_of_the_first_schema_charges_from_when_a_pilot_was_asked_for() -> None:
    world = World(equal)
    world.record({"type": "segment", "schema": 1})
    world.record({"type": "submitting", "tier": "screen", "pilots": ["a"]})
    world.record({"type": "submitted", "jobs": {"a": {"id": "1"}}})
    world.record({"type": "pilot_ended", "pilot": "a"})
    assert world.history.pilot_hours(world.time) == pytest.approx(1 / 3600)
    assert world.history.pilots["a"].failure is Failure.node_failed


def test_nodes_are_bad_by_what_they_failed_to_do_not_by_what_others_did_to_them() -> None:
    world = World(equal)
    world.record({"type": "submitting", "tier": "screen", "pilots": ["a", "b", "c", "d"]})
    for name, node in zip("abcd", ("n1", "n1", "n2", "n2"), strict=True):
        world.record({"type": "pilot_started", "pilot": name, "started": 1.0, "node": node})
    ends = {"a": "node_failed", "b": "node_failed", "c": "preempted", "d": None}
    for name, failure in ends.items():
        end = {"ended": 2.0, "failure": failure, "reason": ""}
        world.record({"type": "pilot_ended", "pilot": name, **end})
    assert world.history.bad_nodes(2) == ["n1"]
    assert world.history.bad_nodes(3) == []
    assert world.history.bad_nodes(0) == []
    assert [pilot.name for pilot in world.history.useless_pilots("screen")] == ["b", "a"]


def test_resuming_opens_the_search_again() -> None:
    world = played()
    world.record({"type": "ended", "reason": "budget"})
    world.record({"type": "resumed"})
    assert not world.history.ended
    assert not world.history.search_ended


def test_a_candidate_is_identified_by_program_and_overrides() -> None:
    assert Candidate("p", {"a": 1, "b": 2}).key == Candidate("p", {"b": 2, "a": 1}).key
    assert Candidate("p", {"a": 1}).key != Candidate("p", {"a": 1.5}).key
