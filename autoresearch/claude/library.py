"""The campaign as a researcher reads it: never written to, read again when results may have come.

What stands in it is the journal's; files of experiments are read when they are asked for.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from autoresearch import config
from autoresearch.entry import Entry
from autoresearch.experiment import Attempt, Result
from autoresearch.history import History
from autoresearch.journal import replay, segments
from autoresearch.layout import Layout, read_json
from autoresearch.programs import Programs
from autoresearch.settings import Settings
from autoresearch.sources import Sources

FRESH_SECONDS = 5.0  # a history that was read within them is good enough
LOG_BYTES = 1 << 16  # of the end of a log: more is never shown


@dataclass
class Library:
    """What is known of a campaign, and where the rest lies."""

    layout: Layout
    settings: Settings
    programs: Programs
    known: History
    mark: tuple[str, int] = ("", 0)  # of the journal as it was read
    looked: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, root: Path) -> Self:
        """Raises an AutoresearchError if there is no campaign that can be read."""
        layout = Layout(root)
        mark = mark_of(layout)
        history = History.of(replay(layout.journal).events)
        start = config.from_yaml(layout.config.read_bytes())
        settings, _ = config.amend(start, history.amendments)
        return cls(layout, settings, Programs(Sources(layout.sources)), history, mark)

    @property
    def history(self) -> History:
        """As it is now, or was a few seconds ago."""
        if time.monotonic() - self.looked > FRESH_SECONDS:
            mark = mark_of(self.layout)
            if mark != self.mark:
                self.known, self.mark = History.of(replay(self.layout.journal).events), mark
            self.looked = time.monotonic()
        return self.known

    def expire(self) -> None:
        """Something has certainly happened: the history is read again when next asked for."""
        self.looked = float("-inf")

    def result(self, entry: Entry) -> Result | None:
        """The whole result of an experiment's last attempt; what the journal has, failing that."""
        record = read_json(self.layout.result(entry.current))
        try:
            return Result.from_json(record) if record else entry.result
        except (KeyError, TypeError, ValueError):
            return entry.result

    def log(self, attempt: Attempt) -> str:
        """The end of what a program printed; "" if there is no log."""
        path = self.layout.log(attempt)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def mark_of(layout: Layout) -> tuple[str, int]:
    """Something that changes whenever the journal grows."""
    newest = segments(layout.journal)[-1:]
    return (newest[0].name, newest[0].stat().st_size) if newest else ("", 0)
