"""Holds one device for a while and runs the experiments of its tier, one after another.

    PYTHONPATH=CAMPAIGN/node python -P -m autoresearch.node.pilot CAMPAIGN TIER SECONDS NAME

It lives for SECONDS (0: as long as there is work) and claims nothing that would last longer. It
claims, the referee it starts does the rest. SIGTERM ends it: the running attempt is recorded as
preempted. It says when it goes home; one that has not said so has died. A name has one life: Slurm
may start a job a second time, whose first life others have taken for dead. Small on purpose: it
must survive whatever happens beside it.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from autoresearch.errors import UserError
from autoresearch.experiment import Attempt, Failure, Result
from autoresearch.layout import Layout, link_once, write_atomically
from autoresearch.node import kernel, runlog
from autoresearch.node.inputs import run_of
from autoresearch.node.progress import Claim
from autoresearch.node.scratch import Scratch
from autoresearch.node.wire import Message, PeerGone, ToChild, connect
from autoresearch.process import Identity
from autoresearch.settings import NodeSettings

STOP_PATIENCE = 15.0  # seconds the referee has to end an attempt when we are told to end
END_PATIENCE = 15.0  # seconds the referee has to go home
SCHEMA = 1  # of a claim and of a pilot's record
DEATHS_LIMIT = 3  # referees in a row that die: then it is the node


class RefereeProcess:
    """The referee as the pilot sees it: a process that takes attempts, or has died."""

    def __init__(self, layout: Layout, tier: str, name: str, scratch: str) -> None:
        self.connection, theirs = connect()
        arguments = (str(layout.root), tier, name, scratch, *map(str, theirs))
        self.process = kernel.launch(
            (sys.executable, "-P", "-m", "autoresearch.node.referee", *arguments),
            os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            signal.SIGTERM,  # not SIGKILL: it must take its own children along
            pass_fds=theirs,
        )
        for end in theirs:
            os.close(end)

    def send(self, message: Message) -> None:
        with contextlib.suppress(PeerGone):  # its death shows at the next look
            self.connection.send(message)

    @property
    def has_died(self) -> bool:
        return self.connection.closed and not self.connection.inbox

    def epitaph(self) -> str:
        """Why it died; only for one that has."""
        code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"the referee {how}"

    def end(self, patience: float = END_PATIENCE) -> None:
        """Let it go home; afterwards nothing it started is left."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.process.kill()
        self.process.wait()
        kernel.kill_all_but(())


