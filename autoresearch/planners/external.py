"""Nobody is asked: waves come from outside, by `autoresearch wave submit`.

Only its settings are here; the controller takes what is submitted, whatever the planner.
"""

from dataclasses import dataclass

from autoresearch.experiment import Wave
from autoresearch.planners.protocol import Request


@dataclass(frozen=True)
class Settings:
    """`fill`: bayes fills in whenever pilots would have nothing to do; the rest is of bayes."""

    fill: bool = False
    startup: int = 10
    candidates: int = 24


def propose(request: Request, settings: Settings) -> Wave:  # noqa: ARG001 - as every planner
    """Nothing, now or later."""
    return request.nothing("waves of this campaign come from outside", exhausted=False)
