"""What a controller shows while it runs: a live block in a terminal, plain lines elsewhere.

Redrawn when something has changed, at most twice a second; a log file gets a line per result.
"""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from autoresearch.campaign import Campaign, results
from autoresearch.report.summary import summarize
from autoresearch.report.table import live, progress_line
from autoresearch.report.view import View

SECONDS = 0.5


class Progress:
    """Pass `show` to `campaign.run` inside a `with` block."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.seen = -1
        self.drawn = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def show(self, campaign: Campaign) -> None:
        """Draw the campaign as it stands, if it is time to."""
        finished = results(campaign.history)
        is_due = time.monotonic() - self.drawn >= SECONDS
        if self.console.is_terminal and is_due:
            self.drawn = time.monotonic()
            self.live.update(live(self.view(campaign)), refresh=True)
        elif not self.console.is_terminal and finished != self.seen:
            self.seen = finished
            self.console.print(progress_line(self.view(campaign)), soft_wrap=True)

    @staticmethod
    def view(campaign: Campaign) -> View:
        return summarize(campaign.history, campaign.settings, campaign.sources)
