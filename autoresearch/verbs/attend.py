"""What `run` and `resume` share: a controller in the foreground, from its first turn to the report.

SIGINT (Ctrl-C) once finishes what runs and starts nothing; twice ends what runs. SIGTERM leaves at
once: pilots work on through the queue, and `resume` goes on.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autoresearch import campaign as story
from autoresearch.campaign import Campaign
from autoresearch.report.live import Progress
from autoresearch.report.publish import publish
from autoresearch.report.summary import summarize


class Leave(Exception):  # noqa: N818 - a request, not an error
    """SIGTERM came: let go of the campaign without ending it."""


def attend(campaign: Campaign) -> int:
    """Run the campaign to its end; return the exit code."""
    try:
        with signals(campaign), Progress() as progress:
            reason = story.run(campaign, progress.show)
    except Leave:
        print(f"left; pilots go on. autoresearch resume {campaign.layout.root}", file=sys.stderr)
        return 0
    finally:
        campaign.record.journal.close()
        campaign.lease.release()
    publish(summarize(campaign.history, campaign.settings, campaign.sources))
    return 1 if reason.startswith("the baseline failed") else 0


@contextmanager
def signals(campaign: Campaign) -> Iterator[None]:
    """Handle SIGINT and SIGTERM as this module says, then put the old handlers back."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        story.stop(campaign, "stopped by Ctrl-C", at_once=bool(campaign.stopping))

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise Leave

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
