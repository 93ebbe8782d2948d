"""What a controller shows while it runs: a live block in a terminal, plain lines elsewhere.

A terminal is redrawn at most twice a second; a log file gets a line when an experiment starts or
ends, and one a minute while none does.
"""

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from autoresearch.asking import results
from autoresearch.campaign import Campaign
from autoresearch.experiment import State
from autoresearch.mirror.noted import training
from autoresearch.report.summary import summarize
from autoresearch.report.table import Display, live, notices, progress_line
from autoresearch.report.view import View

SECONDS = 0.5  # between two drawings in a terminal, at least
SILENCE = 60.0  # seconds between two lines elsewhere, at most


class Progress:
    """Pass `show` to `campaign.run` inside a `with` block."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Display(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.seen: tuple[object, ...] | None = None
        self.drawn = -math.inf

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
        now = time.monotonic()
        if self.console.is_terminal:
            if now - self.drawn >= SECONDS:
                self.drawn = now
                self.live.update(live(self.view(campaign)), refresh=True)
        elif position(campaign) != self.seen or now - self.drawn >= SILENCE:
            self.seen, self.drawn = position(campaign), now
            view = self.view(campaign)
            self.console.print(progress_line(view), *notices(view), sep="\n", soft_wrap=True)

    @staticmethod
    def view(campaign: Campaign) -> View:
        known = campaign.noticed or []
        now = training(campaign.watching.said())
        where = (campaign.history, campaign.settings, campaign.sources)
        return summarize(*where, notices=known, training=now)


def position(campaign: Campaign) -> tuple[object, ...]:
    """What deserves a line when it changes: the finished, the running, whether all is over, and
    what the cluster lets people know."""
    history = campaign.history
    running = sum(entry.state is State.running for entry in history.active.values())
    return results(history), running, bool(history.ended), *(campaign.noticed or [])
