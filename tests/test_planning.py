"""What a planner is told, and what becomes of its answer. The planners here are the real ones."""

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from test_judge import by_width
from worlds import World, make_settings

from autoresearch.experiment import Candidate, Failure, Scalar, Wave
from autoresearch.planning import PlannerFailed, Planning, request
from autoresearch.settings import Planner
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3, 4, 5)), "rate": Interval(0.01, 1.0, log=True)}
SETTINGS = make_settings(
    search=replace(make_settings().search, space=SPACE), planner=Planner("random")
)


def parameters(program: str) -> Mapping[str, Scalar]:
    return {"width": 1, "rate": 0.1, "other": "x"}


def answer(planning: Planning) -> Wave:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        wave = planning.poll()
        if wave is not None:
            return wave
        time.sleep(0.05)
    raise AssertionError("the planner took more than a minute")


def test_a_planner_is_told_every_candidate_with_its_mean_or_failure() -> None:
    def draw(candidate: Candidate, seed: int) -> float | Failure:
        if candidate.overrides.get("width") == 5:
            return Failure.out_of_memory
        return by_width(candidate, seed)

    world = World(draw, SETTINGS)
    world.settle()
    world.propose({"width": 3}, {"width": 5, "rate": 0.5})
    question = request(world.history, SETTINGS, 4, parameters)
    assert question["capacity"] == 4
    assert question["wave"] == 2
    assert question["defaults"] == {"width": 1, "rate": 0.1}
    baseline, good, bad = question["trials"]
    assert baseline["parameters"] == {"width": 1, "rate": 0.1}
    assert baseline["seeds"] == 3
    assert good["parameters"] == {"width": 3, "rate": 0.1}
    assert good["state"] == "finished"
    assert 1.9 < good["value"] < 2.1
    assert bad["state"] == "failed"
    assert bad["failure"] == "out_of_memory"
    assert bad["value"] is None


@pytest.mark.parametrize("kind", ["random", "bayes", "greedy", "factorial"])
def test_every_planner_answers_with_a_wave_inside_the_space(kind: str) -> None:
    settings = replace(SETTINGS, planner=Planner(kind))
    world = World(by_width, settings)
    world.settle()
    planning = Planning.start(request(world.history, settings, 3, parameters), 0)
    wave = answer(planning)
    assert wave.planner == kind
    assert wave.hypothesis
    assert 1 <= len(wave.proposals) <= 3
    for proposal in wave.proposals:
        assert set(proposal.overrides) == set(SPACE)
        assert all(SPACE[name].contains(value) for name, value in proposal.overrides.items())


def test_a_planner_that_fails_says_why_in_one_line() -> None:
    settings = replace(SETTINGS, planner=Planner("random", {"nonsense": 1}))
    world = World(by_width, settings)
    planning = Planning.start(request(world.history, settings, 3, parameters), 0)
    with pytest.raises(PlannerFailed, match="nonsense") as failure:
        answer(planning)
    assert "\n" not in str(failure.value)


def test_closing_ends_a_planner_at_work() -> None:
    world = World(by_width, SETTINGS)
    planning = Planning.start(request(world.history, SETTINGS, 3, parameters), 0)
    planning.close()
    assert planning.process.poll() is not None
