"""One question to Claude, and the wave that comes of it. Whatever goes wrong is a reason in the
wave, never an error: somebody else fills in, and no pilot waits.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.claude.client import connect
from autoresearch.claude.conversation import Ending, converse
from autoresearch.claude.library import Library
from autoresearch.claude.prompt import Task, opening
from autoresearch.claude.toolbox import Room, toolbox
from autoresearch.claude.transcript import Opening
from autoresearch.claude.writing import PLANNER, Work, notes_in
from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Wave, plain
from autoresearch.settings import Claude
from autoresearch.space import Space

# What an answer that nobody foresaw could raise: a reason to fill in, as all others.
UNFORESEEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
READABLE = (
    200_000  # characters, the opening included: 50,000 tokens, and Claude's words come on top
)


@dataclass(frozen=True)
class Question:
    """What Claude is asked. What it must not be asked twice is kept in `folder`."""

    campaign: Path
    folder: Path
    task: Path  # holds program.md
    space: Space  # of the champion
    wave: int
    capacity: int  # experiments, at most
    usd: float  # dollars, at most
    settings: Claude


def research(question: Question) -> Wave:
    """Claude's wave; an empty one says in `problem` why. Notes are kept in either case."""
    wave, problem, is_broke = None, "", False
    try:
        wave, ending = talk(question)
        problem, is_broke = ending.problem, ending.is_broke
    except (AutoresearchError, ImportError, OSError, *UNFORESEEN) as error:
        problem = plain(" ".join(str(error).split()), 500) or repr(error)
    return replace(
        wave or Wave(PLANNER, "", ()),
        notes=notes_in(question.folder),
        problem=problem,
        exhausted=is_broke,
    )


def talk(question: Question) -> tuple[Wave | None, Ending]:
    """Hold the conversation, or go on with it."""
    library = Library.open(question.campaign)
    asked = Task(question.task, question.space, question.wave, question.capacity, question.usd)
    start = opening(library, asked, question.settings)
    work = Work(library, question.folder, question.capacity, question.settings)
    with connect(question.settings) as client:
        ending = converse(
            client,
            question.settings,
            toolbox(work, Room(READABLE - size(start))),
            start,
            folder=question.folder,
            allowance_usd=question.usd,
        )
    return work.wave, ending


def size(start: Opening) -> int:
    """Characters of an opening."""
    return sum(len(block["text"]) for block in (*start.system, *start.content))
