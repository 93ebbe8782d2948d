"""How much a campaign may still ask for. Budgets are hard: what is in flight counts as spent.

Pure; `now` is Unix time.
"""

import math

from autoresearch.entry import Purpose
from autoresearch.history import History
from autoresearch.settings import Settings


def allowance(history: History, settings: Settings, now: float) -> float:
    """How many more experiments fit into every bound; infinite if there is none.

    Until a first experiment has finished nothing is known of their cost, and only the bound on
    their number holds back.
    """
    bounds = settings.budget
    left = math.inf
    if bounds.experiments:
        left = bounds.experiments - counted(history)
    seconds = history.seconds_per_experiment(history.screen)
    if seconds and bounds.gpu_hours:
        free = bounds.gpu_hours * 3600 - history.pilot_hours(now) * 3600
        left = min(left, math.floor(free / seconds) - len(history.active))
    if seconds and bounds.wall_hours:
        free = bounds.wall_hours * 3600 - (now - history.clock)
        pilots = sum(tier.pilots for tier in settings.cluster.tiers.values())
        left = min(left, math.floor(max(0.0, free) * pilots / seconds) - len(history.active))
    return left


def counted(history: History) -> int:
    """Experiments that the bound on their number counts: no replays, no smoke experiments."""
    free = (Purpose.replay, Purpose.smoke)
    return sum(entry.purpose not in free for entry in history.entries.values())


def usd_left(history: History, settings: Settings) -> float:
    """Dollars that Claude may still be asked for; what it is asked with now counts in full."""
    return settings.budget.usd_agent - sum(ask.counted for ask in history.asks.values())


def reserve(history: History, settings: Settings) -> int:
    """Experiments kept back for what the search must end with: one crown test, a certification."""
    last_test = 0 if history.crowns and history.crowns[-1].final else settings.judge.crown_seeds
    return 2 * (last_test + settings.judge.certify_seeds)


def is_overdrawn(history: History, settings: Settings, now: float) -> str:
    """The bound that has been reached and must stop everything, or "" while none has."""
    bounds = settings.budget
    if bounds.wall_hours and now - history.clock >= bounds.wall_hours * 3600:
        return f"wall-clock budget of {bounds.wall_hours:g} hours reached"
    if bounds.gpu_hours and history.pilot_hours(now) >= bounds.gpu_hours:
        return f"budget of {bounds.gpu_hours:g} GPU-hours reached"
    return ""
