"""Claude writes the wave: it reads what is known, edits programs, sets parameters, says why.

The conversation is `autoresearch.claude`'s; what it leaves free, or cannot do for whatever reason,
bayes fills, and the wave says so.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.claude.researcher import Question, research
from autoresearch.errors import ConfigError
from autoresearch.experiment import Wave
from autoresearch.planners import bayes
from autoresearch.planners.filling import filled
from autoresearch.planners.protocol import Request
from autoresearch.settings import Claude


@dataclass(frozen=True)
class Settings:
    """Of bayes, which fills in: see there."""

    startup: int = 10
    candidates: int = 24


def propose(request: Request, settings: Settings) -> Wave:
    """A wave by Claude, its room filled up."""
    wave = ask(request, request.capacity)
    return filled(request, wave, bayes.Settings(settings.startup, settings.candidates))


def ask(request: Request, capacity: int) -> Wave:
    """What Claude proposes for so many experiments; raises ConfigError without a campaign."""
    if not request.campaign or not request.folder:
        raise ConfigError(
            f"planner '{request.planner}' should be asked by a campaign, with its directory and a "
            "folder for the conversation, but was asked without"
        )
    question = Question(
        campaign=Path(request.campaign),
        folder=Path(request.folder),
        task=Path(request.task),
        space=request.space,
        wave=request.wave,
        capacity=capacity,
        usd=request.usd,
        settings=Claude.from_json(request.claude),
    )
    return replace(research(question), planner=request.planner)
