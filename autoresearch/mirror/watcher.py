"""Asks W&B for a controller: `python -P -m autoresearch.mirror.watcher CAMPAIGN`.

Every `tracker.poll_seconds` it lists what has changed, takes in results where W&B carries them,
sends runs that nodes could not send, and notes what it found in control/wandb.json. Every so often
it compares W&B with the journal, and sends again what is missing there. When its input ends, the
controller has: one last turn, and it ends too.
"""

import json
import os
import select
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from autoresearch.errors import CampaignError
from autoresearch.experiment import Json, plain
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout, write_atomically
from autoresearch.mirror.courier import KEPT
from autoresearch.mirror.noted import plural
from autoresearch.mirror.receipt import Receipts
from autoresearch.mirror.reconcile import finished, is_number, reconcile, sentences
from autoresearch.mirror.resend import resend
from autoresearch.mirror.seen import Seen
from autoresearch.mirror.sync import GROWING_SECONDS, being_made, forget, pending, upload
from autoresearch.mirror.turn import Busy
from autoresearch.settings import NodeSettings
from autoresearch.tracking import server
from autoresearch.tracking.scratch import isolate

SCHEMA = 1  # of control/wandb.json; see docs/formats.md
LONGEST_PAUSE = 300.0  # seconds between two questions to a server that does not answer
COMPARE_SECONDS = 300.0  # between two comparisons of W&B with the journal
FRESH_SECONDS = 120.0  # since its end a run may be on its way from its node
LAST_SECONDS = 10.0  # the same when all pilots have gone home
TRIES = 3  # of sending a run again that is never as it should be
DIFFERENCES = 20  # that are noted
NICENESS = 10
# What the server and those who can log in there may write is no reason to stop.
FAULTS = (CampaignError, OSError, ArithmeticError, ValueError, TypeError, AttributeError)
SHOWN = ("_step", "loss", "tokens_per_second", "mfu", "memory_gb")  # of a run that is running


class Watcher:
    """One campaign's."""

    def __init__(self, layout: Layout) -> None:
        """Raises OSError if the campaign has no node settings, or no key where it needs one."""
        self.layout = layout
        self.settings = NodeSettings.read(layout.node_settings)
        is_carried = self.settings.results == "wandb"
        self.receipts = Receipts(layout, self.settings.campaign) if is_carried else None
        self.listing: Any = None
        self.runs: dict[str, Seen] = {}
        self.polled = 0.0  # when the last question was asked that was answered in full
        self.failures = 0
        self.problem = ""
        self.compared = time.monotonic()
        self.differences: list[str] = []
        self.told: Counter[str] = Counter()  # how often a run was sent again

    def turn(self, *, is_last: bool = False) -> None:
        """Ask, take in, send, note."""
        began = time.time()
        try:
            self.ask()
        except FAULTS as error:
            self.fail(error)
            self.failures += 1
            self.hang_up()
        else:
            self.problem, self.failures, self.polled = "", 0, began
            if self.receipts:
                self.note()  # somebody waits for that
            self.try_to_mend(is_last=is_last)
        self.note()

    def fail(self, error: Exception) -> None:
        what = "" if isinstance(error, (CampaignError, OSError)) else f"{type(error).__name__}: "
        self.problem = f"{what}{error}"

    def try_to_mend(self, *, is_last: bool) -> None:
        """What W&B says has been taken in: that it cannot be mended now changes nothing."""
        try:
            self.mend(is_last=is_last)
        except FAULTS as error:
            self.fail(error)

    def ask(self) -> None:
        """Raises CampaignError if the server does not answer."""
        if self.listing is None:
            self.listing = open_listing(self.settings)
        found = self.listing.poll()
        self.runs = dict(self.listing.seen)
        if self.receipts:
            refused = {id: self.runs[id] for id in self.receipts.refused if id in self.runs}
            for seen in {**refused, **found}.values():
                self.receipts.take(seen)

    def mend(self, *, is_last: bool) -> None:
        """Have W&B hold what the journal does. Raises CampaignError if the server does not answer.

        What has just ended is on its way. What is sent by somebody else now is left to them.
        """
        is_due = is_last or time.monotonic() - self.compared > COMPARE_SECONDS
        if not is_due and not pending(self.layout):
            return
        history = History.of(replay(self.layout.journal).events)
        try:
            self.send(history, LAST_SECONDS if is_last else GROWING_SECONDS)
            if is_due:
                self.compare(history, time.time() - (LAST_SECONDS if is_last else FRESH_SECONDS))
        except Busy:
            return

    def send(self, history: History, growing: float = GROWING_SECONDS) -> None:
        """What nodes have left here, unless it may have grown in so many seconds."""
        making, tracker = being_made(history), self.settings.tracker
        outcome = upload(
            self.layout, tracker, self.listing, live=False, making=making, growing=growing
        )
        if outcome.failed:
            runs = plural(len(outcome.failed), "run", "runs")
            self.problem = f"{runs} could not be sent: {outcome.complaint}"

    def compare(self, history: History, before: float) -> None:
        """Send again what W&B lacks or has otherwise, a few times at most."""
        self.compared = time.monotonic()
        findings = reconcile(history, self.listing.all(), before)
        self.differences = list(sentences(findings))
        is_here = forget(self.layout, findings.missing)
        known = finished(history)
        again = {id: known[id] for id in findings.to_send if self.told[id] < TRIES}
        self.told.update(again)
        resend(self.layout, self.settings, self.listing, again)
        if is_here:
            self.send(history)

    def hang_up(self) -> None:
        if self.listing is not None:
            self.listing.close()
            self.listing = None

    def note(self) -> None:
        """Leave word for the controller, and for `status`."""
        said: Json = {
            "schema": SCHEMA,
            "written": time.time(),
            "polled": self.polled,
            "problem": plain(self.problem, 300),
            "states": dict(Counter(seen.state for seen in self.runs.values())),
            "running": {seen.name: shown(seen) for seen in self.runs.values() if seen.is_open},
            "unsent": len(pending(self.layout)),
            "differences": self.differences[:DIFFERENCES],
            "refused": self.receipts.refused if self.receipts else {},
        }
        write_atomically(self.layout.watched, json.dumps(said, indent=1) + "\n")

    @property
    def pause(self) -> float:
        """Seconds until the next turn: ever longer while nobody answers."""
        return float(min(LONGEST_PAUSE, self.settings.tracker.poll_seconds * 2**self.failures))


def open_listing(settings: NodeSettings) -> Any:
    """Ask whether the server is there before the client is loaded, which weighs 100 MB."""
    account = server.ask(server.address(settings.tracker))
    if account.problem:
        raise CampaignError(f"W&B should answer, but {account.problem}")
    from autoresearch.mirror.listing import Listing  # noqa: PLC0415

    return Listing(settings.tracker, settings.campaign, account)


def shown(seen: Seen) -> dict[str, float]:
    """The numbers of a run that people want to see while it runs."""
    found = {name: seen.summary.get(name) for name in SHOWN}
    return {name: float(value) for name, value in found.items() if is_number(value)}


def main(root: str) -> None:
    os.nice(NICENESS)
    with tempfile.TemporaryDirectory(prefix="autoresearch-watcher-") as folder:
        isolate(Path(folder), keep=(*KEPT, "WANDB_BASE_URL"))
        watcher = Watcher(Layout(Path(root)))
        is_last = False
        while not is_last:
            watcher.turn()
            ready, _, _ = select.select([sys.stdin], [], [], watcher.pause)
            is_last = bool(ready)
        watcher.turn(is_last=True)
        watcher.hang_up()


if __name__ == "__main__":
    main(sys.argv[1])
