"""The trusted process beside a pilot: makes every attempt of the pilot, one after another.

Started by the pilot once; holds the data, adopts and kills whatever the programs leave behind.

    python -P -m autoresearch.node.referee CAMPAIGN-DIR TIER PILOT SCRATCH-DIR READER WRITER
"""

import contextlib
import json
import os
import selectors
import signal
import sys
from dataclasses import replace
from pathlib import Path

from autoresearch.errors import AutoresearchError, ConfigError, DataError
from autoresearch.experiment import Failure, Json
from autoresearch.layout import Layout, write_atomically
from autoresearch.node import attempt, kernel, sandbox
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.inputs import run_of
from autoresearch.node.progress import Claim
from autoresearch.node.runlog import LoggerProcess, RunLog, outbox, patience, sealed, wait_for
from autoresearch.node.wire import Message, PeerGone, ToParent
from autoresearch.settings import NodeSettings


class PilotGone(AutoresearchError):  # noqa: N818 - it reports a fact, not a fault
    """The pilot has died: end everything at once, and write nothing more."""


class Referee:
    """Answers a pilot's `attempt` messages with `done`, until the pilot closes the connection."""

    def __init__(self, layout: Layout, tier: str, pilot: str, scratch: Path, to: ToParent) -> None:
        self.layout = layout
        self.tier = tier
        self.pilot = pilot
        self.scratch = scratch
        self.connection = to
        self.settings = NodeSettings.read(layout.node_settings)
        self.told_to_stop = False
        self.parent = os.getppid()
        self.loggers: list[LoggerProcess] = []
        self.problem = ""
        self.output = outbox(self.settings, layout, scratch)

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self.note_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kernel.adopt_orphans()
        kernel.shut_out()
        node = self.open_node()
        with contextlib.suppress(PilotGone):
            self.answer_all(node)
            wait_for(self.loggers, patience(self.settings))

    def answer_all(self, node: attempt.Node | None) -> None:
        """Until the pilot says `stop` or has ended. Raises PilotGone if it dies in an attempt."""
        with contextlib.suppress(PeerGone):
            self.connection.send(Message("up"))
            while (message := self.next_message()).kind == "attempt":
                self.answer(node, Claim.from_message(message))

    def note_signal(self, *_: object) -> None:
        self.told_to_stop = True

    def open_node(self) -> attempt.Node | None:
        """None without data or the sandbox asked for: then every attempt fails by `problem`."""
        try:
            settings = replace(self.settings, sandbox=sandbox.choose(self.settings.sandbox))
            data = attempt.Held(Path(settings.data))
        except (ConfigError, DataError) as error:
            self.problem = str(error)
            return None
        return attempt.Node(
            self.layout,
            self.output,
            settings,
            settings.tiers[self.tier],
            self.tier,
            self.pilot,
            self.scratch,
            data,
            self.check,
            self.spare,
        )

    def answer(self, node: attempt.Node | None, claim: Claim) -> None:
        """Make one attempt, write its result, tell the pilot."""
        log = self.open_log()
        self.output.attempt(claim.attempt).mkdir(parents=True, exist_ok=True)
        if node is None:
            result, fit = claim.failed(self.pilot, Failure.node_failed, self.problem), False
            log.start(self.described(claim))
        else:
            result, fit = attempt.run(node, claim, log)
        text = json.dumps(result.to_json(), indent=1) + "\n"
        write_atomically(self.output.result(claim.attempt), text)
        if not log.is_heard:  # the logger has died, and this result may have no other way home
            log = self.open_log()
            log.start(self.described(claim))
        log.finish(result, sealed(self.settings, self.layout, text))
        self.connection.send(Message("done", {"fit": fit}))

    def described(self, claim: Claim) -> Json:
        """An attempt of which no more is known here than what it is."""
        return run_of(self.layout, self.settings.campaign, self.tier, claim.attempt, {})

    def open_log(self) -> RunLog:
        """For the next attempt, with a logger that listens, if the campaign is tracked at all."""
        self.loggers = [logger for logger in self.loggers if not logger.is_over]
        is_tracked = self.settings.tracker.kind == "wandb"
        if is_tracked and not any(logger.is_usable for logger in self.loggers[-1:]):
            self.loggers.append(LoggerProcess())
        return RunLog(self.loggers[-1] if is_tracked else None, self.settings, self.layout)

    def next_message(self) -> Message:
        """What the pilot says next. Raises PeerGone when it has ended."""
        with selectors.PollSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            while not self.connection.inbox:
                if self.connection.closed or os.getppid() != self.parent:
                    raise PeerGone("the pilot has ended")
                if selector.select(timeout=1.0):
                    self.connection.read()
        return self.connection.inbox.popleft()

    def check(self) -> None:
        """Called at every turn of an attempt. Raises PilotGone or AttemptFailed."""
        self.connection.read()
        if self.connection.closed or os.getppid() != self.parent:
            raise PilotGone("the pilot has died")
        if self.told_to_stop or self.connection.inbox:
            raise AttemptFailed(Failure.preempted, "the pilot was told to end")

    def spare(self) -> set[int]:
        return {logger.process.pid for logger in self.loggers}


def main() -> None:
    campaign, tier, pilot, scratch, reader, writer = sys.argv[1:]
    connection = ToParent(int(reader), int(writer))
    Referee(Layout(Path(campaign)), tier, pilot, Path(scratch), connection).serve()


if __name__ == "__main__":
    main()
