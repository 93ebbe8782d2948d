"""Claude and bayes in one wave: ideas and code by Claude, parameters by a model of the results.

Hybrids of the two did better than either alone in the setting of karpathy/autoresearch (Centaur,
arXiv 2603.24647: CMA-ES with 30 % of its proposals by a language model).
"""

import math
from dataclasses import dataclass

from autoresearch.errors import ConfigError
from autoresearch.experiment import Wave
from autoresearch.planners import bayes
from autoresearch.planners.claude import ask
from autoresearch.planners.filling import filled
from autoresearch.planners.protocol import Request


@dataclass(frozen=True)
class Settings:
    """`share` of each wave by Claude; the rest of bayes, as there."""

    share: float = 0.3
    startup: int = 10
    candidates: int = 24

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share should lie above 0 and up to 1, but was {self.share}")


def propose(request: Request, settings: Settings) -> Wave:
    """Claude's share first, then what fills the wave up; all by Claude if bayes has no more."""
    fill = bayes.Settings(settings.startup, settings.candidates)
    own = share(request, settings.share)
    wave = ask(request, own) if own else Wave(request.planner, "", ())
    wave = filled(request, wave, fill)
    return wave if own or wave.proposals else ask(request, request.capacity)


def share(request: Request, part: float) -> int:
    """So many of the wave, rounded at random so that the share holds over many small waves."""
    exact = part * request.capacity
    return math.floor(exact) + (request.rng().random() < exact % 1)
