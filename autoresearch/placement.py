"""How much must wait in line, how long a pilot should live, when to look again. Pure.

No pilot may find an empty line, no wave should be planned earlier than it must, and nobody should
ask the cluster more often than its answers change.
"""

from math import ceil, floor
from statistics import median

from autoresearch.history import History
from autoresearch.settings import Settings

QUICK = 0.7  # of the mean: what a quick experiment takes
PLANNING_SECONDS = 10.0  # from a question to a planner until its wave is in line
LOOKS = 10  # looks per experiment, or per waiting time so far
FIRST_SECONDS = 120.0  # besides its budget, what an experiment is expected to take at first
LIFE_WAITS = 4  # a pilot should live for so many of its waiting times
LIFE_EXPERIMENTS = 4  # and at least for so many experiments
LONGEST_MINUTES = 240.0  # shorter jobs fit into gaps of the queue
SPARE_MINUTES = 3.0  # for its start, and before its limit
WAITS = 16  # of the last pilots


def pause(history: History, settings: Settings, now: float) -> float:
    """Seconds until the next look: a tenth of what is being waited for."""
    low = settings.cluster.poll_seconds
    high = max(low, settings.cluster.poll_limit or low)
    pilots = history.live_pilots()
    if any(pilot.started is not None for pilot in pilots):
        budget = settings.task.budget.seconds or 0.0  # what it takes at least, until one is known
        expected = history.seconds_per_experiment(history.screen) or budget
    elif pilots:
        expected = now - min(pilot.submitted for pilot in pilots)
    else:  # nothing to see, but for what may be refused again
        expected = now - max((p.ended or 0.0 for p in history.pilots.values()), default=now)
    return min(high, max(low, expected / LOOKS))


def depth(
    history: History,
    settings: Settings,
    now: float,
    absence: float = 0.0,
    planning: float = PLANNING_SECONDS,
) -> int:
    """How many screening experiments must wait so that no pilot finds the line empty.

    `absence` is how long, in seconds, no controller will be there before the next look, `planning`
    how long a planner takes.

    The claims expected until a wave that is planned at the next look can be in line; every pilot
    that the tier allows counts, those still waiting for a node as if they came at once.
    """
    tier = history.screen
    pilots = settings.cluster.tiers[tier].pilots
    typical = history.seconds_per_experiment(tier)
    if not typical:
        return pilots
    quick = QUICK * typical
    horizon = pause(history, settings, now) + planning + absence
    running = [now - entry.since for entry in history.running(tier)]
    busy = [claims(max(0.0, quick - elapsed), quick, horizon) for elapsed in running[:pilots]]
    return sum(busy) + (pilots - len(busy)) * claims(0.0, quick, horizon)


def claims(remaining: float, each: float, horizon: float) -> int:
    """How often a pilot comes back for more within `horizon` seconds."""
    return 0 if remaining > horizon else 1 + floor((horizon - remaining) / each)


def life(history: History, settings: Settings, tier: str, longest: float, now: float) -> float:
    """Minutes that pilots asked for now should live; 0: no bound.

    As given; or else, where the cluster sets a bound: long against the time they wait in the
    queue, short enough to fit into gaps, never longer than there is work or budget for.
    """
    if settings.pilot.minutes or settings.cluster.kind == "local":
        return min(settings.pilot.minutes, longest)
    each = experiment_minutes(history, settings, tier)
    least = LIFE_EXPERIMENTS * each
    wanted = min(LONGEST_MINUTES, LIFE_WAITS * waiting_minutes(history, tier))
    left = settings.budget.gpu_hours * 60 - history.pilot_hours(now) * 60
    pilots = max(1, settings.cluster.tiers[tier].pilots)
    if settings.budget.gpu_hours:
        wanted, least = min(wanted, left / pilots), min(least, max(each, left / pilots))
    return min(float(ceil(max(least, wanted) + SPARE_MINUTES)), longest)


def experiment_minutes(history: History, settings: Settings, tier: str) -> float:
    """What an experiment takes, or may be expected to before one has finished."""
    known = history.seconds_per_experiment(tier)
    limits, budget = settings.task.limits, settings.task.budget
    first = (budget.seconds or limits.token_seconds) + min(FIRST_SECONDS, limits.setup_seconds)
    return (known or first) / 60


def waiting_minutes(history: History, tier: str) -> float:
    """The median time in the queue of the last pilots of a tier that began."""
    mine = [p for p in history.pilots.values() if p.tier == tier and p.started is not None]
    waits = [max(0.0, (p.started or 0.0) - p.submitted) for p in mine[-WAITS:]]
    return median(waits) / 60 if waits else 0.0
