"""`autoresearch effects`: what each parameter does, and which depend on each other."""

import argparse

from autoresearch.lessons import of_campaign
from autoresearch.names import candidate_named
from autoresearch.programs import Programs
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    history, space = campaign.history, campaign.settings.search.space
    program = candidate_named(history, options.program).program
    effects = of_campaign(history, Programs(campaign.sources), space, program)
    if options.json:
        answer({"program": program, **effects.to_json()})
    else:
        print(effects.text())
    return 0
