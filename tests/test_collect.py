"""Promise 1 again: every experiment is finished, running or waiting, whatever dies."""

import json
import shutil
from pathlib import Path

import pytest
from desks import Desk, open_desk

from autoresearch.collect import ATTEMPTS, collect, read_result
from autoresearch.dispatch import enqueue
from autoresearch.experiment import Attempt, Failure, State


def look(desk: Desk) -> int:
    return collect(desk.record, desk.layout, desk.pilots)


def hire(desk: Desk, *names: str) -> None:
    desk.record.append({"type": "submitting", "tier": "screen", "pilots": list(names)})
    desk.record.append({"type": "submitted", "jobs": desk.pilots.submit("screen", names)})


def test_an_experiment_waits_then_runs_then_is_finished(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    (id,) = desk.ask(1)
    entry = desk.history.entries[id]
    states = [(look(desk), entry.state)]
    attempt = desk.claim(id, "p")
    states.append((look(desk), entry.state))
    assert entry.pilot == "p"
    desk.answer(attempt, 1.5)
    states.append((look(desk), entry.state))
    assert states == [(0, State.queued), (0, State.running), (1, State.finished)]
    assert entry.bpb == 1.5
    assert look(desk) == 0


def test_an_attempt_whose_pilot_died_is_made_again(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p", "q")
    (id,) = desk.ask(1)
    desk.claim(id, "p")
    look(desk)
    desk.pilots.dead = {"p"}
    look(desk)
    entry = desk.history.entries[id]
    assert entry.state is State.proposed
    assert [p.name for p in desk.history.live_pilots("screen")] == ["q"]
    enqueue(desk.record, desk.layout, desk.sources)
    desk.answer(desk.claim(id, "q", number=2), 1.25)
    look(desk)
    assert entry.bpb == 1.25
    assert entry.result is not None
    assert entry.result.attempt == 2


def test_a_result_written_just_before_the_pilot_died_counts(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    (id,) = desk.ask(1)
    desk.answer(desk.claim(id, "p"), 1.5)
    desk.pilots.dead = {"p"}
    assert look(desk) == 1
    assert desk.history.entries[id].bpb == 1.5


def test_attempts_are_bounded_and_the_last_failure_stays(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    for number in range(1, ATTEMPTS[Failure.node_failed] + 1):
        hire(desk, f"p{number}")
        desk.claim(id, f"p{number}", number)
        desk.pilots.dead.add(f"p{number}")
        look(desk)
        enqueue(desk.record, desk.layout, desk.sources)
    entry = desk.history.entries[id]
    assert entry.state is State.finished
    assert entry.result is not None
    assert entry.result.failure is Failure.node_failed
    assert not list(desk.layout.queued("screen"))


@pytest.mark.parametrize("failure", [Failure.preempted, Failure.node_failed])
def test_a_failure_of_the_machine_is_not_the_candidates(tmp_path: Path, failure: Failure) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    desk.answer(desk.claim(id, "p"), None, failure)
    assert look(desk) == 0
    assert desk.history.entries[id].state is State.proposed
    assert desk.history.retries == {failure: 1}


@pytest.mark.parametrize("failure", [f for f in Failure if not f.is_infrastructure])
def test_a_failure_of_the_candidate_is_final(tmp_path: Path, failure: Failure) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    desk.answer(desk.claim(id, "p"), None, failure)
    assert look(desk) == 1
    assert desk.history.entries[id].has_failed


def test_an_experiment_that_fell_out_of_line_is_put_back(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1, 2)
    for path, _ in list(desk.layout.queued("screen")):
        path.unlink()
    look(desk)
    assert len(list(desk.layout.queued("screen"))) == 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"schema": 99}', '{"schema": 1}', "[" * 100_000])
def test_an_unreadable_result_is_a_failure_of_the_node(tmp_path: Path, text: str) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    attempt = desk.claim(id, "p")
    desk.layout.result(attempt).write_text(text, encoding="utf-8")
    look(desk)
    assert desk.history.retries == {"node_failed": 1}


@pytest.mark.parametrize("bpb", ["x", True, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_a_failure_of_the_node(tmp_path: Path, bpb: object) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    attempt = desk.claim(id, "p")
    desk.answer(attempt, 1.5)
    path = desk.layout.result(attempt)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bpb": bpb}), encoding="utf-8")
    result = read_result(desk.layout, attempt)
    assert result is not None
    assert result.failure is Failure.node_failed


@pytest.mark.parametrize("damage", ["experiment gone", "claim empty", "claim of no pilot"])
def test_what_nobody_can_run_any_more_is_made_again(tmp_path: Path, damage: str) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "q")
    (id,) = desk.ask(1)
    claim = desk.layout.claim(desk.claim(id, "p"))
    if damage == "experiment gone":
        shutil.rmtree(desk.layout.experiment(id))
    else:
        claim.write_text("" if damage == "claim empty" else "[]", encoding="utf-8")
    look(desk)
    enqueue(desk.record, desk.layout, desk.sources)
    desk.answer(desk.claim(id, "q", number=2), 1.25)
    look(desk)
    assert desk.history.entries[id].bpb == 1.25


@pytest.mark.parametrize("damage", ["a folder", "bytes", "a number", "attempt is a file"])
def test_a_claim_that_cannot_be_read_is_a_lost_attempt(tmp_path: Path, damage: str) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    claim = desk.layout.claim(desk.claim(id, "p"))
    claim.unlink()
    if damage == "attempt is a file":
        claim.parent.rmdir()
        claim.parent.touch()
    elif damage == "a folder":
        claim.mkdir()
    else:
        claim.write_bytes(b"\xff" if damage == "bytes" else b'{"pilot": 3}')
    look(desk)
    assert desk.history.retries == {"node_failed": 1}


def test_a_result_of_another_experiment_is_refused(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    first, second = desk.ask(1, 2)
    attempt = desk.claim(first, "p")
    desk.answer(attempt, 1.0)
    other = desk.claim(second, "p")
    desk.layout.result(other).write_bytes(desk.layout.result(attempt).read_bytes())
    result = read_result(desk.layout, Attempt(second, 1))
    assert result is not None
    assert result.failure is Failure.node_failed
    assert "speaks of" in result.reason


def test_what_an_old_attempt_still_writes_is_ignored(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    (id,) = desk.ask(1)
    old = desk.claim(id, "p")
    look(desk)
    desk.pilots.dead = {"p"}
    look(desk)
    enqueue(desk.record, desk.layout, desk.sources)
    desk.answer(old, 0.1)  # too late: another attempt is in line
    look(desk)
    assert desk.history.entries[id].state is State.queued
    desk.answer(desk.claim(id, "q", number=2), 2.5)
    look(desk)
    assert desk.history.entries[id].bpb == 2.5


def test_a_new_controller_sees_the_same(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    first, second, third = desk.ask(1, 2, 3)
    desk.answer(desk.claim(first, "p"), 1.5)
    look(desk)
    desk.answer(desk.claim(second, "p"), 1.75)  # while no controller is there
    again = open_desk(tmp_path)
    look(again)
    states = [again.history.entries[id].state for id in (first, second, third)]
    assert states == [State.finished, State.finished, State.queued]


def test_untrusted_reasons_are_made_fit_to_show(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    attempt = desk.claim(id, "p")
    text = json.dumps({"schema": "\x1b[31m" + "x" * 5000})
    desk.layout.result(attempt).write_text(text, encoding="utf-8")
    result = read_result(desk.layout, attempt)
    assert result is not None
    assert len(result.reason) < 400
    assert "\x1b" not in result.reason


def test_a_pilot_that_no_record_knows_is_watched_all_the_same(tmp_path: Path) -> None:
    """Asked for by a controller that was superseded: what it holds is not lost with it."""
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    desk.claim(id, "stranger")
    look(desk)
    assert desk.history.entries[id].state is State.running
    desk.pilots.dead = {"stranger"}
    look(desk)
    assert desk.history.retries == {"node_failed": 1}
    assert not desk.history.pilots


def test_a_pilot_that_said_goodbye_is_gone_whatever_the_cluster_says(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    own = {"pilot": "p", "started": 5.0, "ended": 9.0, "claimed": 0}  # its clock is years behind
    desk.layout.pilot("p").write_text(json.dumps(own), encoding="utf-8")
    look(desk)
    pilot = desk.history.pilots["p"]
    assert pilot.failure is None
    assert pilot.hours(0.0) * 3600 == pytest.approx(4.0)
    assert not desk.history.useless_pilots("screen")


ODD: list[object] = ["x", None, True, [], {}, -1.0, 0.0, 1e300, float("nan"), float("inf"), 7]


@pytest.mark.parametrize("key", ["started", "ended"])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_goodbye_is_none(tmp_path: Path, key: str, odd: object) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    own = {"pilot": "p", "started": 5.0, "ended": 9.0, key: odd}
    desk.layout.pilot("p").write_text(json.dumps(own), encoding="utf-8")
    look(desk)
    assert desk.history.live_pilots()


def test_what_a_dead_pilot_wrote_is_waited_for_where_files_take_their_time(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    hire(desk, "p")
    (id,) = desk.ask(1)
    attempt = desk.claim(id, "p")
    look(desk)
    desk.pilots.lag = 60.0
    desk.pilots.dead = {"p"}
    look(desk)
    look(desk)
    assert desk.history.pilots["p"].ended is None, "its goodbye may be on its way"
    assert desk.history.entries[id].state is State.running, "it may have left a result"
    desk.answer(attempt, 1.5)
    look(desk)
    assert desk.history.entries[id].bpb == 1.5


@pytest.mark.parametrize(("end", "attempts"), [(Failure.preempted, 20), (Failure.node_failed, 3)])
def test_whoever_is_preempted_may_try_more_often(
    tmp_path: Path, end: Failure, attempts: int
) -> None:
    desk = open_desk(tmp_path)
    desk.pilots.end = end
    (id,) = desk.ask(1)
    entry = desk.history.entries[id]
    while entry.state is not State.finished:
        pilot = f"p{entry.attempt}"
        hire(desk, pilot)
        desk.claim(id, pilot, entry.attempt)
        desk.pilots.dead.add(pilot)
        look(desk)
        enqueue(desk.record, desk.layout, desk.sources)
    assert entry.attempt == attempts
