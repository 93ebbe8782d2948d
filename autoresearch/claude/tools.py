"""What Claude can do in a conversation: a Tool has a name, a schema, and a function behind it.

The function is called with input that fits the schema. After a kill the calls of the newest
answer are made again: so a second call with the same input must do no harm, and what a tool
keeps from one answer to the next it must keep on disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoresearch.claude.schema import check, misfits
from autoresearch.drafts import few
from autoresearch.errors import UserError, nearest
from autoresearch.experiment import Json


class Mistake(UserError):  # noqa: N818 - it reports a fact
    """Input that Claude must repair; the text, which it reads, says how."""


@dataclass(frozen=True)
class Done:
    """The end of a conversation: what it was for has been said."""


@dataclass(frozen=True)
class Tool:
    """`run` answers with text for Claude, ends the conversation, or raises Mistake."""

    name: str
    description: str
    schema: Json  # of its input: see `schema`
    run: Callable[[Json], str | Done]

    def __post_init__(self) -> None:
        check(self.schema, self.name)

    def to_api(self) -> Json:
        return {
            "name": self.name,
            "description": self.description,
            "input_schema": self.schema,
        }


def use(tools: Sequence[Tool], call: Json) -> str | Done:
    """Do what a tool_use block asks for. Raises Mistake, also for what no tool can be asked."""
    named = {tool.name: tool for tool in tools}
    if call["name"] not in named:
        raise Mistake(f"there is no tool '{call['name']:.80}'; {nearest(call['name'], named)}")
    tool = named[call["name"]]
    if wrong := list(misfits(call["input"], tool.schema)):
        raise Mistake("\n".join(few(wrong)))
    return tool.run(call["input"])
