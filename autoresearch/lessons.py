"""What screening has taught about the parameters of one family of programs.

Only numbers of one cell meet here, the screen tier's; a candidate that failed teaches nothing about
them. The arithmetic is `effects`'.
"""

from collections.abc import Iterator
from statistics import fmean

from autoresearch import effects
from autoresearch.effects import Effects, Row
from autoresearch.experiment import Candidate
from autoresearch.history import History
from autoresearch.programs import Programs, space_of
from autoresearch.space import Space
from autoresearch.statistics import noise


def of_campaign(history: History, programs: Programs, space: Space, program: str) -> Effects:
    """Main effects and interactions of what can be searched of a program. `space` is the
    campaign's own."""
    known = space_of(history, programs, space, program)
    measured = noise([history.scores(history.baseline, history.screen).values()])
    return effects.estimate(
        [row(history, programs, known, candidate) for candidate in kin(history, programs, program)],
        known,
        measured.sigma if measured else None,
    )


def kin(history: History, programs: Programs, program: str) -> Iterator[Candidate]:
    """The baseline and the screened candidates that have scores and are of a program's family."""
    screened = [entries[0].experiment.candidate for entries in history.screened().values()]
    unique = {candidate.key: candidate for candidate in (history.baseline, *screened)}
    family = programs.family(program)
    for candidate in unique.values():
        entries = list(history.of_candidate(candidate, history.screen))
        failed = any(entry.has_failed for entry in entries)
        is_scored = not failed and any(entry.bpb is not None for entry in entries)
        if is_scored and programs.family(candidate.program) == family:
            yield candidate


def row(history: History, programs: Programs, space: Space, candidate: Candidate) -> Row:
    values = programs.values(candidate)
    scores = history.scores(candidate, history.screen).values()
    return Row({name: values[name] for name in space}, fmean(scores), len(scores))
