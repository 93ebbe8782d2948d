"""Promise 7: budgets are hard. What is in flight counts as spent."""

import math

from test_judge import by_width, equal
from worlds import World, make_settings

from autoresearch.entry import Purpose
from autoresearch.experiment import Experiment
from autoresearch.judge import Request
from autoresearch.settings import Spending
from autoresearch.spending import allowance, is_overdrawn, reserve


def test_without_bounds_there_is_no_end() -> None:
    world = World(equal)
    assert allowance(world.history, world.settings, world.time) == math.inf
    assert is_overdrawn(world.history, world.settings, world.time + 1e9) == ""


def test_experiments_count_from_the_moment_they_are_proposed() -> None:
    settings = make_settings(budget=Spending(experiments=10))
    world = World(equal, settings)
    world.settle()  # three baselines
    assert allowance(world.history, settings, world.time) == 7
    request = Request(world.history.baseline, 99, "screen", Purpose.screen)
    experiment = Experiment(request.candidate, 99, world.cells["screen"])
    world._propose(experiment, request, None)
    assert allowance(world.history, settings, world.time) == 6


def test_the_end_of_the_search_is_kept_paid_for() -> None:
    world = World(by_width)
    world.propose({"width": 3}, {"width": 4})
    rules = world.settings.judge
    assert reserve(world.history, world.settings) == 2 * rules.crown_seeds + 2 * rules.certify_seeds
    world.finish()
    assert reserve(world.history, world.settings) == 2 * rules.certify_seeds


def test_device_hours_count_running_pilots_and_what_is_in_flight() -> None:
    settings = make_settings(budget=Spending(gpu_hours=1.0))
    world = World(equal, settings)
    world.settle()  # each took 10 s
    world.record({"type": "submitting", "tier": "screen", "pilots": ["a"]})
    start = world.history.pilots["a"].submitted
    world.record({"type": "pilot_started", "pilot": "a", "started": start, "node": "n1"})
    half = world.history.pilots["a"].submitted + 1800
    assert allowance(world.history, settings, half) == 180
    assert is_overdrawn(world.history, settings, half) == ""
    assert "GPU-hours" in is_overdrawn(world.history, settings, half + 1800)


def test_wall_clock_is_a_bound_of_its_own() -> None:
    settings = make_settings(budget=Spending(wall_hours=1.0))
    world = World(equal, settings)
    world.settle()
    late = world.history.started + 3590
    assert allowance(world.history, settings, late) == 2  # ten seconds, two pilots, ten each
    assert "wall-clock" in is_overdrawn(world.history, settings, late + 10)


def test_a_campaign_taken_up_after_its_end_has_its_wall_clock_again() -> None:
    settings = make_settings(budget=Spending(wall_hours=1.0))
    world = World(equal, settings)
    world.settle()
    world.record({"type": "ended", "reason": "stopped by request"})
    tomorrow = world.history.started + 86400
    assert is_overdrawn(world.history, settings, tomorrow)
    world.time = tomorrow
    world.record({"type": "resumed"})
    assert not is_overdrawn(world.history, settings, tomorrow + 3590)
    assert is_overdrawn(world.history, settings, tomorrow + 3610)


def test_the_tightest_bound_holds() -> None:
    settings = make_settings(budget=Spending(experiments=5, gpu_hours=100.0))
    world = World(equal, settings)
    world.settle()
    assert allowance(world.history, settings, world.time) == 2
