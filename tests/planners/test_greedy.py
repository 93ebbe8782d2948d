"""The sequential loop: keep what is strictly better, step from there, one thing at a time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure
from autoresearch.planners.greedy import Settings, incumbent, moved, moves, propose, statuses
from autoresearch.planners.points import Point
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.space import Choice, Interval, Space

SPACE: Space = {
    "lr": Interval(0.0001, 1.0, log=True),
    "depth": Interval(2, 10, integer=True),
    "pattern": Choice(("S", "L", "SL")),
}
START: Point = {"lr": 0.01, "depth": 6, "pattern": "L"}


def scored(value: float, **changes: float | str) -> Trial:
    return Trial({**START, **changes}, Outcome.finished, value)


def crashed(**changes: float | str) -> Trial:
    return Trial({**START, **changes}, Outcome.failed, failure=Failure.crashed)


def request(*trials: Trial, wave: int = 1, space: Space = SPACE, seed: int = 1) -> Request:
    start = {name: START[name] for name in space}
    return Request("greedy", seed, wave, 8, space, start, trials)


def changed(base: Point, request: Request) -> list[str]:
    (proposal,) = propose(request, Settings()).proposals
    return [name for name in base if proposal.overrides[name] != base[name]]


def test_statuses_are_the_seeds() -> None:
    pending = Trial(START, Outcome.pending)
    trials = [scored(2.0), scored(2.0), crashed(), scored(1.9), scored(1.95), pending, scored(1.8)]
    assert statuses(trials) == [
        "keep",
        "discard",
        "crash",
        "keep",
        "discard",
        "pending",
        "keep",
    ]


@given(st.lists(st.one_of(st.none(), st.floats(0.1, 9)), max_size=30))
def test_kept_values_fall_and_end_at_the_minimum(values: list[float | None]) -> None:
    trials = [crashed() if value is None else scored(value) for value in values]
    kept = [
        t.value for t, s in zip(trials, statuses(trials), strict=True) if s == "keep" and t.value
    ]
    assert kept == sorted(set(kept), reverse=True)
    assert kept[-1:] == ([min(v for v in values if v is not None)] if kept else [])


def test_the_incumbent_is_the_trial_kept_last() -> None:
    assert incumbent(request(scored(2.0), scored(1.5, depth=8), scored(1.7))).value == 1.5
    assert incumbent(request(crashed())).parameters == START
    assert incumbent(request()).parameters == START


def test_one_thing_moves_from_the_incumbent() -> None:
    better = scored(1.5, depth=8)
    for wave in range(1, 30):
        assert len(changed(better.parameters, request(scored(2.0), better, wave=wave))) == 1


def test_parameters_take_turns() -> None:
    turns = [changed(START, request(scored(2.0), wave=wave))[0] for wave in range(1, 7)]
    assert turns[:3] == turns[3:]
    assert sorted(turns[:3]) == sorted(SPACE)


def test_nothing_is_proposed_while_a_result_is_pending() -> None:
    wave = propose(request(scored(2.0), Trial({**START, "depth": 8}, Outcome.pending)), Settings())
    assert wave.proposals == ()
    assert not wave.exhausted


def test_a_hypothesis_says_what_moves_and_what_it_must_beat() -> None:
    space: Space = {"depth": Interval(2, 10, integer=True)}
    first = Trial({"depth": 6}, Outcome.finished, 1.23456)
    wave = propose(request(first, space=space), Settings())
    assert wave.hypothesis in ("depth 6 → 8 beats 1.2346", "depth 6 → 4 beats 1.2346")
    assert wave.hypothesis.startswith(wave.proposals[0].description)


def descend(first: Request, value: dict[str, float]) -> list[Trial]:
    """Runs the loop to its end on a separable loss: the sum of each parameter's rank."""
    trials = [Trial(first.defaults, Outcome.finished, 99.0)]
    for wave in range(1, 500):
        answer = propose(replace(first, trials=tuple(trials), wave=wave), Settings())
        if answer.exhausted:
            return trials
        (proposal,) = answer.proposals
        loss = sum(value[str(v)] for v in proposal.overrides.values())
        trials.append(Trial(proposal.overrides, Outcome.finished, loss))
    raise AssertionError("the loop should end in a finite space")


@pytest.mark.parametrize("seed", range(5))
def test_it_descends_to_the_minimum_and_then_all_neighbours_are_tried(seed: int) -> None:
    space: Space = {"depth": Interval(2, 10, integer=True), "pattern": SPACE["pattern"]}
    value = {str(depth): abs(depth - 3.2) for depth in range(2, 11)} | {"S": 2, "L": 3, "SL": 1}
    trials = descend(request(space=space, seed=seed), value)
    tried = [(trial.parameters["depth"], trial.parameters["pattern"]) for trial in trials]
    best = min(trials, key=lambda trial: trial.value or 0.0)
    assert best.parameters == {"depth": 3, "pattern": "SL"}
    assert {(2, "SL"), (4, "SL"), (3, "L"), (3, "S")} <= set(tried)


def test_steps_are_taken_on_the_domains_own_scale() -> None:
    lr = Interval(0.0001, 1.0, log=True)
    assert moved(lr, 0.01, 0.25) == pytest.approx(0.1)
    assert moved(lr, 0.01, -0.25) == pytest.approx(0.001)
    assert moved(Interval(0.0, 1.0), 0.5, 0.1) == pytest.approx(0.6)
    depth = Interval(2, 10, integer=True)
    assert moved(depth, 6, 0.0001) == 7  # never less than one whole number
    assert moved(depth, 6, -0.0001) == 5


def test_chosen_numbers_move_to_the_next_one_and_words_to_any() -> None:
    assert moves(Choice((2, 4, 8, 16)), 4, 0.25) == [2, 8]
    assert moves(Choice(("S", "L", "SL")), "S", 0.25) == ["L", "SL"]
    assert moves(Choice((False, True)), True, 0.25) == [False]


def test_at_the_end_of_a_domain_there_is_one_way_to_go() -> None:
    assert moves(Interval(0.0, 1.0), 1.0, 0.25) == [0.75]
    assert len(moves(Interval(2, 10, integer=True), 10, 0.25)) == 1
    assert moves(Choice((2, 4, 8)), 8, 0.25) == [4]


def test_from_outside_the_domain_every_step_leads_inside() -> None:
    for domain, outside in (
        (Interval(0.1, 1.0, log=True), -3.0),
        (Interval(2, 10, integer=True), 40),
        (Interval(2, 10, integer=True), "deep"),
        (Choice((2, 4, 8)), 5),
        (Choice(("S", "L")), "SSSL"),
    ):
        found = moves(domain, outside, 0.25)
        assert len(found) >= 2
        assert all(domain.contains(value) for value in found)


def test_once_the_wide_steps_are_tried_they_are_halved() -> None:
    space: Space = {"lr": Interval(0.0, 1.0)}
    trials = [Trial({"lr": 0.5}, Outcome.finished, 1.0)]
    first = Request("greedy", 1, 1, 1, space, {"lr": 0.5}, tuple(trials))
    widths = []
    for wave in range(1, 7):
        (proposal,) = propose(replace(first, trials=tuple(trials), wave=wave), Settings()).proposals
        trials.append(Trial(proposal.overrides, Outcome.finished, 2.0))
        widths.append(abs(float(proposal.overrides["lr"]) - 0.5))
    assert widths == [0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]


@pytest.mark.parametrize("step", [0.0, -0.1, 1.5])
def test_a_step_outside_its_range_is_refused(step: float) -> None:
    with pytest.raises(ConfigError, match="step should lie above 0 and up to 1"):
        Settings(step=step)
