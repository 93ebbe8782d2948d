"""`autoresearch source`: a candidate's train.py, its overrides written in."""

import argparse
import sys
from pathlib import Path

from autoresearch.errors import UserError
from autoresearch.experiment import Candidate, Json
from autoresearch.history import History
from autoresearch.layout import write_atomically
from autoresearch.names import candidate_named
from autoresearch.programs import Programs
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer
from autoresearch.verbs.diff import fit


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    candidate = candidate_named(campaign.history, options.name)
    text = Programs(campaign.sources).text(candidate)
    if options.output:
        write(Path(options.output), text)
    if options.json:
        answer({**about(campaign, candidate), "text": text})
    elif not options.output:
        print(fit(text, is_terminal=sys.stdout.isatty()), end="")
    return 0


def write(path: Path, text: str) -> None:
    """Raises UserError where there can be no such file."""
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"{path} should be a file in a folder that exists; choose another place")
    write_atomically(path, text)


def about(campaign: find.Campaign, candidate: Candidate) -> Json:
    """Where a program comes from. Its text differs from the program's by the overrides."""
    program = candidate.program
    commit, message = campaign.sources.log(program)[0]
    return {
        "candidate": candidate.key,
        "program": program,
        "overrides": dict(candidate.overrides),
        "commit": commit,
        "parents": parents(campaign.history, program),
        "message": message,
    }


def parents(history: History, program: str) -> list[str]:
    """The programs it was made from: two where it holds what both had won by."""
    if program in history.versions:
        return list(history.versions[program].parents)
    for test in history.crowns:
        if test.verdict and test.verdict.get("program") == program:
            sides = (test.champion.program, test.challenger.program)
            return [side for side in dict.fromkeys(sides) if side != program]
    return []
