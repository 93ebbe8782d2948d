"""Bayesian optimisation: Optuna's tree-structured Parzen estimator (TPE), all parameters jointly.

(Bergstra et al., 2011; multivariate: Falkner, Klein and Hutter, 2018.) The study is rebuilt in
memory from the request each time. The only importer of Optuna; silent.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from random import Random

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure, Scalar, Wave
from autoresearch.planners.points import Point, draw, fresh, key, latin, ordered
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.space import Choice, Domain, Space, names

SILENT = (Failure.node_failed, Failure.preempted, Failure.cancelled)  # say nothing of a candidate


@dataclass(frozen=True)
class Settings:
    """`startup` observations before a model is fitted; `candidates` it weighs per proposal."""

    startup: int = 10
    candidates: int = 24

    def __post_init__(self) -> None:
        for name in ("startup", "candidates"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} should be at least 1, but was {getattr(self, name)}")


def propose(request: Request, settings: Settings) -> Wave:
    """Points of a Latin hypercube until a model can be fitted, then where TPE hopes most."""
    seen = [trial for trial in request.trials if informs(request.space, trial)]
    scored = [trial for trial in seen if trial.state is Outcome.finished]
    failed = [trial for trial in seen if trial.state is Outcome.failed]
    if ready(len(scored), len(failed), settings.startup):
        points = modelled(request, settings, seen)
        best = min(trial.value for trial in scored if trial.value is not None)
        hypothesis = (
            f"TPE on {len(scored)} scores, {len(failed)} failures and {request.pending} pending "
            f"expects these to beat {best:.4f}"
        )
    else:
        points = fresh(request.space, opening(request, settings), request.tried, request.capacity)
        hypothesis = f"Latin hypercube over {' × '.join(names(request.space))} to start a model"
    known = request.tried | {key(request.space, point) for point in points}
    points += draw(request.space, known, request.capacity - len(points), request.rng())
    if not points:
        return request.nothing("every point of the space has been tried", exhausted=True)
    return request.answer(hypothesis, points)


def ready(scored: int, failed: int, startup: int) -> bool:
    """Whether a model can be fitted. TPE takes the best tenth of all observations (25 at most)
    for good ones: before so many have a score, it would learn to fail."""
    observed = scored + failed
    return scored > 0 and observed >= startup and 10 * scored >= min(observed, 250)


def informs(space: Space, trial: Trial) -> bool:
    """Whether a trial tells the model anything: a candidate's own failure does, a node's does
    not, nor does a point outside the space (a baseline may lie there)."""
    inside = all(space[name].contains(value) for name, value in trial.parameters.items())
    return inside and trial.failure not in SILENT


def opening(request: Request, settings: Settings) -> Iterator[Point]:
    """Latin hypercubes of `startup` points, the same whatever the waves; as far as needed."""
    blocks = (Random(f"{request.seed}/start/{block}") for block in count())
    points = (p for rng in blocks for p in latin(request.space, settings.startup, rng))
    return islice(points, 10 * (len(request.trials) + request.capacity))


def modelled(request: Request, settings: Settings, seen: Sequence[Trial]) -> list[Point]:
    """What TPE asks for. Pending trials and the wave's own points count as bad ones (the
    constant liar of Ginsbourger, Le Riche and Carraro, 2010), which keeps a wave apart."""
    study = past(request, settings, seen)
    axes = {name: distribution(request.space[name]) for name in names(request.space)}
    asks = (study.ask(axes).params for _ in range(4 * request.capacity + 16))
    points = (
        {name: decoded(request.space[name], ask[name]) for name in names(request.space)}
        for ask in asks
    )
    return fresh(request.space, points, request.tried, request.capacity)


def past(request: Request, settings: Settings, seen: Sequence[Trial]) -> optuna.Study:
    """The study so far. TPE only ranks, so a failure is any number above every score."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():  # Optuna 4 calls both options experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=1,  # ours are over
            n_ei_candidates=settings.candidates,
            multivariate=True,
            constant_liar=True,
            seed=request.rng().getrandbits(32),
        )
    study = optuna.create_study(sampler=sampler)
    worst = max(trial.value for trial in seen if trial.value is not None) + 1
    study.add_trials([observation(request.space, trial, worst) for trial in seen])
    return study


def observation(space: Space, trial: Trial, worst: float) -> FrozenTrial:
    pending = trial.state is Outcome.pending
    score = worst if trial.value is None else trial.value
    return create_trial(
        state=TrialState.RUNNING if pending else TrialState.COMPLETE,
        value=None if pending else score,
        params={name: encoded(space[name], trial.parameters[name]) for name in names(space)},
        distributions={name: distribution(space[name]) for name in names(space)},
    )


def distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        if ordered(domain):
            return IntDistribution(0, len(domain.values) - 1)
        return CategoricalDistribution(domain.values)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def encoded(domain: Domain, value: Scalar) -> Scalar:
    """A value as Optuna holds it: a place in an ordered choice, else the value itself."""
    return domain.values.index(value) if isinstance(domain, Choice) and ordered(domain) else value


def decoded(domain: Domain, value: Scalar) -> Scalar:
    """The inverse of `encoded`; numbers of an interval as people write them."""
    if isinstance(domain, Choice):
        return domain.values[int(value)] if ordered(domain) else value
    return domain.tidy(float(value))
