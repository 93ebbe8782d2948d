"""The trusted process beside a pilot: makes every attempt of the pilot, one after another.

Started by the pilot once; holds the data, adopts and kills whatever the programs leave behind.

    python -P -m autoresearch.node.referee CAMPAIGN-DIR TIER PILOT SCRATCH-DIR SOCKET
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

from autoresearch.errors import AutoresearchError, DataError
from autoresearch.experiment import Failure, Result
from autoresearch.layout import Layout, write_atomically
from autoresearch.node import attempt, kernel
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.progress import Claim
from autoresearch.node.runlog import RunLog, wait_for
from autoresearch.node.wire import Connection, Message, PeerGone
from autoresearch.settings import NodeSettings

LOGGER_PATIENCE = 10.0  # seconds for the last loggers, when the pilot has ended


class PilotGone(AutoresearchError):  # noqa: N818 - it reports a fact, not a fault
    """The pilot has died: end everything at once, and write nothing more."""


class Referee:
    """Answers a pilot's `attempt` messages with `done`, until the pilot closes the connection."""

    def __init__(
        self, layout: Layout, tier: str, pilot: str, scratch: Path, to: Connection
    ) -> None:
        self.layout = layout
        self.tier = tier
        self.pilot = pilot
        self.scratch = scratch
        self.connection = to
        self.settings = NodeSettings.read(layout.node_settings)
        self.told_to_stop = False
        self.parent = os.getppid()
        self.logs: list[RunLog] = []
        self.problem = ""

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self.note_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kernel.adopt_orphans()
        node = self.open_node()
        with contextlib.suppress(PilotGone):
            self.answer_all(node)
            wait_for(self.logs, LOGGER_PATIENCE)

    def answer_all(self, node: attempt.Node | None) -> None:
        """Until the pilot says `stop` or has ended. Raises PilotGone if it dies in an attempt."""
        with contextlib.suppress(PeerGone):
            self.connection.send(Message("up"))
            while (message := self.next_message()).kind == "attempt":
                self.answer(node, Claim.from_message(message))

    def note_signal(self, *_: object) -> None:
        self.told_to_stop = True

    def open_node(self) -> attempt.Node | None:
        """None if the data is unusable: then every attempt fails by `problem`."""
        try:
            data = attempt.Held(Path(self.settings.data))
        except DataError as error:
            self.problem = str(error)
            return None
        return attempt.Node(
            self.layout,
            self.settings,
            self.settings.tiers[self.tier],
            self.tier,
            self.pilot,
            self.scratch,
            data,
            self.check,
            self.spare,
        )

    def answer(self, node: attempt.Node | None, claim: Claim) -> None:
        """Make one attempt, write its result, tell the pilot."""
        if node is None:
            result, fit = claim.failed(self.pilot, Failure.node_failed, self.problem), False
            self.write(claim, result)
        else:
            log = RunLog.open(self.settings.tracker)
            self.logs = [*(log for log in self.logs if not log.is_over), log]
            result, fit = attempt.run(node, claim, log)
            self.write(claim, result)
            log.finish(result)
        self.connection.send(Message("done", {"fit": fit}))

    def write(self, claim: Claim, result: Result) -> None:
        text = json.dumps(result.to_json(), indent=1) + "\n"
        write_atomically(self.layout.result(claim.attempt), text)

    def next_message(self) -> Message:
        """What the pilot says next. Raises PeerGone when it has ended."""
        with selectors.DefaultSelector() as selector:
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
        return {log.process.pid for log in self.logs if log.process}


def main() -> None:
    campaign, tier, pilot, scratch, descriptor = sys.argv[1:]
    connection = Connection(socket.socket(fileno=int(descriptor)))
    Referee(Layout(Path(campaign)), tier, pilot, Path(scratch), connection).serve()


if __name__ == "__main__":
    main()
