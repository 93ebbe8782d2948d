"""A conversation on disk, one line per message: `talk.jsonl`. What it holds is never asked again.

    {"role": "system", "content": [...]}
    {"role": "user", "content": [...], "mistakes": 1, "is_reminder": false}
    {"role": "assistant", "content": [...], "stop_reason": "tool_use", "usage": {...}, "request": 3}

An answer's content is as the API sent it, and `request` its number in the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from autoresearch.claude.lines import Lines
from autoresearch.errors import RecordError
from autoresearch.experiment import Json

TALK = "talk.jsonl"
THINKING = ("thinking", "redacted_thinking")


@dataclass(frozen=True)
class Opening:
    """How a conversation begins: blocks of the system prompt, and the first words to Claude."""

    system: Sequence[Json]
    content: Sequence[Json]


def text(words: str) -> Json:
    """A block of text."""
    return {"type": "text", "text": words}


class Transcript:
    """The one writer of a conversation."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @classmethod
    def open(cls, path: Path, opening: Opening) -> Self:
        """Go on where it stopped, whatever `opening` says now, or begin with it.

        Raises CampaignError, or RecordError if the file is damaged.
        """
        lines = Lines.open(path)
        if not lines.records:
            lines.append({"role": "system", "content": list(opening.system)})
        if len(lines.records) == 1:
            lines.append({"role": "user", "content": list(opening.content)})
        roles = [record.get("role") for record in lines.records]
        if roles[:2] != ["system", "user"] or set(roles[2:]) - {"user", "assistant"}:
            raise RecordError(f"{path} should hold a conversation, but its roles are {roles}")
        return cls(lines)

    @property
    def system(self) -> list[Json]:
        found: list[Json] = self._lines.records[0]["content"]
        return found

    @property
    def lines(self) -> list[Json]:
        """All messages as they were."""
        return self._lines.records[1:]

    @property
    def answers(self) -> list[Json]:
        return [line for line in self.lines if line["role"] == "assistant"]

    @property
    def last(self) -> Json:
        return self.lines[-1]

    @property
    def mistakes(self) -> int:
        """Answers that could not be used."""
        return sum(line.get("mistakes", 0) for line in self.lines)

    @property
    def reminders(self) -> int:
        return sum(line.get("is_reminder", False) for line in self.lines)

    def since_answer(self) -> list[Json]:
        """What has been said after the last answer."""
        count = len(self.lines)
        for back in range(count):
            if self.lines[count - 1 - back]["role"] == "assistant":
                return self.lines[count - back :]
        return self.lines

    def messages(self) -> list[Json]:
        """The conversation as the API takes it: roles alternate, nothing is empty."""
        found: list[Json] = []
        for line in self.lines:
            content = sendable(line["content"]) if line["role"] == "assistant" else line["content"]
            if found and found[-1]["role"] == line["role"]:
                found[-1] = {**found[-1], "content": [*found[-1]["content"], *content]}
            elif content:
                found.append({"role": line["role"], "content": list(content)})
        return found

    def add_answer(self, answer: Json, request: int) -> None:
        """An answer of the API, by the number of its request."""
        kept = ("content", "stop_reason", "stop_details", "usage")
        message = {name: answer[name] for name in kept if answer.get(name) is not None}
        self._lines.append({"role": "assistant", **message, "request": request})

    def add(
        self, content: Sequence[Json], *, mistake: bool = False, reminder: bool = False
    ) -> None:
        """What Claude is told next; whether it is so because an answer could not be used."""
        counted = {"mistakes": int(mistake), "is_reminder": reminder}
        self._lines.append({"role": "user", "content": list(content), **counted})

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


def calls(content: Sequence[Json]) -> list[Json]:
    """The tool_use blocks of an answer."""
    return [block for block in sendable(content) if block["type"] == "tool_use"]


def sendable(content: Sequence[Json]) -> list[Json]:
    """As much of an answer as the API takes back.

    It refuses its own empty text, half a tool's input that is no object, and thoughts that lead
    to nothing: an answer that was cut may end so.
    """
    kept = [block for block in content if not is_empty(block)]
    while kept and kept[-1]["type"] in THINKING:
        kept.pop()
    return kept


def is_empty(block: Json) -> bool:
    if block["type"] == "text":
        return not block.get("text", "").strip()
    return block["type"] == "tool_use" and not isinstance(block.get("input"), dict)
