"""Edits of a program's text: exact search-and-replace blocks, as people and models write them.

Everything that does not apply is told at once, with what stands there instead.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoresearch.errors import SourceError

LONGEST = 1500  # characters of a message: a model reads it
NEAR = 0.7  # of a line that was looked for, in one that may have been meant
SHOWN = 6  # line numbers in a message


@dataclass(frozen=True)
class Edit:
    """`search` stands in the text exactly once; `replace` takes its place."""

    search: str
    replace: str


def from_json(records: object) -> list[Edit]:
    """Edits from a list of `{"search": ..., "replace": ...}`. Raises SourceError."""
    if not isinstance(records, list):
        raise SourceError(f"edits should be a list, but was {kind(records)}")
    return [one(record, f"edits[{place}]") for place, record in enumerate(records)]


def one(record: object, place: str) -> Edit:
    if not isinstance(record, dict) or record.keys() != {"search", "replace"}:
        said = sorted(map(str, record)) if isinstance(record, dict) else kind(record)
        raise SourceError(f"{place} should have the keys search and replace, but was {said}"[:300])
    for key in ("search", "replace"):
        if not isinstance(record[key], str):
            raise SourceError(f"{place}.{key} should be text, but was {kind(record[key])}")
    return Edit(record["search"], record["replace"])


def kind(value: object) -> str:
    words = {type(None): "null", bool: "true or false", str: "text", list: "a list"}
    return words.get(type(value), "an object" if isinstance(value, dict) else "a number")


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text after these edits, each applied to what the one before it left.

    A text whose lines end in CR LF keeps them. Raises SourceError that names every edit that does
    not apply: its text is not there or there more than once, or it changes nothing.
    """
    problems = list[str]()
    for place, edit in enumerate(edits):
        search, replace = (like(text, part) for part in (edit.search, edit.replace))
        problem = misfit(text, search, replace)
        if problem:
            problems.append(f"edits[{place}] {problem}")
        else:
            text = text.replace(search, replace)
    if problems:
        room = max(200, LONGEST // len(problems))
        told = "\n".join(p if len(p) <= room else p[: room - 1] + "…" for p in problems)
        raise SourceError(told if len(told) <= LONGEST else told[: LONGEST - 1] + "…")
    return text


def like(text: str, part: str) -> str:
    """A part of an edit with the text's own ends of lines."""
    if "\r\n" in text and "\r\n" not in part:
        return part.replace("\n", "\r\n")
    return part


def misfit(text: str, search: str, replace: str) -> str:
    """Why an edit does not apply, or ""."""
    if not search:
        return "should search for some text, but for none"
    places = list(found(text, search))
    if len(places) > 1:
        lines = ", ".join(str(line_of(text, at)) for at in places[:SHOWN])
        return (
            f"should find its text once, but it stands at {len(places)} places (lines {lines}); "
            "give more of the lines around it"
        )
    if not places:
        return f"should find its text, but it is not there{hint(text, search)}"
    return "changes nothing: search and replace are the same" if search == replace else ""


def found(text: str, search: str) -> Iterator[int]:
    """Where a text stands, overlapping places included."""
    at = text.find(search)
    while at >= 0:
        yield at
        at = text.find(search, at + 1)


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def hint(text: str, search: str) -> str:
    """What may have been meant: the lines that are most like it."""
    lines, wanted = text.splitlines(), search.splitlines()
    if not lines or not wanted:
        return ""
    sought = [line.split() for line in wanted]
    for start in range(len(lines) - len(wanted) + 1):
        if [line.split() for line in lines[start : start + len(wanted)]] == sought:
            there = "\n".join(lines[start : start + len(wanted)])
            return f"; lines {start + 1} on differ in white space alone:\n{there}"
    longest = max((line.strip() for line in wanted), key=len)
    shares = [share(longest, line) for line in lines]
    closest = max(range(len(lines)), key=lambda place: shares[place])
    if shares[closest] < NEAR:
        return "; read the program again"
    return f"; the closest line is {closest + 1}: {lines[closest].strip()[:200]!r}"


def share(part: str, line: str) -> float:
    """How much of a line that was looked for stands in another, in the same order."""
    blocks = difflib.SequenceMatcher(None, part, line, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(part))
