"""What every planner in the table promises, whatever its strategy."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure, Scalar, Wave
from autoresearch.planners.points import Key, Point, key, levels
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.planners.table import PLANNERS, propose
from autoresearch.space import Choice, Domain, Interval, Space, names

MIXED: Space = {
    "matrix_lr": Interval(0.001, 0.1, log=True),
    "weight_decay": Interval(0.0, 0.3),
    "depth": Interval(2, 12, integer=True),
    "width": Interval(16, 1024, log=True, integer=True),
    "heads": Choice((2, 4, 6, 8)),
    "pattern": Choice(("SSSL", "L", "SL")),
    "tied": Choice((False, True)),
}
FINITE: Space = {
    "depth": Interval(2, 5, integer=True),
    "tied": Choice((False, True)),
    "pattern": Choice(("SSSL", "L", "SL")),
}
OPTIONS: list[tuple[str, dict[str, Scalar]]] = [
    ("bayes", {}),
    ("factorial", {"levels": 2}),
    ("factorial", {"design": "lhs", "points": 40}),
    ("greedy", {}),
    ("random", {}),
]
ASK_OTHERS = {"claude", "mixed", "external"}  # their contract is that of whom they ask
every = pytest.mark.parametrize(("planner", "options"), OPTIONS)


def middle(space: Space) -> Point:
    return {name: space[name].at(0.5) for name in names(space)}


def ask(planner: str, options: dict[str, Scalar], space: Space, **changes: object) -> Request:
    first = Trial(middle(space), Outcome.finished, value=2.0)
    request = Request(planner, 1, 1, 4, space, middle(space), (first,), options)
    return replace(request, **changes)  # type: ignore[arg-type]


def score(space: Space, point: Point) -> float:
    """A smooth deterministic objective on any space."""
    total = 1.0
    for name in names(space):
        domain, value = space[name], point[name]
        if isinstance(domain, Interval):
            total += (domain.share(float(value)) - 0.3) ** 2
        else:
            total += 0.1 * domain.values.index(value) if domain.contains(value) else 0.2
    return total


def concluded(space: Space, point: Point, wave: int, luck: float) -> Trial:
    """How a proposal went: scored, or failed in one of three ways for a tenth each."""
    failures = {0: Failure.out_of_memory, 1: Failure.crashed, 2: Failure.node_failed}
    failure = failures.get(int(luck * 10))
    if failure:
        return Trial(point, Outcome.failed, failure=failure, wave=wave)
    return Trial(point, Outcome.finished, score(space, point), wave=wave)


def campaign(request: Request, waves: int) -> tuple[list[Wave], Request]:
    """Asks wave after wave, each with half of the wave before it still pending."""
    answers = []
    for number in range(1, waves + 1):
        request = replace(request, wave=number)
        answers.append(propose(request))
        trials = [t for t in request.trials if t.state is not Outcome.pending]
        trials += [
            concluded(request.space, t.parameters, t.wave, math.sqrt(7 * number + i) % 1)
            for i, t in enumerate(request.trials)
            if t.state is Outcome.pending
        ]
        points = [proposal.overrides for proposal in answers[-1].proposals]
        half = len(points) // 2
        trials += [concluded(request.space, p, number, 0.9) for p in points[:half]]
        trials += [Trial(p, Outcome.pending, wave=number) for p in points[half:]]
        request = replace(request, trials=tuple(trials))
    return answers, request


def proposed(space: Space, waves: Sequence[Wave]) -> list[Key]:
    return [key(space, p.overrides) for wave in waves for p in wave.proposals]


def is_line(text: str) -> bool:
    return 0 < len(text) < 300 and "\n" not in text


@every
def test_proposals_are_full_points_of_the_space(planner: str, options: dict[str, Scalar]) -> None:
    waves, _ = campaign(ask(planner, options, MIXED), 8)
    assert sum(len(wave.proposals) for wave in waves) >= 4
    for wave in waves:
        assert wave.planner == planner
        assert len(wave.proposals) <= 4
        assert is_line(wave.hypothesis)
        for proposal in wave.proposals:
            assert set(proposal.overrides) == set(MIXED)
            assert all(MIXED[n].contains(v) for n, v in proposal.overrides.items())
            assert is_line(proposal.description)


@every
def test_nothing_is_proposed_twice(planner: str, options: dict[str, Scalar]) -> None:
    for space in (MIXED, FINITE):
        waves, _ = campaign(ask(planner, options, space), 8)
        found = [key(space, middle(space)), *proposed(space, waves)]
        assert len(found) == len(set(found))


@every
def test_the_incumbent_is_not_proposed_even_before_it_is_a_trial(
    planner: str, options: dict[str, Scalar]
) -> None:
    request = ask(planner, options, FINITE, trials=(), capacity=100)
    assert key(FINITE, middle(FINITE)) not in proposed(FINITE, [propose(request)])


@every
def test_the_same_request_gets_the_same_answer(planner: str, options: dict[str, Scalar]) -> None:
    _, request = campaign(ask(planner, options, MIXED), 5)
    before = json.dumps(request.to_json())
    assert propose(request) == propose(request)
    assert json.dumps(request.to_json()) == before


@every
def test_a_process_answers_as_a_call_does_and_prints_nothing_else(
    planner: str, options: dict[str, Scalar]
) -> None:
    _, request = campaign(ask(planner, options, MIXED), 5)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch.planners"],
        input=json.dumps(request.to_json()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert Wave.from_json(json.loads(done.stdout)) == propose(request)


@every
def test_a_call_is_silent(
    planner: str, options: dict[str, Scalar], capfd: pytest.CaptureFixture[str]
) -> None:
    campaign(ask(planner, options, MIXED), 5)
    assert capfd.readouterr() == ("", "")


@every
def test_exhausted_means_nothing_is_left(planner: str, options: dict[str, Scalar]) -> None:
    waves, request = campaign(ask(planner, options, FINITE), 60 if planner == "greedy" else 15)
    assert waves[-1].exhausted
    for wave in waves:
        assert not (wave.exhausted and wave.proposals)
    first = next(i for i, wave in enumerate(waves) if wave.exhausted)
    assert not any(wave.proposals for wave in waves[first:])
    if planner in ("bayes", "random"):
        size = math.prod(len(levels(domain) or ()) for domain in FINITE.values())
        assert len(request.tried) == size


@every
def test_a_search_in_which_everything_fails_goes_on(
    planner: str, options: dict[str, Scalar]
) -> None:
    request = ask(planner, options, MIXED, trials=())
    for number in range(1, 7):
        wave = propose(replace(request, wave=number))
        assert wave.proposals
        failed = [
            Trial(p.overrides, Outcome.failed, failure=Failure.out_of_memory, wave=number)
            for p in wave.proposals
        ]
        request = replace(request, trials=(*request.trials, *failed))


@every
def test_a_baseline_outside_the_space_is_no_obstacle(
    planner: str, options: dict[str, Scalar]
) -> None:
    outside: Point = {**middle(MIXED), "matrix_lr": 0.5, "pattern": "LLLL", "depth": 40}
    first = Trial(outside, Outcome.finished, value=2.0)
    waves, _ = campaign(ask(planner, options, MIXED, defaults=outside, trials=(first,)), 6)
    points = [p.overrides for wave in waves for p in wave.proposals]
    assert points
    if planner != "greedy":  # it changes one thing at a time
        assert all(MIXED[n].contains(v) for point in points for n, v in point.items())


@every
def test_a_wrong_option_is_named_with_the_nearest(planner: str, options: dict[str, Scalar]) -> None:
    with pytest.raises(ConfigError, match="has no option 'stepp'"):
        propose(ask(planner, {"stepp": 1}, MIXED))


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Choices of all kinds, intervals from a hair to eight decades."""
    if draw(st.booleans()):
        scalars = st.one_of(st.integers(-9, 9), st.text("xyz", max_size=2), st.booleans())
        return Choice(tuple(draw(st.lists(scalars, min_size=1, max_size=5, unique_by=repr))))
    log = draw(st.booleans())
    if draw(st.booleans()):
        low = draw(st.integers(1 if log else -9, 1000))
        return Interval(low, low + draw(st.integers(1, 5000)), log=log, integer=True)
    start, width = draw(st.floats(1e-4, 1e4)), draw(st.floats(1e-4, 1e4))
    return Interval(start, start + width, log=log)


spaces = st.dictionaries(st.sampled_from("abcdef"), domains(), min_size=1, max_size=4)


@pytest.mark.parametrize("planner", sorted(set(PLANNERS) - ASK_OTHERS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(space=spaces, capacity=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_any_space_is_searched(planner: str, space: Space, capacity: int, seed: int) -> None:
    options: dict[str, Scalar] = {"startup": 3} if planner == "bayes" else {}
    waves, _ = campaign(ask(planner, options, space, capacity=capacity, seed=seed), 4)
    found = [key(space, middle(space)), *proposed(space, waves)]
    assert len(found) == len(set(found))
    for wave in waves:
        assert len(wave.proposals) <= capacity
        for proposal in wave.proposals:
            assert all(space[n].contains(v) for n, v in proposal.overrides.items())


def test_the_table_has_a_contract_for_every_planner() -> None:
    assert {name for name, _ in OPTIONS} == set(PLANNERS) - ASK_OTHERS
