"""`autoresearch diff`: how two candidates' programs differ, overrides written in."""

import argparse
import sys

from autoresearch.experiment import Candidate, plain
from autoresearch.history import History
from autoresearch.names import candidate_named
from autoresearch.program import bake, unified
from autoresearch.sources import Sources
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    mine = candidate_named(campaign.history, options.experiment)
    if options.other:
        other = candidate_named(campaign.history, options.other)
    elif mine.overrides:
        other = Candidate(mine.program)
    else:
        other = campaign.history.baseline
    old, new = (text(campaign.sources, candidate) for candidate in (other, mine))
    names = options.other or "parent", options.experiment
    difference = unified(old, new, *names)
    if options.json:
        answer({"a": names[1], "b": names[0], "diff": difference})
    elif difference:
        print(fit(difference, is_terminal=sys.stdout.isatty()), end="")
    else:
        print(f"nothing differs: {reason(campaign.history, names)}", file=sys.stderr)
    return 0


def fit(difference: str, *, is_terminal: bool) -> str:
    """A program may hold control characters: they reach a file or a pipe, never a terminal."""
    return f"{plain(difference, len(difference))}\n" if is_terminal else difference


def reason(history: History, names: tuple[str, str]) -> str:
    """Why there is no difference to see."""
    if "champion" in names and history.champion == history.baseline:
        return "the champion is still the baseline"
    if names == ("parent", "baseline"):
        return "the baseline has no parent"
    return f"'{names[0]}' and '{names[1]}' are the same program"


def text(sources: Sources, candidate: Candidate) -> str:
    """A candidate as one program: its overrides as defaults."""
    return bake(sources.read(candidate.program), candidate.overrides)
