"""Every tool of a conversation, with bounds on what it answers.

What is read comes between <data> tags. What a user could mend is a mistake that Claude mends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from autoresearch.claude.quoting import data
from autoresearch.claude.reading import READINGS, Reading
from autoresearch.claude.tools import Done, Mistake, Tool
from autoresearch.claude.writing import ACTIONS, Action, Work
from autoresearch.errors import UserError
from autoresearch.experiment import Json

T = TypeVar("T")

LONGEST = 8000  # characters of one answer
SHORTEST = 1000  # of one that comes when little room is left
LITTLE = "Little room is left for reading in this conversation: propose the wave."


@dataclass
class Room:
    """Characters that may still be read in a conversation."""

    left: int

    @property
    def limit(self) -> int:
        return max(SHORTEST, min(LONGEST, self.left))


def toolbox(work: Work, room: Room) -> list[Tool]:
    """In a fixed order: the API keeps a prompt that begins alike."""
    return [
        *(Tool(r.name, r.description, r.schema, reader(r, work, room)) for r in READINGS),
        *(Tool(a.name, a.description, a.schema, actor(a, work, room)) for a in ACTIONS),
    ]


def reader(reading: Reading, work: Work, room: Room) -> Callable[[Json], str | Done]:
    def read(asked: Json) -> str:
        answer = mending(lambda: reading.answer(work.library, asked))
        told = data(reading.name, answer, room.limit, reading.kept)
        room.left -= len(told)
        return told if room.left > 0 else f"{told}\n{LITTLE}"

    return read


def actor(action: Action, work: Work, room: Room) -> Callable[[Json], str | Done]:
    def act(asked: Json) -> str | Done:
        answer = mending(lambda: action.act(work, asked))
        room.left -= len(answer) if isinstance(answer, str) else 0
        return answer

    return act


def mending(ask: Callable[[], T]) -> T:
    """The answer. Raises Mistake for what a user could mend."""
    try:
        return ask()
    except UserError as error:
        raise Mistake(data("problem", str(error), LONGEST)) from None
