"""Random search (Bergstra and Bengio, 2012): the planner every other one has to beat."""

from dataclasses import dataclass

from autoresearch.experiment import Wave
from autoresearch.planners.points import draw
from autoresearch.planners.protocol import Request
from autoresearch.space import names


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


def propose(request: Request, settings: Settings) -> Wave:  # noqa: ARG001 - as every planner
    """Points uniform on each domain's own scale."""
    points = draw(request.space, request.tried, request.capacity, request.rng())
    if not points:
        return request.nothing("every point of the space has been tried", exhausted=True)
    factors = " × ".join(names(request.space))
    return request.answer(f"{len(points)} uniformly random points of {factors}", points)
