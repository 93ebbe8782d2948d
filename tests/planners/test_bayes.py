"""TPE on a request: it beats chance, learns from failures and from what is pending."""

import math
from dataclasses import replace
from random import Random
from statistics import fmean

import pytest

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure
from autoresearch.planners import bayes, sampling
from autoresearch.planners.points import Point
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.space import Choice, Interval, Space, names

SPACE: Space = {
    "lr": Interval(1e-4, 1.0, log=True),
    "decay": Interval(0.0, 1.0),
    "depth": Interval(2, 16, integer=True),
    "heads": Choice((1, 2, 4, 8, 16)),
    "pattern": Choice(("S", "L", "SL")),
}
LINE: Space = {"x": Interval(0.0, 1.0)}


def loss(point: Point) -> float:
    """A bowl with its floor, 1.0, at lr 0.02, decay 0.3, depth 11, heads 4, pattern SL."""
    lr, decay, depth = (float(point[name]) for name in ("lr", "decay", "depth"))
    return (
        1.0
        + math.log10(lr / 0.02) ** 2 / 4
        + 2 * (decay - 0.3) ** 2
        + (depth - 11) ** 2 / 98
        + 0.05 * abs((1, 2, 4, 8, 16).index(int(point["heads"])) - 2)
        + {"S": 0.1, "L": 0.05, "SL": 0.0}[str(point["pattern"])]
    )


def measured(point: Point, rng: Random) -> Trial:
    """The loss under noise; deep models at high learning rates run out of memory."""
    if float(point["depth"]) > 13 and float(point["lr"]) > 0.1:
        return Trial(point, Outcome.failed, failure=Failure.out_of_memory)
    return Trial(point, Outcome.finished, loss(point) + rng.gauss(0, 0.02))


def regret(planner: str, seed: int, budget: int) -> float:
    """How far the measured best of `budget` trials, four at a time, lies above the floor."""
    rng = Random(seed)
    start = {name: SPACE[name].at(0.99) for name in names(SPACE)}
    request = Request(planner, seed, 1, 4, SPACE, start, (measured(start, rng),))
    for wave in range(1, budget // 4 + 1):
        request = replace(request, wave=wave)
        answer = (
            bayes.propose(request, bayes.Settings())
            if planner == "bayes"
            else sampling.propose(request, sampling.Settings())
        )
        new = tuple(measured(proposal.overrides, rng) for proposal in answer.proposals)
        request = replace(request, trials=request.trials + new)
    scored = [trial for trial in request.trials if trial.value is not None]
    return loss(min(scored, key=lambda trial: trial.value or 0.0).parameters) - 1.0


def test_bayes_beats_random_search_under_noise() -> None:
    seeds = range(6)
    ours = fmean(regret("bayes", seed, 44) for seed in seeds)
    chance = fmean(regret("random", seed, 44) for seed in seeds)
    assert ours < 0.75 * chance


def line(xs: list[float], **changes: object) -> Request:
    """Scored points of a bowl with its floor at 0.5."""
    trials = tuple(Trial({"x": x}, Outcome.finished, 1 + (x - 0.5) ** 2) for x in xs)
    request = Request("bayes", 1, 1, 4, LINE, {"x": 0.0}, trials)
    return replace(request, **changes)  # type: ignore[arg-type]


def asked(request: Request, seeds: int = 5) -> list[float]:
    """Where the proposals of several seeds lie."""
    waves = [bayes.propose(replace(request, seed=s), bayes.Settings()) for s in range(seeds)]
    return [float(p.overrides["x"]) for wave in waves for p in wave.proposals]


GRID = [i / 24 for i in range(25)]


def test_pending_points_are_kept_away_from() -> None:
    request = line(GRID)
    crowd = tuple(Trial({"x": 0.4 + i / 200}, Outcome.pending) for i in range(41))
    alone = fmean(abs(x - 0.5) for x in asked(request))
    crowded = asked(replace(request, trials=request.trials + crowd))
    assert fmean(abs(x - 0.5) for x in crowded) > 2 * alone


@pytest.mark.parametrize("failure", [Failure.out_of_memory, Failure.crashed, Failure.diverged])
def test_a_region_that_fails_is_left_alone(failure: Failure) -> None:
    """Every point above 0.5 fails: without its failures that half would look promising."""
    scored = line([x for x in GRID if x <= 0.5]).trials
    failed = tuple(Trial({"x": x}, Outcome.failed, failure=failure) for x in GRID if x > 0.5)
    ignorant = asked(line([], trials=scored))
    taught = asked(line([], trials=scored + failed))
    assert sum(x > 0.55 for x in taught) < sum(x > 0.55 for x in ignorant)
    assert sum(x > 0.55 for x in taught) <= len(taught) / 10


@pytest.mark.parametrize("failure", [Failure.node_failed, Failure.preempted, Failure.cancelled])
def test_a_failure_of_the_machine_teaches_nothing(failure: Failure) -> None:
    trials = line(GRID).trials
    broken = Trial({"x": 0.51}, Outcome.failed, failure=failure)
    assert asked(line([], trials=(*trials, broken))) == asked(line([], trials=trials))


def test_no_model_before_enough_scores() -> None:
    """With everything failed so far, TPE's best tenth would be failures."""
    failed = tuple(Trial({"x": x}, Outcome.failed, failure=Failure.crashed) for x in GRID)
    wave = bayes.propose(line([], trials=failed), bayes.Settings())
    assert wave.hypothesis.startswith("Latin hypercube")
    wave = bayes.propose(line(GRID), bayes.Settings())
    assert wave.hypothesis.startswith("TPE on 25 scores, 0 failures and 0 pending")


@pytest.mark.parametrize(
    ("scored", "failed", "is_ready"),
    [
        (10, 0, True),
        (1, 9, True),
        (9, 0, False),
        (0, 50, False),
        (2, 19, False),  # TPE would call three of these good
        (25, 975, True),  # and never more than 25
        (24, 976, False),
    ],
)
def test_a_model_needs_as_many_scores_as_tpe_calls_good(
    scored: int, failed: int, is_ready: bool
) -> None:
    assert bayes.ready(scored, failed, startup=10) == is_ready


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 3, 2]])
def test_the_opening_is_one_latin_hypercube_however_it_is_cut_into_waves(
    sizes: list[int],
) -> None:
    trials: tuple[Trial, ...] = ()
    for wave, capacity in enumerate(sizes, start=1):
        request = line([], trials=trials, wave=wave, capacity=capacity)
        answer = bayes.propose(request, bayes.Settings(startup=8))
        trials += tuple(Trial(p.overrides, Outcome.pending) for p in answer.proposals)
    strata = sorted(int(float(trial.parameters["x"]) * 8) for trial in trials)
    assert strata == list(range(8))


def test_values_come_back_from_optuna_as_they_went_in() -> None:
    for domain in (Choice((2, 4, 8)), Choice(("a", 2, True)), Interval(1, 9, integer=True)):
        for value in (domain.at(0.0), domain.at(0.5), domain.at(0.99)):
            again = bayes.decoded(domain, bayes.encoded(domain, value))
            assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize("option", ["startup", "candidates"])
def test_options_below_one_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} should be at least 1, but was 0"):
        bayes.Settings(**{option: 0})
