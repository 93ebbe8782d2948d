"""The one table of planners. Modules load when they are asked, so that naming one costs nothing."""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Scalar, Wave
from autoresearch.planners.protocol import Request, read_settings

PLANNERS: Mapping[str, str] = {
    "bayes": "autoresearch.planners.bayes",
    "claude": "autoresearch.planners.claude",
    "external": "autoresearch.planners.external",
    "factorial": "autoresearch.planners.factorial",
    "greedy": "autoresearch.planners.greedy",
    "mixed": "autoresearch.planners.mixed",
    "random": "autoresearch.planners.sampling",
}


def strategy(name: str) -> ModuleType:
    """The module behind a planner's name. Raises ConfigError for an unknown one."""
    if name not in PLANNERS:
        raise ConfigError(f"there is no planner '{name}'; {nearest(name, PLANNERS)}")
    return import_module(PLANNERS[name])


def settings_of(name: str, options: Mapping[str, Scalar]) -> Any:
    """The planner's own `Settings`. Raises ConfigError for options it does not have."""
    return read_settings(strategy(name).Settings, name, options)


def propose(request: Request) -> Wave:
    """What the planner named in the request proposes."""
    settings = settings_of(request.planner, request.settings)
    wave: Wave = strategy(request.planner).propose(request, settings)
    return wave
