"""The untrusted processes of one attempt: started, listened to, bounded, killed.

`Children` is one event loop for all of them. Whatever a child does (dies, hangs, floods, lies)
becomes an AttemptFailed with a reason; nothing of it can stop the referee or outlive the loop.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

from autoresearch.experiment import Failure
from autoresearch.node import kernel
from autoresearch.node.failure import AttemptFailed, SickNode
from autoresearch.node.lookups import Lookups
from autoresearch.node.output import Output
from autoresearch.node.sandbox import Command
from autoresearch.node.wire import DATA_LIMIT, READ, Message, PeerGone, ToChild, WireError, connect
from autoresearch.settings import Limits

TICK = 0.25  # seconds between two looks at memory, exits and interruptions
LOOK_SHARE = 0.01  # of our time goes into looking at processes and memory ...
LOOK_LIMIT = 3.0  # ... or more, for between two looks there are at most so many seconds
PAUSE_PATIENCE = 10.0  # seconds until a child that is stopped has stopped
PAUSE_TICK = 0.02  # seconds between two looks at that
CLOSED_PATIENCE = 30.0  # seconds between a child's last word and its end: torch dies slowly
FILES = ("compiled", "weights")  # in memory, in harness.Referee's order: a child fills and seals
INBOX_LIMIT = 8  # messages nobody has asked for yet
# Errors that may have come of it that a child can open no file any more.
WITHOUT_FILES = ("PermissionError", "ImportError", "ModuleNotFoundError")
# What a child may claim about its own end; the other failures are the referee's to find.
CLAIMABLE = (Failure.crashed, Failure.out_of_memory, Failure.diverged)


@dataclass
class Child:
    """One running child: the program or a scorer."""

    name: str  # as a reason calls it: "the program"
    process: subprocess.Popen[bytes]
    connection: ToChild
    pipe: int  # what it prints; -1 once closed
    files: dict[str, int]  # by the names of FILES: our own descriptors
    lookups: Lookups
    output: Output = field(default_factory=Output)
    peak: int = 0  # bytes
    silent_since: float = 0.0  # when its connection closed although it lives
    is_informed: bool = False  # it has weights, and may have found that they are bad
    slept: dict[str, int] = field(default_factory=dict)  # kernel.work, when it was put to sleep
    greeted: bool = False  # it has said `hello`, which it does before it reads train.py
    temporary: tuple[str, ...] = ()  # folders in memory behind its wall; none without one

    @property
    def inbox(self) -> deque[Message]:
        return self.connection.inbox

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the child and all it has started."""
        return (self.process.pid, *kernel.tree(self.process.pid))

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below 0 if a signal has ended it."""
        code = self.process.poll()
        return 128 - code if self.temporary and code is not None and code > 128 else code


class Children:
    """All children of an attempt. Leaving the `with` block kills them and all they started.

    `check` is called at every turn, and raises what ends the attempt from outside; `spare` names
    other children of this process, which are left alone; `on_log` takes their log messages. Of the
    memory that a process shares, `given` bytes are ours: the training tokens.
    """

    def __init__(
        self,
        limits: Limits,
        check: Callable[[], None],
        spare: Callable[[], set[int]],
        on_log: Callable[[Child, Message], None],
        given: int = 0,
    ) -> None:
        self.limits = limits
        self.given = given
        self.check = check
        self.spare = spare
        self.on_log = on_log
        self.selector = selectors.PollSelector()  # epoll is bounded for all of a user
        self.alive: list[Child] = []
        self.is_clean = True  # nothing of an attempt is left
        self.dying: list[subprocess.Popen[bytes]] = []  # killed, and not yet waited for
        self.outputs: list[tuple[str, Output]] = []
        self.oom_kills = kernel.oom_kills()
        self.next_look = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in list(self.alive):
            self._end(child)
        self._bury()
        self.is_clean &= kernel.kill_all_but(self.spare())
        self.selector.close()

    @property
    def file_bytes(self) -> int:
        return int(self.limits.memory_gb * 2**30)

    def start(self, name: str, command: Command, scratch: Path) -> Child:
        """Start a harness; the numbers of its descriptors are added to the command's arguments."""
        connection, theirs = connect()
        pipe, printed = os.pipe()
        files = {name: kernel.memory_file(name) for name in FILES}
        inherited = (*theirs, *files.values())
        lookups = Lookups()
        asking = lookups.end if command.temporary else 0  # without a wall it could write it down
        try:
            process = kernel.launch(
                (*command.argv, *map(str, inherited)),
                command.env,
                signal.SIGKILL,
                file_bytes=self.file_bytes,
                lookups=asking,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                cwd=scratch,
                pass_fds=(*inherited, asking),
            )
        except OSError:
            lookups.close()
            raise
        finally:
            for end in (printed, *theirs):
                os.close(end)
        os.set_blocking(pipe, False)
        child = Child(name, process, connection, pipe, files, lookups, temporary=command.temporary)
        self.alive.append(child)
        self.outputs.append((name, child.output))
        self.selector.register(connection, selectors.EVENT_READ, (child, self._listen))
        self.selector.register(pipe, selectors.EVENT_READ, (child, self._print))
        return child

    def tell(self, child: Child, message: Message) -> None:
        """Send; that a child does not listen shows when its answer is missed."""
        with contextlib.suppress(PeerGone):
            child.connection.send(message)

    def expect(self, child: Child, kind: str, deadline: float, late: AttemptFailed) -> Message:
        """The child's next message, which must be of `kind`, before `deadline` (monotonic)."""
        while not child.inbox:
            if time.monotonic() > deadline:
                raise late
            self.turn(deadline)
        message = child.inbox.popleft()
        if message.kind != kind:
            self._lied(child, f"'{kind}' should come next, but '{message.kind:.50}' did")
        return message

    def turn(self, deadline: float) -> None:
        """Let time pass, at most a tick, and take in what happened. Raises AttemptFailed."""
        patience = max(0.0, min(TICK, deadline - time.monotonic()))
        for key, _ in self.selector.select(patience):
            child, handle = key.data
            handle(child)
        self.check()
        for child in list(self.alive):
            self._look(child)
        if time.monotonic() >= self.next_look:
            self._look_at_tree()

    def glance(self) -> None:
        """Take in what happened, at once. Raises AttemptFailed."""
        self.turn(time.monotonic())

    def kill(self, child: Child) -> None:
        """End a child and everything it started. Raises AttemptFailed if something stays."""
        self._drain_output(child)
        kernel.send(kernel.tree(child.process.pid), signal.SIGKILL)
        self._end(child)
        self._bury()
        others = {other.process.pid for other in self.alive}
        if not kernel.kill_all_but(self.spare() | others):
            reason = f"{child.name} left processes that cannot be killed"
            raise SickNode(reason, Failure.crashed if child.greeted else Failure.node_failed)

    def pause(self, child: Child) -> None:
        """Stop a child and all it has started, until `resume`."""
        until = time.monotonic() + PAUSE_PATIENCE
        while time.monotonic() < until:
            kernel.send(child.pids, signal.SIGSTOP)
            found = kernel.work(child.pids)
            if found == (True, child.slept):
                self._see_that_it_watches_nothing(child)
                return
            child.slept = found[1]
            time.sleep(PAUSE_TICK)  # a stop is counted a moment after it shows
        reason = f"{child.name} should stand still, but does not"
        raise AttemptFailed(Failure.crashed, reason)

    def _see_that_it_watches_nothing(self, child: Child) -> None:
        for seen in filter(None, map(kernel.watched, child.pids)):
            holds = f"should hold no file of /proc or /sys open, but holds {seen}"
            raise AttemptFailed(Failure.crashed, f"{child.name} {holds}: close it before it scores")

    def resume(self, child: Child) -> None:
        """Raises AttemptFailed if it was not stopped all the time: a timer can wake it, too."""
        if kernel.work(child.pids) != (True, child.slept):
            reason = f"{child.name} should have slept while the other was at work, but did not"
            raise AttemptFailed(Failure.crashed, reason)
        kernel.send(child.pids, signal.SIGCONT)

    def measure(self, child: Child) -> int:
        """The most memory the child is known to have held, in bytes."""
        child.peak = max(child.peak, *map(kernel.peak_resident, child.pids))
        return child.peak

    def log(self) -> str:
        """What all children printed, made fit to show."""
        parts = [f"--- {name} ---\n{output.text}\n" for name, output in self.outputs if output.size]
        return "\n".join(parts)

    def _listen(self, child: Child) -> None:
        try:
            child.connection.read()
        except WireError as error:
            self._lied(child, str(error))
        if child.connection.closed:
            self.selector.unregister(child.connection)
        for _ in range(len(child.inbox)):
            message = child.inbox.popleft()
            child.greeted |= message.kind == "hello"
            if message.kind == "log":
                self.on_log(child, message)
            elif message.kind == "failed":
                self._has_failed(child, message)
            else:
                child.inbox.append(message)
        held = sum(len(message.data) for message in child.inbox)
        if len(child.inbox) > INBOX_LIMIT or held > DATA_LIMIT:
            self._lied(child, "messages came that nobody had asked for")

    def _print(self, child: Child) -> None:
        try:
            piece = os.read(child.pipe, 1 << 16)
        except BlockingIOError:
            return
        child.output.add(piece)
        if not piece:
            self._close_pipe(child)
        if child.output.size > self.limits.output_mb * 2**20:
            limit = f"at most {self.limits.output_mb:g} MB"
            raise AttemptFailed(
                Failure.crashed, f"{child.name} should print {limit}, but printed more"
            )

    def _has_failed(self, child: Child, message: Message) -> NoReturn:
        try:
            failure, reason = Failure(message.text("failure")), message.text("reason")
        except (WireError, ValueError):
            self._lied(child, "a failure should have a name and a reason")
        self._drain_output(child)
        if failure not in CLAIMABLE:
            self._lied(child, f"'{failure}' is not for the program to say")
        if not child.greeted:
            raise SickNode(f"{child.name} should start on this node, but: {reason}")
        if child.lookups.are_refused and any(word in reason for word in WITHOUT_FILES):
            reason += f"; {child.name} opens no file once it has weights: import and compile before"
        raise AttemptFailed(failure, reason)

    def _lied(self, child: Child, what: str) -> NoReturn:
        raise AttemptFailed(
            Failure.disqualified, f"{child.name} tampered with its messages: {what}"
        )

    def _look(self, child: Child) -> None:
        """Notice an end that was not announced."""
        code = child.exit_code
        if code is not None:
            self._drain(child)
            if not child.inbox:
                raise self._unannounced(child, code)
        elif child.connection.closed and not child.inbox:
            child.silent_since = child.silent_since or time.monotonic()
            if time.monotonic() - child.silent_since > CLOSED_PATIENCE:
                self._lied(child, "its connection is closed although it runs")
        if child.lookups.are_too_many:
            most = f"at most {self.limits.lookups:,} files by name once the clock has started"
            reason = f"{child.name} should look up {most}, but looked up more: compile before ready"
            raise AttemptFailed(Failure.crashed, reason)

    def _unannounced(self, child: Child, code: int) -> AttemptFailed:
        if code >= 0 and not child.greeted:
            said = child.output.text.strip().rpartition("\n")[2] or f"exit code {code}"
            return SickNode(f"{child.name} should start on this node, but: {said}")
        if code >= 0:
            reason = f"{child.name} ended by itself with exit code {code} before it had delivered"
            return AttemptFailed(Failure.crashed, reason)
        if code in (-signal.SIGKILL, -signal.SIGTERM):  # all of us at once? See whether we are, too
            time.sleep(2 * TICK)
            self.check()
        if code == -signal.SIGKILL:
            if kernel.oom_kills() > self.oom_kills:
                reason = f"the kernel killed {child.name} for want of memory"
                return AttemptFailed(Failure.out_of_memory, reason)
            is_within = child.process.returncode > 0  # a wall: nobody outside sends signals there
            if child.is_informed or is_within:  # another attempt is what it may have wanted
                return AttemptFailed(Failure.crashed, f"{child.name} was killed, or killed itself")
            return AttemptFailed(Failure.node_failed, f"{child.name} was killed from outside")
        return AttemptFailed(Failure.crashed, f"{child.name} died of {signal_name(-code)}")

    def _look_at_tree(self) -> None:
        began = time.monotonic()
        for child in self.alive:
            pids = child.pids
            threads = sum(map(kernel.threads, pids))
            if threads > self.limits.processes:
                most = f"at most {self.limits.processes} processes and threads"
                reason = f"{child.name} should have {most}, but had {threads}"
                raise AttemptFailed(Failure.crashed, reason)
            held = self._held(child, pids)
            if held > self.limits.memory_gb * 2**30:
                reason = (
                    f"{child.name} should hold at most {self.limits.memory_gb:g} GB, "
                    f"but held {held / 2**30:.3g} GB"
                )
                raise AttemptFailed(Failure.out_of_memory, reason)
        now = time.monotonic()
        self.next_look = now + min(LOOK_LIMIT, max(TICK, (now - began) / LOOK_SHARE))

    def _held(self, child: Child, pids: Sequence[int]) -> int:
        """Bytes of memory in use by a child: its processes' own, shared, and in its files."""
        own = sum(map(kernel.resident, pids))
        child.peak = max(child.peak, own)
        shared = sum(max(0, kernel.shared_memory(pid) - self.given) for pid in pids)
        inside = pids[1:2]  # the first process behind a wall
        files = sum(kernel.files_in_memory(pid, child.temporary) for pid in inside)
        return own + shared + files + sum(map(kernel.page_tables, pids))

    def _drain(self, child: Child) -> None:
        """Take in all that a dead child printed and said."""
        self._drain_output(child)
        for _ in range(DATA_LIMIT // READ + 2):
            if not child.connection.closed:
                self._listen(child)

    def _drain_output(self, child: Child) -> None:
        while child.pipe >= 0:
            before = child.output.size
            self._print(child)
            if child.output.size == before:
                return

    def _bury(self) -> None:
        while self.dying:
            try:
                self.dying.pop().wait(timeout=60)
            except subprocess.TimeoutExpired:  # a driver that does not let go: the node's fault
                self.is_clean = False

    def _end(self, child: Child) -> None:
        """Kill the child itself and close our ends."""
        self.alive.remove(child)
        self.dying.append(child.process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.kill()
        if not child.connection.closed:
            self.selector.unregister(child.connection)
        child.connection.close()
        child.lookups.close()
        for descriptor in child.files.values():
            os.close(descriptor)
        self._close_pipe(child)

    def _close_pipe(self, child: Child) -> None:
        if child.pipe >= 0:
            self.selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1


def signal_name(number: int) -> str:
    """Real-time signals have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
