"""Wishes of planners: left, found, queued ahead of everything, and answered by a result."""

import json
from pathlib import Path

from desks import PROGRAM, Desk, open_desk

from autoresearch import dispatch
from autoresearch.collect import collect
from autoresearch.entry import Purpose
from autoresearch.experiment import Attempt, Budget, State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.judge import Request
from autoresearch.layout import write_atomically
from autoresearch.program import bake, program_of
from autoresearch.smoke import Wish, experiment, length, outcome
from autoresearch.spending import counted

WIDE = bake(PROGRAM, {"width": 9})


def wish(desk: Desk) -> Wish:
    return Wish(program_of(WIDE), WIDE, (desk.history.baseline.program,), "wider", 20)


def queue(desk: Desk) -> str:
    """As the controller does it; the experiment's id."""
    wanted = wish(desk)
    desk.sources.add(wanted.text, wanted.message, wanted.parents, when=0.0)
    request = Request(wanted.candidate, 0, "screen", Purpose.smoke, budget=wanted.budget)
    dispatch.propose(desk.record, [request])
    dispatch.enqueue(desk.record, desk.layout, desk.sources)
    return experiment(desk.history, wanted.candidate, wanted.budget).id


def test_a_wish_is_found_as_it_was_left_and_once(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    assert list(Wish.found(tmp_path)) == []
    wish(desk).leave(tmp_path)
    wish(desk).leave(tmp_path)
    assert list(Wish.found(tmp_path)) == [wish(desk)]


def test_it_is_claimed_first_in_a_cell_of_its_own(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1, 2)
    id = queue(desk)
    entry = desk.history.entries[id]
    assert next(desk.layout.queued("screen"))[1].experiment == id
    assert entry.experiment.cell.budget == Budget(tokens=20)
    assert entry.experiment.cell.key != desk.history.tiers["screen"].key
    assert json.loads(desk.layout.experiment_json(id).read_text())["cell"]["budget"]["tokens"] == 20


def test_the_record_brings_it_back_as_it_was(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    id = queue(desk)
    again = History.of(replay(desk.layout.journal).events)
    assert again.entries[id] == desk.history.entries[id]


def test_its_score_counts_for_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    id = queue(desk)
    desk.answer(desk.claim(id, "p"), bpb=0.1)

    collect(desk.record, desk.layout, desk.pilots)
    entry = desk.history.entries[id]
    assert entry.state is State.finished
    assert list(desk.history.of_candidate(entry.experiment.candidate, "screen")) == []
    assert desk.history.screened() == {}
    assert desk.history.seconds_per_experiment("screen") == 0.0
    assert counted(desk.history) == 0


def test_the_outcome_is_that_of_the_last_attempt_with_a_result(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    id = queue(desk)
    wanted = desk.history.entries[id].experiment
    assert outcome(desk.layout, wanted) is None
    desk.claim(id, "p")
    assert outcome(desk.layout, wanted) is None
    desk.answer(Attempt(id, 1), bpb=3.0)
    found = outcome(desk.layout, wanted)
    assert found is not None
    assert (found[0].number, found[1].bpb) == (1, 3.0)
    for number in range(2, 11):
        desk.layout.attempt(Attempt(id, number)).mkdir()
    write_atomically(desk.layout.result(Attempt(id, 10)), "torn")
    found = outcome(desk.layout, wanted)
    assert found is not None
    assert found[0].number == 1


def test_its_length_is_a_share_of_an_experiments(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    assert length(desk.history, 0.02) == 20  # of a budget of 1,000 tokens
    assert length(desk.history, 1e-9) == 1
