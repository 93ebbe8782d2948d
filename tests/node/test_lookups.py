"""What a child looks up by name goes on until it is refused: in all processes, by every call."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest
from walls import needs_bubblewrap

from autoresearch.node import kernel, lookups, sandbox
from autoresearch.node.launch import FREE, MACHINES, REFUSED, VALUES, numbers
from autoresearch.node.lookups import Lookups

NAMES = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
folder = os.open("/usr", os.O_RDONLY)
there = os.open("/dev/null", os.O_RDONLY)
unix, gram = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
helper, told = os.pipe(), os.pipe()
if not os.fork():
    while os.read(helper[0], 1):
        try:
            os.stat("/usr")
            os.write(told[1], b"+")
        except OSError:
            os.write(told[1], b"-")
    os._exit(0)

def ask_helper():
    os.write(helper[1], b"?")
    if os.read(told[0], 1) == b"-":
        raise PermissionError(errno.EPERM, "")

def call(number):
    if libc.syscall(number) < 0:
        raise OSError(ctypes.get_errno(), "")

WAYS = {
    "open": lambda: os.open("/usr/none/x", os.O_RDONLY),
    "open in a folder": lambda: os.open("none/x", os.O_RDONLY, dir_fd=folder),
    "stat": lambda: os.stat("/usr/none/x"),
    "stat in a folder": lambda: os.stat("none/x", dir_fd=folder),
    "access": lambda: os.access("/usr/none/x", 0) or os.stat("/usr/none/x"),
    "readlink": lambda: os.readlink("/usr/none/x"),
    "statvfs": lambda: os.statvfs("/usr/none/x"),
    "attributes": lambda: os.getxattr("/usr/none/x", "user.x"),
    "names of attributes": lambda: os.listxattr("/usr/none/x"),
    "list": lambda: os.listdir("/usr/none/x"),
    "list a folder": lambda: os.listdir(folder),
    "go there": lambda: os.chdir("/usr/none/x"),
    "root": lambda: os.chroot("/usr/none/x"),
    "execute": lambda: os.execv("/usr/none/x", ["none"]),
    "rename": lambda: os.rename("/usr/none/x", "/usr/none/y"),
    "link": lambda: os.link("/usr/none/x", "/usr/none/y"),
    "unlink": lambda: os.unlink("/usr/none/x"),
    "mode": lambda: os.chmod("/usr/none/x", 0),
    "times": lambda: os.utime("/usr/none/x"),
    "truncate": lambda: os.truncate("/usr/none/x", 0),
    "connect": lambda: unix.connect("/usr/none/x"),
    "bind": lambda: unix.bind("/usr/none/x"),
    "send": lambda: gram.sendto(b"x", "/usr/none/x"),
    "another process": ask_helper,
    "file in memory": lambda: os.close(os.memfd_create("x")),
    "pipe": lambda: list(map(os.close, os.pipe())),
    "pair of sockets": lambda: [end.close() for end in socket.socketpair()],
    "no call that Linux has by now": lambda: call(9999),
}

def outcome(way):
    try:
        WAYS[way]()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

for line in sys.stdin:
    print("\\t".join(f"{way}={outcome(way)}" for way in WAYS), flush=True)
"""

Started: TypeAlias = "subprocess.Popen[bytes]"
Start = Callable[..., Started]


@pytest.fixture
def looked_up() -> Iterator[Lookups]:
    found = Lookups()
    yield found
    if found.here.fileno() >= 0:
        found.close()
    assert not found.thread.is_alive()


