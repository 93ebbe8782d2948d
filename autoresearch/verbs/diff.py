"""`autoresearch diff`: how two candidates' programs differ, overrides written in."""

import argparse

from autoresearch.experiment import Candidate
from autoresearch.sources import Sources, bake, unified
from autoresearch.verbs import find


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    mine = find.candidate(campaign.history, options.experiment)
    if options.other:
        other = find.candidate(campaign.history, options.other)
    elif mine.overrides:
        other = Candidate(mine.program)
    else:
        other = campaign.history.baseline
    old, new = (text(campaign.sources, candidate) for candidate in (other, mine))
    print(unified(old, new, options.other or "parent", options.experiment), end="")
    return 0


def text(sources: Sources, candidate: Candidate) -> str:
    """A candidate as one program: its overrides as defaults."""
    return bake(sources.read(candidate.program), candidate.overrides)
