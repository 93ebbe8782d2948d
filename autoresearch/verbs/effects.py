"""`autoresearch effects`: what each parameter does, and which depend on each other."""

import argparse

from autoresearch.lessons import of_campaign
from autoresearch.names import candidate_named
from autoresearch.programs import Programs
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer

FEW = 5  # candidates of which little can be read


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    history, space = campaign.history, campaign.settings.search.space
    program = candidate_named(history, options.program).program
    effects = of_campaign(history, Programs(campaign.sources), space, program)
    if options.json:
        answer({"program": program, **effects.to_json()})
    else:
        print(effects.text())
        if hint := better(campaign, program, effects.rows):
            print(hint)
    return 0


def better(campaign: find.Campaign, program: str, rows: int) -> str:
    """Where more was tried, if little was tried of this program; else nothing."""
    history, programs = campaign.history, Programs(campaign.sources)
    if rows >= FEW or programs.family(program) == programs.family(history.baseline.program):
        return ""
    return (
        f"{find.plural(rows, 'candidate')} of this program alone; --program baseline shows what "
        "was tried of the program as it was given"
    )