@pytest.fixture
def start(looked_up: Lookups) -> Iterator[Start]:
    started = []

    def start(*argv: str) -> Started:
        process = kernel.launch(
            argv,
            os.environ,
            signal.SIGKILL,
            file_bytes=1 << 30,
            lookups=looked_up.end,
            pass_fds=(looked_up.end,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(process: Started) -> dict[str, str]:
    """By way to look something up: what came of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return dict(pair.split("=") for pair in process.stdout.readline().decode().strip().split("\t"))


def test_all_goes_on_until_all_but_a_computation_is_refused(
    looked_up: Lookups, start: Start
) -> None:
    child = start(sys.executable, "-c", NAMES)
    before = ask(child)
    assert before["open"] == before["execute"] == before["connect"] == "ENOENT"
    assert before["list a folder"] == before["another process"] == before["pipe"] == "done"
    assert before["no call that Linux has by now"] == "ENOSYS"
    looked_up.refuse()
    after = ask(child)
    assert len(after) == 28
    assert set(after.values()) == {"EPERM"}


def test_names_are_counted_and_may_be_too_many(looked_up: Lookups, start: Start) -> None:
    child = start(sys.executable, "-c", NAMES)
    ask(child)
    first = looked_up.made
    looked_up.bound(40)
    ask(child)
    assert 28 <= looked_up.made - first <= 40
    assert not looked_up.are_too_many
    assert ask(child)["open"] == "ENOENT"  # who bounds decides what becomes of it
    assert looked_up.are_too_many


def test_a_wall_is_no_way_around(tmp_path: Path, looked_up: Lookups, start: Start) -> None:
    needs_bubblewrap()
    command = sandbox.command("bubblewrap", (sys.executable, "-c", NAMES), tmp_path, threads=1)
    child = start(*command.argv)
    assert ask(child)["stat"] == "ENOENT"
    looked_up.refuse()
    assert set(ask(child).values()) == {"EPERM"}


def test_who_is_killed_while_it_asks_disturbs_nobody(looked_up: Lookups, start: Start) -> None:
    busy = "import os\nwhile True: os.access('/usr/none', 0)"
    child = start(sys.executable, "-c", f"import os\nos.fork() or os.fork()\n{busy}")
    for _ in range(20):
        made = looked_up.made
        while looked_up.made < made + 10:
            assert child.poll() is None
            time.sleep(0.001)
        kernel.send(kernel.tree(child.pid)[:1], signal.SIGKILL)


def test_who_lives_longer_than_we_listen_looks_nothing_up(looked_up: Lookups, start: Start) -> None:
    child = start(sys.executable, "-c", NAMES)
    ask(child)
    looked_up.close()
    answers = ask(child)
    assert answers.pop("another process") == "EPERM"
    assert set(answers.values()) == {"ENOSYS"}


def test_where_nobody_can_ask_a_child_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "FIRST", (99, 0))
    unasked = Lookups()
    assert unasked.end == 0
    run = kernel.launch(
        ("/bin/true",), os.environ, signal.SIGKILL, file_bytes=1, lookups=unasked.end
    )
    assert run.wait() == 0
    unasked.close()


def test_a_kernel_asks_one_alone(looked_up: Lookups, start: Start) -> None:
    """Whoever starts us may be asked already: a container's runtime."""
    inner = (
        "import os, signal, sys\n"
        "from autoresearch.node import kernel, lookups\n"
        "ours = lookups.Lookups()\n"
        "child = kernel.launch(('/bin/true',), os.environ, signal.SIGKILL, file_bytes=1,"
        " lookups=ours.end, pass_fds=(ours.end,))\n"
        "print(child.wait(), ours.made)\n"
        "ours.close()\n"
    )
    child = start(sys.executable, "-c", inner)
    assert child.communicate()[0].split() == [b"0", b"0"]
    assert looked_up.made > 100


def test_the_numbers_of_system_calls_are_told_apart() -> None:
    for machine in MACHINES.values():
        refused, free = (numbers(table, machine) for table in (REFUSED, FREE))
        some = [call for name, *_ in VALUES for call in numbers(name, machine)]
        for calls in (refused, free, some):
            assert len(set(calls)) == len(calls)
        assert not set(some) & set(refused)
        assert set(free) & set(refused) == set(numbers("sendmsg 46 211", machine))
        assert len(free) < 200  # a jump in a filter spans 255 steps


def test_every_call_has_its_number_on_either_machine() -> None:
    """And those that came after the two were made one and the same."""
    for table in (REFUSED, FREE, *(name for name, *_ in VALUES)):
        for entry in table.split(","):
            name, *both = entry.split()
            assert name.isidentifier()
            assert len(both) == 2
            assert all(number == "-" or number.isdecimal() for number in both)
            assert len(set(both)) == 1 or int(both[0]) < 424


def test_a_listener_takes_no_signals(looked_up: Lookups, start: Start) -> None:
    """They are for the main thread, which has handlers; a call of ours must not be cut short."""
    child = start(sys.executable, "-c", NAMES)
    ask(child)
    heard: list[int] = []
    usual = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    try:
        for _ in range(50):
            os.kill(os.getpid(), signal.SIGUSR2)
            assert ask(child)["open"] == errno.errorcode[errno.ENOENT]
    finally:
        signal.signal(signal.SIGUSR2, usual)
    assert heard
    assert looked_up.thread in threading.enumerate()
