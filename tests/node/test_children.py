"""One event loop for hostile children: whatever they do is a named failure, and they all end.

The children here speak the harness's messages without torch, so that each takes milliseconds.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from nodes import wait_until
from walls import needs_bubblewrap

from autoresearch.experiment import Failure
from autoresearch.node import children, kernel, sandbox
from autoresearch.node.children import Child, Children
from autoresearch.node.failure import AttemptFailed, SickNode
from autoresearch.node.sandbox import Command
from autoresearch.node.wire import Message
from autoresearch.process import Identity, start_ticks
from autoresearch.settings import Limits

LIMITS = Limits(memory_gb=0.25, output_mb=1, processes=20, lookups=1000)

PREAMBLE = """
import os, signal, socket, struct, sys, time
from autoresearch.node.wire import Message, ToParent
connection = ToParent(*map(int, sys.argv[1:3]))
send = lambda kind, **fields: connection.send(Message(kind, fields))
"""

SEND_TEXT = "; os.write(connection.writer, struct.pack('>II', len(text), 0) + text); time.sleep(9)"

THREADS = """
from threading import Thread
[Thread(target=time.sleep, args=[9]).start() for _ in range(30)]
"""

# Memory that is nobody's own.
SHARED = """
import mmap
shared = mmap.mmap(-1, 1 << 29)
shared.write(b"x" * (1 << 29))
time.sleep(600)
"""


# Of which nothing is in memory but the tables that say so: 4 kB for each 2 MB.
TABLES = """
import mmap
count = 1 << 17
area = mmap.mmap(-1, count << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, count << 21, 1 << 21):
    area[at]
