"""What bayes proposes where another planner leaves room: nobody's pilots wait for an idea.

Half of the room goes to the champion's parameters, half to those of the newest programs that did
well in screening, each with a model of its own family's results.
"""

from dataclasses import replace

from autoresearch.experiment import Proposal, Wave
from autoresearch.planners import bayes
from autoresearch.planners.protocol import Request, Target

PLANNER = "bayes"


def filled(request: Request, wave: Wave, settings: bayes.Settings) -> Wave:
    """The wave with its room used up; an exhausted one is only so if bayes has no more either."""
    room = request.capacity - len(wave.proposals)
    if room < 1:
        return wave
    targets = request.targets[: room // 2]
    proposals = list[Proposal]()
    for place, target in enumerate(targets):
        share = room // 2 // len(targets) + (place < room // 2 % len(targets))
        proposals += search(of_target(request, target), settings, share, target.program)
    rest = room - len(proposals)
    proposals += search(request, settings, rest, "")
    return replace(
        wave,
        hypothesis=wave.hypothesis or f"{PLANNER} searches on",
        proposals=(*wave.proposals, *proposals),
        exhausted=wave.exhausted and not proposals,
    )


def search(request: Request, settings: bayes.Settings, count: int, program: str) -> list[Proposal]:
    """So many points of one program's space, if there are so many."""
    if count < 1 or not request.space:
        return []
    found = bayes.propose(replace(request, capacity=count), settings).proposals
    return [replace(p, program=program, planner=PLANNER) for p in found]


def of_target(request: Request, target: Target) -> Request:
    return replace(
        request, space=target.space, defaults=target.defaults, trials=target.trials, targets=()
    )