class Pilot:
    """One pilot's life. `told_to_stop` once a signal has come."""

    def __init__(self, layout: Layout, tier: str, life: float, name: str, scratch: str) -> None:
        self.layout = layout
        self.tier = tier
        self.life = life
        self.name = name
        self.scratch = scratch
        self.node_settings = NodeSettings.read(layout.node_settings)
        self.settings = self.node_settings.pilot
        self.output = runlog.outbox(self.node_settings, layout, Path(scratch))
        self.identity = asdict(Identity.mine())
        self.began = time.monotonic()
        self.longest = 0.0  # seconds that an attempt has taken
        self.claimed = 0
        self.deaths = 0
        self.is_fit = True
        self.told_to_stop = False
        self.wake, self.waker = socket.socketpair()

    def run(self) -> None:
        """Claim and run until there is nothing to do, or no more is allowed."""
        self.listen_to_signals()
        kernel.adopt_orphans()
        record = {
            "schema": SCHEMA,
            "pilot": self.name,
            "tier": self.tier,
            "started": time.time(),
            **self.identity,
        }
        if not link_once(self.layout.pilot(self.name), json.dumps(record) + "\n", self.name):
            return  # its second life
        self.hire()
        try:
            self.work()
        finally:
            self.referee.end(END_PATIENCE + runlog.patience(self.node_settings))
        if self.deaths < DEATHS_LIMIT:
            record |= {"ended": time.time(), "claimed": self.claimed}
            write_atomically(self.layout.pilot(self.name), json.dumps(record) + "\n")

    def listen_to_signals(self) -> None:
        self.waker.setblocking(False)
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        for told in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):  # USR2: submitit's time-out
            signal.signal(told, self.note_signal)

    def note_signal(self, *_: object) -> None:
        self.told_to_stop = True

    def hire(self) -> None:
        """Start a referee and wait until it has verified the data: no attempt pays for that."""
        self.referee = RefereeProcess(self.layout, self.tier, self.name, self.scratch)
        if self.await_message() is None:
            self.deaths += 1

    def work(self) -> None:
        idle_since = time.monotonic()
        while not self.is_over():
            if self.referee.has_died:
                self.referee.end()
                self.hire()
                continue
            claim = self.claim_next()
            if claim is not None:
                self.serve(claim)
                idle_since = time.monotonic()
                self.longest = max(self.longest, idle_since - claim.clock)
            elif time.monotonic() - idle_since > self.settings.idle_seconds:
                return
            else:
                self.pause(self.settings.poll_seconds)

    def is_over(self) -> bool:
        limit = self.settings
        return (
            self.told_to_stop
            or not self.is_fit
            or self.deaths >= DEATHS_LIMIT
            or 0 < limit.experiments <= self.claimed
            or 0 < self.life <= time.monotonic() - self.began + self.longest
            or self.layout.drain.exists()
        )

    def pause(self, seconds: float) -> None:
        select.select([self.wake], [], [], seconds)

    def claim_next(self) -> Claim | None:
        """The first attempt in line that nobody else has; None if there is none."""
        for entry, attempt in self.layout.queued(self.tier):
            claim = self.claim(entry, attempt)
            if claim is not None:
                self.claimed += 1
                return claim
        return None

    def claim(self, entry: Path, attempt: Attempt) -> Claim | None:
        """Claim by creating one file that can be created once; None if another pilot has.

        The entry is then stale whoever won. A link, unlike an exclusive open, is complete at once.
        """
        now = time.time()
        who = {"schema": SCHEMA, "pilot": self.name, "tier": self.tier, **self.identity}
        content = {**who, "claimed": now}
        try:
            waited = now - entry.stat().st_mtime
            folder = self.layout.attempt(attempt)
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:  # taken, or withdrawn, while we looked
            return None
        won = link_once(self.layout.claim(attempt), json.dumps(content) + "\n", self.name)
        entry.unlink(missing_ok=True)
        return Claim(attempt, now, time.monotonic(), max(0.0, waited)) if won else None

    def serve(self, claim: Claim) -> None:
        """Have the referee make an attempt; whatever happens, there is a result at the end."""
        if not self.told_to_stop:
            self.referee.send(claim.to_message())
            done = self.await_message()
            if done is not None:
                self.is_fit, self.deaths = bool(done.fields["fit"]), 0
                return
        if self.told_to_stop:
            self.stop_referee()
            self.write_failure(claim, Failure.preempted, "the pilot was told to end")
        else:
            self.deaths += 1
            self.write_failure(claim, Failure.node_failed, self.referee.epitaph())

    def await_message(self) -> Message | None:
        """What the referee says next; None if it has died, or we are told to stop."""
        while not self.told_to_stop and not self.referee.has_died:
            if self.referee.connection.inbox:
                return self.referee.connection.inbox.popleft()
            ends: list[ToChild | socket.socket] = [self.referee.connection, self.wake]
            select.select(ends, [], [])
            self.referee.connection.read()
        return None

    def stop_referee(self) -> None:
        """Have the running attempt end as preempted; the referee writes that itself, if it can."""
        self.referee.send(Message("stop"))
        until = time.monotonic() + STOP_PATIENCE
        while not self.referee.connection.inbox and not self.referee.has_died:
            patience = until - time.monotonic()
            if patience <= 0:
                break
            select.select([self.referee.connection], [], [], patience)
            self.referee.connection.read()

    def write_failure(self, claim: Claim, failure: Failure, reason: str) -> None:
        """Answer a claim that the referee has left open."""
        path = self.output.result(claim.attempt)
        if not path.exists():
            result = claim.failed(self.name, failure, reason)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(result.to_json(), indent=1) + "\n")
        if runlog.is_carried(self.node_settings):  # the referee may not have sent it any more
            self.send(claim, path.read_text(encoding="utf-8"))

    def send(self, claim: Claim, text: str) -> None:
        """Have W&B carry a result, the text of a result.json."""
        result = Result.from_json(json.loads(text))
        logger = runlog.LoggerProcess()
        log = runlog.RunLog(logger, self.node_settings, self.layout)
        campaign = self.node_settings.campaign
        log.start(run_of(self.layout, campaign, self.tier, claim.attempt, {"pilot": self.name}))
        log.finish(result, runlog.sealed(self.node_settings, self.layout, text))
        runlog.wait_for([logger], runlog.patience(self.node_settings))


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Ours while we live; what pilots that were killed have left here goes."""
    for orphan in Scratch.orphans():
        orphan.remove()
    scratch = Scratch.create()
    try:
        yield str(scratch.path)
    finally:
        scratch.remove()


@contextlib.contextmanager
def failures_in_one_line() -> Iterator[None]:
    try:
        yield
    except (OSError, UserError) as error:
        sys.exit(f"pilot: {error}")


def main() -> None:
    campaign, tier, life, name = sys.argv[1:]
    with failures_in_one_line(), temporary_folder() as scratch:
        pilot = Pilot(Layout(Path(campaign)), tier, float(life), name, scratch)
        pilot.run()
        if pilot.deaths >= DEATHS_LIMIT:
            sys.exit(f"pilot: {pilot.referee.epitaph()}, {pilot.deaths} times in a row")


if __name__ == "__main__":
    main()