time.sleep(600)
"""


class Bench:
    """Children to try things with, and what they logged."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.logged: list[Message] = []
        self.interruption: AttemptFailed | None = None
        self.is_walled = False
        self.children = Children(LIMITS, self.check, set, self.take)

    def take(self, _: Child, message: Message) -> None:
        self.logged.append(message)

    def check(self) -> None:
        if self.interruption:
            raise self.interruption

    def start(self, code: str, name: str = "the program") -> Child:
        argv = (sys.executable, "-c", PREAMBLE + code)
        command = Command(argv, dict(os.environ))
        if self.is_walled:
            command = sandbox.command("bubblewrap", argv, self.scratch, threads=1)
        return self.children.start(name, command, self.scratch)

    def expect(self, child: Child, kind: str = "done", seconds: float = 30.0) -> Message:
        late = AttemptFailed(Failure.overran, "late")
        return self.children.expect(child, kind, time.monotonic() + seconds, late)

    def listen(self, seconds: float = 30.0) -> None:
        """Take in messages, and leave them in the inboxes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.children.turn(deadline)

    def fails(self, code: str) -> AttemptFailed:
        """How an attempt ends whose program is `code`."""
        child = self.start(code)
        child.greeted = True
        with pytest.raises(AttemptFailed) as caught:
            self.expect(child)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.children:
        yield bench
    assert kernel.tree(os.getpid()) == []


@pytest.mark.parametrize(
    "code",
    [
        "print('no such library'); sys.exit(127)",
        "send('failed', failure='crashed', reason='no such library')",
    ],
)
def test_what_ends_before_it_has_read_train_py_is_the_nodes_fault(bench: Bench, code: str) -> None:
    with pytest.raises(SickNode, match="should start on this node, but: no such library"):
        bench.expect(bench.start(code))


def test_who_may_know_its_score_gets_no_other_attempt_by_a_kill(bench: Bench) -> None:
    scorer = bench.start("os.kill(os.getpid(), signal.SIGKILL)", "the scorer")
    scorer.is_informed = True
    with pytest.raises(AttemptFailed, match="the scorer was killed, or killed itself") as caught:
        bench.expect(scorer)
    assert caught.value.failure is Failure.crashed


def test_messages_come_in_order_and_logs_apart(bench: Bench) -> None:
    child = bench.start(
        "send('hello'); send('log', n=1); send('log', n=2); send('done', n=3); time.sleep(600)"
    )
    bench.expect(child, "hello")
    assert bench.expect(child).count("n") == 3
    assert [message.count("n") for message in bench.logged] == [1, 2]


def test_a_child_is_told_things(bench: Bench) -> None:
    child = bench.start("send('done', echo=connection.receive().text('word')); time.sleep(600)")
    bench.children.tell(child, Message("task", {"word": "abc"}))
    assert bench.expect(child).text("echo") == "abc"


def test_last_words_count_even_if_the_child_is_dead_when_they_are_read(bench: Bench) -> None:
    child = bench.start("send('hello'); send('done', n=7)")
    child.process.wait()
    bench.expect(child, "hello")
    assert bench.expect(child).count("n") == 7


@pytest.mark.parametrize(
    ("code", "failure", "reason"),
    [
        ("send('failed', failure='diverged', reason='the loss is nan')", "diverged", "loss is nan"),
        ("send('failed', failure='crashed', reason='train.py line 3: x')", "crashed", "line 3"),
        ("sys.exit(3)", "crashed", "the program ended by itself with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "the program died of SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "crashed", "the program died of SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "node_failed", "killed from outside"),
        ("os.abort()", "crashed", "SIGABRT"),
        ("os.kill(os.getpid(), 40)", "crashed", "the program died of signal 40"),
        ("b = bytes(1) * (1 << 29); time.sleep(600)", "out_of_memory", "at most 0.25 GB"),
        (SHARED, "out_of_memory", "at most 0.25 GB"),
        (TABLES, "out_of_memory", "at most 0.25 GB"),
        (
            "[os.fork() or time.sleep(600) for _ in range(30)]; time.sleep(600)",
            "crashed",
            "at most 20 processes and threads, but",
        ),
        (
            "while True: os.fork()",
            "crashed",
            "should have at most 20 processes and threads, but had",
        ),
        (
            THREADS,
            "crashed",
            "at most 20 processes and threads, but had 31",
        ),
        ("while True: os.dup(0)", "crashed", "ended by itself with exit code 1"),
        ("[os.write(1, b'x' * 65536) for _ in range(1 << 14)]", "crashed", "print at most 1 MB"),
        ("send('ready'); time.sleep(600)", "disqualified", "'done' should come next, but 'ready'"),
        ("os.write(connection.writer, b'garbage!' * 9)", "disqualified", "a frame should hold"),
        ("while True: send('hello')", "disqualified", "tampered with its messages"),
        ("send('failed')", "disqualified", "a name and a reason"),
        ("send('failed', failure='preempted', reason='')", "disqualified", "not for the program"),
        ("send('failed', failure='no such', reason='')", "disqualified", "a name and a reason"),
    ],
)
def test_what_a_program_does_has_a_name_and_a_reason(
    bench: Bench, code: str, failure: str, reason: str
) -> None:
    failed = bench.fails(code)
    assert (failed.failure, reason in failed.reason) == (failure, True), failed.reason
    assert "\n" not in failed.reason


# Whoever closes the last descriptor of this connection waits for a day.
LINGER = """
listener = socket.create_server(("127.0.0.1", 0))
slow = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()
slow.setblocking(False)
try:
    while True:
        slow.send(bytes(65536))
except BlockingIOError:
    pass
slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 86_400))
said = []
for number in map(int, sys.argv[1:3]):
    try:
        end = socket.socket(socket.AF_UNIX, fileno=os.dup(number))
        socket.send_fds(end, [b"x"], [slow.fileno()])
    except OSError as error:
        said.append(type(error).__name__)
