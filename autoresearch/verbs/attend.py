"""What `run` and `resume` share: a controller in the foreground, from its first turn to the report.

SIGINT (Ctrl-C) once finishes what runs and starts nothing; twice ends what runs. SIGTERM and
SIGUSR1 leave at once: pilots work on through the queue, and `resume` goes on. After SIGUSR1, with
which Slurm warns a job that its time is up, the exit code says that there is more to do.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from rich.text import Text

from autoresearch import campaign as story
from autoresearch.campaign import Campaign
from autoresearch.report.live import Progress
from autoresearch.report.publish import publish
from autoresearch.report.summary import summarize
from autoresearch.report.table import Display
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer, status_json, unsent

UNFINISHED = 75  # EX_TEMPFAIL: start us again
JOB = "A job of slurm/campaign.sbatch puts itself into the queue again"


class Leave(BaseException):
    """Let go of the campaign without ending it, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def attend(campaign: Campaign, *, as_json: bool) -> int:
    """Run the campaign to its end, or as far as a signal lets it; return the exit code."""
    code = stay(campaign)
    if campaign.history.ended:
        view = summarize(campaign.history, campaign.settings, campaign.sources)
        publish(view, Display(stderr=as_json))
    left = find.read(str(campaign.layout.root))
    for line in unsent(left) if campaign.history.ended else ():
        tell(line)
    if as_json:
        answer(status_json(left))
    return code


def stay(campaign: Campaign) -> int:
    """Look after the campaign until it ends or we must leave; return the exit code."""
    root = campaign.layout.root
    over = f"has ended ({campaign.history.ended}); `autoresearch resume` goes on"
    tell(f"campaign {root}{' ' + over if campaign.history.ended else ''}")
    try:
        with Progress() as progress:
            screen = Screen(progress)
            with signals(campaign, screen):
                reason = story.run(campaign, screen.show)
    except Leave as leave:
        reason = campaign.history.ended
        if not reason:
            how = JOB if leave.code == UNFINISHED else f"autoresearch resume {root}"
            pilots = "pilots go on" if campaign.history.live_pilots() else "no pilot was at work"
            tell(f"left; {pilots}. {how}")
            return leave.code
    finally:
        campaign.record.journal.close()
        campaign.lease.release()
    return 1 if reason.startswith("the baseline failed") else 0


def tell(line: str) -> None:
    with suppress(BrokenPipeError):
        print(line, file=sys.stderr)


@dataclass
class Screen:
    """A campaign's progress, and notices that a signal may bring at any moment.

    A notice is never printed in the middle of a drawing, but right after it.
    """

    progress: Progress
    is_busy: bool = False
    notices: list[str] = field(default_factory=list)

    def show(self, campaign: Campaign) -> None:
        self.is_busy = True
        self.progress.show(campaign)
        self.tell()

    def notify(self, notice: str) -> None:
        self.notices.append(notice)
        if not self.is_busy:
            self.tell()

    def tell(self) -> None:
        self.is_busy = True
        while self.notices:
            self.progress.console.print(Text(self.notices.pop(0)), soft_wrap=True)
        self.is_busy = False


@contextmanager
def signals(campaign: Campaign, screen: Screen) -> Iterator[None]:
    """Handle signals as this module says, then put the old handlers back."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        at_once = bool(campaign.stopping)
        runs = find.running(campaign.history)
        screen.notify(
            f"ending {runs} now" if at_once else f"finishing {runs}; Ctrl-C again ends them now"
        )
        story.stop(campaign, "stopped by Ctrl-C", at_once=at_once)

    def leave(number: int, _frame: FrameType | None) -> None:
        raise Leave(UNFINISHED if number == signal.SIGUSR1 else 0)

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: leave, signal.SIGUSR1: leave}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
