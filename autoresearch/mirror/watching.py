"""The process beside a controller that asks W&B, as the controller sees it.

`autoresearch.mirror.watcher` is started, never imported: W&B's client weighs more than a
controller may. It answers by files: results where others would be, the rest in control/wandb.json.
"""

import subprocess
import sys
import time
from contextlib import suppress

from autoresearch.experiment import Json
from autoresearch.layout import Layout
from autoresearch.mirror.noted import moment, noted
from autoresearch.settings import Settings

COMMAND = (sys.executable, "-P", "-m", "autoresearch.mirror.watcher")
RESTART_SECONDS = 60.0  # between two starts of a watcher that dies
MARGIN_SECONDS = 15.0  # from a run's end until the server surely lists what it holds
CLOSE_SECONDS = 120.0  # for what is left to send when a campaign has ended
LOOK_SECONDS = 45.0  # for the first answer, where a controller only looks in


class Watching:
    """Starts a watcher where the campaign is tracked; everything else is a no-op."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        tracker = settings.tracker
        self.layout = layout
        self.is_wanted = tracker.kind == "wandb" and tracker.mode != "offline"
        self.is_needed = settings.cluster.results == "wandb"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = -RESTART_SECONDS

    def tend(self) -> None:
        """Have one that lives."""
        is_due = time.monotonic() - self.started > RESTART_SECONDS
        if self.is_wanted and self.has_ended and is_due:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                (*COMMAND, str(self.layout.root)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a user's Ctrl-C is not for it
            )

    def has_all(self, end: float) -> bool:
        """Whether everything that nodes sent before `end` (Unix time) has been taken in here."""
        if not self.is_needed:
            return True
        return moment(self.said(), "polled") > end + MARGIN_SECONDS

    def said(self) -> Json:
        """What the watcher last wrote down."""
        return noted(self.layout) if self.is_wanted else {}

    def look(self) -> None:
        """Have it ask once, now, and wait for that."""
        began = time.time()
        self.tend()
        while self.is_wanted and time.time() - began < LOOK_SECONDS:
            if moment(self.said(), "written") >= began or self.has_ended:
                return
            time.sleep(0.2)

    @property
    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Let it send what is left, and end. Whatever happens here, it ends by itself."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
            self.process.terminate()  # what it was sending, the next one sends
            self.process = None
