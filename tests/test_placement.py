"""Promises 5 and 6: no pilot finds an empty line, and the cluster is asked as little as can be."""

from dataclasses import replace

import pytest
from test_judge import equal
from worlds import World, make_settings

from autoresearch.entry import Purpose
from autoresearch.experiment import Budget, Candidate, Experiment
from autoresearch.judge import Request
from autoresearch.placement import PLANNING_SECONDS, SPARE_MINUTES, claims, depth, life, pause
from autoresearch.settings import Cluster, Pilot, Settings, Spending, Tier

SLURM = Cluster(
    "slurm",
    {"screen": Tier("h100", gpus=1, pilots=4, partitions=("gpu",))},
    poll_seconds=5.0,
    poll_limit=180.0,
)


def on_slurm(**changes: object) -> World:
    """A campaign of which nothing has run yet."""
    return World(equal, make_settings(**{"cluster": SLURM, **changes}))


def hire(world: World, *names: str, waited: float | None = None) -> None:
    """Pilots; `waited` seconds in the queue, or still there."""
    world.record({"type": "submitting", "tier": "screen", "pilots": list(names)})
    for name in names:
        if waited is not None:
            started = world.history.pilots[name].submitted + waited
            where = {"started": started, "node": "n1"}
            world.record({"type": "pilot_started", "pilot": name, **where})


def run(world: World, seed: int, pilot: str) -> None:
    """An experiment that a pilot has begun just now."""
    request = Request(world.history.baseline, seed, "screen", Purpose.screen)
    experiment = Experiment(Candidate(world.history.baseline.program), seed, world.cells["screen"])
    world._propose(experiment, request, None)
    where = {"experiment": experiment.id, "attempt": 1, "pilot": pilot}
    world.record({"type": "running", **where})


# ---- when to look ----------------------------------------------------------------------------


def test_nobody_waits_longer_than_a_tenth_of_an_experiment_for_its_result() -> None:
    world = on_slurm()
    hire(world, "a", waited=10)
    assert pause(world.history, world.settings, world.time) == 5  # nothing is known yet
    world.settle()  # each took 10 s
    assert pause(world.history, world.settings, world.time) == 5
    lasting = replace(world.settings, cluster=replace(SLURM, poll_seconds=0.5))
    assert pause(world.history, lasting, world.time) == 1


def test_before_anything_is_known_the_budget_says_how_long_an_experiment_takes() -> None:
    world = on_slurm()
    hire(world, "a", waited=10)
    five = replace(world.settings.task, budget=Budget(seconds=300))
    assert pause(world.history, replace(world.settings, task=five), world.time) == 30


def test_while_all_pilots_wait_looks_become_rare_and_are_bounded() -> None:
    world = on_slurm()
    hire(world, "a")
    times = [world.time + wait for wait in (10, 300, 600, 36000)]
    assert [round(pause(world.history, world.settings, t)) for t in times] == [5, 30, 60, 180]


def test_on_one_machine_the_interval_is_as_given() -> None:
    world = World(equal)
    hire(world, "a", waited=0)
    world.settle()
    assert pause(world.history, world.settings, world.time) == world.settings.cluster.poll_seconds


# ---- how much must wait ----------------------------------------------------------------------


def test_until_an_experiment_has_finished_one_per_pilot_waits() -> None:
    world = on_slurm()
    assert depth(world.history, world.settings, world.time) == 4


def test_a_wave_is_planned_as_late_as_pilots_that_are_busy_allow() -> None:
    world = on_slurm()
    world.settle()  # each took 10 s
    lasting = 600 / 10
    for entry in world.history.entries.values():
        assert entry.result is not None
        seconds = replace(entry.result.seconds, train=10.0 * lasting)
        entry.result = replace(entry.result, seconds=seconds)
    hire(world, "a", "b", "c", "d", waited=0)
    for seed, pilot in enumerate("abcd", 100):
        run(world, seed, pilot)
    begun = world.time
    assert depth(world.history, world.settings, begun) == 0
    nearly = begun + 0.7 * 600 - pause(world.history, world.settings, begun) - PLANNING_SECONDS
    assert depth(world.history, world.settings, nearly + 1) == 4


def test_short_experiments_need_a_long_line() -> None:
    world = on_slurm()
    world.settle()
    # Within 15 s each of four pilots may come back twice, besides now.
    assert depth(world.history, world.settings, world.time) == 4 * 3


@pytest.mark.parametrize(
    ("remaining", "horizon", "expected"), [(0, 0, 1), (11, 10, 0), (10, 10, 1), (3, 10, 2)]
)
def test_a_pilot_comes_back_when_it_is_done(
    remaining: float, horizon: float, expected: int
) -> None:
    assert claims(remaining, 5.0, horizon) == expected


# ---- how long a pilot lives ------------------------------------------------------------------


def lives(world: World, settings: Settings | None = None, longest: float = 10_000.0) -> float:
    return life(world.history, settings or world.settings, "screen", longest, world.time)


def test_a_pilot_lives_as_long_as_the_user_says_and_the_partition_allows() -> None:
    world = on_slurm(pilot=Pilot(minutes=45))
    assert lives(world) == 45
    assert lives(world, longest=30) == 30


def test_on_one_machine_pilots_live_as_long_as_there_is_work() -> None:
    world = World(equal)
    assert lives(world) == 0


def test_before_anything_is_known_a_pilot_lives_for_a_few_experiments() -> None:
    world = on_slurm()
    five = replace(world.settings.task, budget=Budget(seconds=300))
    assert lives(world, replace(world.settings, task=five)) == 4 * 7 + SPARE_MINUTES


def test_the_longer_pilots_wait_the_longer_they_live_within_bounds() -> None:
    world = on_slurm()
    world.settle()
    found = [lives(world)]
    for minutes in (5, 20, 600):
        hire(world, *(f"p{minutes}-{k}" for k in range(16)), waited=60.0 * minutes)
        found.append(lives(world))
    assert found[0] < found[1] == 4 * 5 + SPARE_MINUTES
    assert found[2] == 4 * 20 + SPARE_MINUTES
    assert found[3] == 240 + SPARE_MINUTES


def test_no_pilot_outlives_the_budget_by_more_than_an_experiment() -> None:
    world = on_slurm(budget=Spending(gpu_hours=2.0))
    world.settle()
    hire(world, *(f"p{k}" for k in range(16)), waited=3600.0)
    for pilot in list(world.history.live_pilots()):
        end = {"ended": pilot.started, "failure": None, "reason": ""}
        world.record({"type": "pilot_ended", "pilot": pilot.name, **end})
    assert lives(world) == 2 * 60 / 4 + SPARE_MINUTES
