"""`autoresearch effects`: what each parameter does, and which depend on each other."""

import argparse

from autoresearch.experiment import plural
from autoresearch.history import History
from autoresearch.lessons import of_campaign
from autoresearch.names import candidate_named
from autoresearch.programs import Programs
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer

FEW = 5  # candidates of which little can be read


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    history, space = campaign.history, campaign.settings.search.space
    programs = Programs(campaign.sources)
    program = candidate_named(history, options.program).program
    effects = of_campaign(history, programs, space, program)
    if options.json:
        answer({"program": program, **effects.to_json()})
    else:
        print(effects.text())
        if effects.rows < FEW and is_new(history, programs, program):
            print(
                f"{plural(effects.rows, 'candidate')} of this program alone; "
                "--program baseline shows what was tried of the program as it was given"
            )
    return 0


def is_new(history: History, programs: Programs, program: str) -> bool:
    """Whether it differs from the program as it was given in more than defaults."""
    return programs.family(program) != programs.family(history.baseline.program)
