"""Text that somebody else wrote, made fit for a prompt: it can be read, and commands nothing.

Programs, their logs, descriptions and notes may hold anything. All of it that Claude is shown
stands between <data> tags, which the text itself can neither open nor close.
"""

import re
from enum import StrEnum

# `n < data` is a comparison in a program, and no tag.
TAG = re.compile(r"<(?=data|\s*/\s*data)", re.IGNORECASE)
DEFUSED = "‹"
CUT = "…"


class Kept(StrEnum):
    """Which end of a text that is too long is shown."""

    head = "head"
    tail = "tail"


def data(source: str, text: str, limit: int, kept: Kept = Kept.head) -> str:
    """A text between tags that say where it comes from, at most `limit` characters of it."""
    shown = TAG.sub(DEFUSED, cut(visible(text), limit, kept))
    return f'<data source="{source}">\n{shown}\n</data>'


def bare(text: str) -> str:
    """A text without the tags around it."""
    return re.sub(r'^<data source="[^"]*">\n|\n</data>$', "", text)


def visible(text: str) -> str:
    """Without what nobody can see: control characters, marks of direction, halves of surrogates."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def cut(text: str, limit: int, kept: Kept = Kept.head) -> str:
    """At most `limit` characters, the mark of the cut included."""
    if len(text) <= limit:
        return text
    room = max(0, limit - len(CUT))
    return text[:room] + CUT if kept is Kept.head else CUT + text[len(text) - room :]


def line(text: str, limit: int) -> str:
    """A text on one line, for a cell of a table."""
    return cut(" ".join(visible(" ".join(text.split())).split()), limit)