send("done", said=" ".join(said))
time.sleep(600)
"""


def test_no_descriptor_comes_from_a_child(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    bench = Bench(tmp_path)
    with bench.children:
        done = bench.expect(bench.start(LINGER))
        assert done.text("said") == "PermissionError OSError"
    assert os.listdir("/proc/self/fd") == before


def test_a_message_that_claims_to_bring_one_is_a_lie(bench: Bench) -> None:
    failed = bench.fails('text = b\'{"kind": "done", "descriptors": 1}\'' + SEND_TEXT)
    assert failed.failure is Failure.disqualified
    assert "'done' should bring 1 descriptors, but did not" in failed.reason


def test_what_a_child_fills_and_seals_is_ours_to_read(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    bench = Bench(tmp_path)
    fill = "from autoresearch.node.kernel import seal\nos.write(int(sys.argv[4]), b'weights')\n"
    with bench.children:
        child = bench.start(fill + "seal(int(sys.argv[4])); send('done'); time.sleep(600)")
        bench.expect(child)
        assert b"".join(kernel.pieces(child.files["weights"])) == b"weights"
        assert kernel.is_sealed(child.files["weights"])
        assert not kernel.is_sealed(child.files["compiled"])
    assert os.listdir("/proc/self/fd") == before


def test_a_child_that_goes_on_in_silence_is_lying(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "CLOSED_PATIENCE", 0.5)
    failed = bench.fails("connection.close(); time.sleep(600)")
    assert failed.failure is Failure.disqualified
    assert "its connection is closed although it runs" in failed.reason


def test_a_flood_of_failures_is_one_failure(bench: Bench) -> None:
    code = "[send('failed', failure='crashed', reason='again') for _ in range(5000)]"
    assert bench.fails(code).reason == "again"


def test_a_child_that_says_nothing_is_late(bench: Bench) -> None:
    child = bench.start("time.sleep(600)")
    began = time.monotonic()
    with pytest.raises(AttemptFailed, match="late"):
        bench.expect(child, seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 5


def test_a_child_that_floods_with_logs_is_still_late(bench: Bench) -> None:
    child = bench.start("while True: send('log', n=1)")
    with pytest.raises(AttemptFailed, match="late"):
        bench.expect(child, seconds=1.0)
    assert bench.logged


def test_what_another_child_does_is_noticed_while_waiting_for_one(bench: Bench) -> None:
    waited_for = bench.start("time.sleep(600)", "the program")
    bench.start("sys.exit(4)", "the scorer").greeted = True
    with pytest.raises(AttemptFailed, match="the scorer ended by itself with exit code 4"):
        bench.expect(waited_for)


def test_memory_counts_for_everything_a_program_has_started(bench: Bench) -> None:
    code = (
        "import subprocess\n"
        "hold = 'b = bytes(1) * (100 << 20); import time; time.sleep(600)'\n"
        "held = [subprocess.Popen([sys.executable, '-c', hold]) for _ in range(3)]\n"
        "time.sleep(600)"
    )
    assert bench.fails(code).failure is Failure.out_of_memory


@pytest.mark.parametrize("is_walled", [False, True])
def test_who_is_paused_stands_still_with_all_it_has_started(bench: Bench, is_walled: bool) -> None:
    if is_walled:
        needs_bubblewrap()
    bench.is_walled = is_walled
    code = "os.fork(); send('hello')\nwhile True: connection.receive(); send('done')"
    child = bench.start(code)
    bench.expect(child, "hello")
    bench.expect(child, "hello")
    bench.children.pause(child)
    pids = (child.process.pid, *kernel.tree(child.process.pid))
    assert len(pids) >= 2
    for pid in pids:
        wait_until(partial(is_stopped, pid))
    bench.children.tell(child, Message("task"))
    bench.children.resume(child)
    bench.expect(child)


def test_who_watches_the_machine_is_not_paused_but_ended(bench: Bench) -> None:
    child = bench.start(
        "watched = open('/sys/devices/system/cpu/online'); send('hello')\ntime.sleep(600)"
    )
    bench.expect(child, "hello")
    with pytest.raises(AttemptFailed, match="no file of /proc or /sys open, but holds /sys/dev"):
        bench.children.pause(child)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("folder", ["'/tmp'", "'/dev/shm'", "os.environ['HOME']"])
def test_files_behind_a_wall_are_memory(bench: Bench, folder: str) -> None:
    needs_bubblewrap()
    bench.is_walled = True
    few = f"[open(os.path.join({folder}, str(i)), 'wb').write(bytes(1 << 20)) for i in range(300)]"
    failed = bench.fails(f"{few}; time.sleep(600)")
    assert (failed.failure, "at most 0.25 GB" in failed.reason) == (Failure.out_of_memory, True)


def test_a_program_may_look_up_so_many_names_once_the_clock_has_started(bench: Bench) -> None:
    needs_bubblewrap()
    bench.is_walled = True
    child = bench.start("send('hello'); connection.receive()\nwhile True: os.access('/none', 0)")
    bench.expect(child, "hello")
    child.lookups.bound(LIMITS.lookups)
    bench.children.tell(child, Message("start"))
    reason = "the program should look up at most 1,000 files by name once the clock has started"
    with pytest.raises(AttemptFailed, match=reason):
        bench.expect(child)


@pytest.mark.parametrize("name", ["PermissionError", "RuntimeError"])
def test_who_may_open_no_files_is_told_so(bench: Bench, name: str) -> None:
    needs_bubblewrap()
    bench.is_walled = True
    failed = f"send('failed', failure='crashed', reason='{name}: x')"
    child = bench.start(f"send('hello'); connection.receive(); {failed}")
    bench.expect(child, "hello")
    child.lookups.refuse()
    bench.children.tell(child, Message("weights"))
    with pytest.raises(AttemptFailed) as caught:
        bench.expect(child)
    hint = "opens no file once it has weights: import and compile before"
    assert (hint in caught.value.reason) == (name == "PermissionError")


def test_whoever_has_no_wall_looks_up_what_it_likes(bench: Bench) -> None:
    child = bench.start("send('hello'); connection.receive(); os.stat('/'); send('done')")
    bench.expect(child, "hello")
    child.lookups.refuse()
    bench.children.tell(child, Message("weights"))
    bench.expect(child)
    assert child.lookups.made == 0


def test_so_are_very_many_empty_files(bench: Bench) -> None:
    needs_bubblewrap()
    bench.is_walled = True
    failed = bench.fails("for i in range(10**9): os.close(os.open(f'/tmp/{i}', os.O_CREAT))")
    assert failed.failure is Failure.out_of_memory


def test_a_kill_reaches_daemons_and_spares_other_children(bench: Bench) -> None:
    kernel.adopt_orphans()
    code = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        send('done', pid=os.getpid())
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""
    program = bench.start(code)
    scorer = bench.start("connection.receive(); send('done'); time.sleep(600)", "the scorer")
    daemon = bench.expect(program).count("pid")
    assert start_ticks(daemon) is not None
    bench.children.kill(program)
    assert start_ticks(daemon) is None
    bench.children.tell(scorer, Message("question"))
    bench.expect(scorer)


@pytest.mark.parametrize(
    ("kind", "failure"), [("hello", Failure.crashed), ("done", Failure.node_failed)]
)
def test_what_cannot_be_killed_makes_the_node_unfit_and_no_other_attempt(
    bench: Bench, kind: str, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose program has run can arrange to die slowly, once it has seen that its score is bad."""
    program = bench.start(f"send('{kind}'); time.sleep(600)")
    bench.expect(program, kind)
    monkeypatch.setattr(kernel, "kill_all_but", lambda _: False)
    with pytest.raises(SickNode, match="cannot be killed") as told:
        bench.children.kill(program)
    assert told.value.failure is failure


def test_an_interruption_from_outside_ends_the_wait(bench: Bench) -> None:
    child = bench.start("time.sleep(600)")
    bench.interruption = AttemptFailed(Failure.preempted, "told to end")
    with pytest.raises(AttemptFailed, match="told to end"):
        bench.expect(child)


def test_a_term_signal_that_comes_to_all_of_us_is_a_preemption(bench: Bench) -> None:
    """Slurm signals every process of a job: the program may be dead before we are told."""
    child = bench.start("send('hello'); time.sleep(600)")
    bench.expect(child, "hello")
    child.process.send_signal(signal.SIGTERM)

    def tell() -> None:
        wait_until(lambda: Identity.of(child.process.pid) is None)
        bench.interruption = AttemptFailed(Failure.preempted, "told to end")

    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(AttemptFailed, match="told to end"):
        bench.expect(child)
    teller.join()


def test_the_log_holds_what_children_printed_fit_to_show(bench: Bench) -> None:
    child = bench.start("print('\\x1b[31mred\\x07 \\xff', flush=True); sys.exit(1)")
    with pytest.raises(AttemptFailed):
        bench.expect(child)
    assert bench.children.log() == "--- the program ---\n[31mred ÿ\n"


@pytest.mark.parametrize("act", [lambda child: child.process.kill()])
def test_leaving_with_dead_children_is_no_error(
    tmp_path: Path, act: Callable[[Child], None]
) -> None:
    bench = Bench(tmp_path)
    with bench.children:
        child = bench.start("time.sleep(600)")
        act(child)
        child.process.wait()
    assert bench.children.alive == []
