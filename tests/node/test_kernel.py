"""On the real kernel: trees of processes that end when they must, memory nobody can write to."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import wait_until
from users import user

from autoresearch.node import kernel
from autoresearch.process import Identity, start_ticks

SLEEPER = "import time; time.sleep(600)"

# A parent that starts a sleeper through `launch`, says its pid, and waits.
PARENT = f"""
import os, signal, sys
from autoresearch.node import kernel
child = kernel.launch((sys.executable, "-c", {SLEEPER!r}), os.environ, signal.SIGKILL)
print(child.pid, flush=True)
child.wait()
"""

# Adopts orphans, starts a child that leaves a daemon of its own session behind, kills all.
REAPER = """
import os, subprocess, sys
from autoresearch.node import kernel
kernel.adopt_orphans()
spared = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
daemon = '''
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
'''
made = subprocess.Popen([sys.executable, "-c", daemon], stdout=subprocess.PIPE, text=True)
pid = int(made.stdout.readline())
made.wait()
assert pid in kernel.tree(os.getpid()), "an orphan should have become ours"
assert kernel.kill_all_but({spared.pid})
assert kernel.tree(os.getpid()) == [spared.pid]
assert spared.poll() is None
spared.kill()
spared.wait()
assert kernel.kill_all_but(())
print("gone" if not os.path.exists(f"/proc/{pid}") else "left")
"""


# Shuts others out, can still open its own descriptors anew, says so, and waits.
SECRETIVE = """
import os, time
from autoresearch.node import kernel
kernel.shut_out()
os.open(f"/proc/self/fd/{kernel.memory_file('own')}", os.O_RDONLY)
print("shut", flush=True)
time.sleep(600)
"""


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_launched_process_dies_with_its_parent() -> None:
    parent = python(PARENT)
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    assert child.is_alive
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not child.is_alive)


def test_a_process_whose_parent_died_before_it_began_does_not_begin() -> None:
    bounds = ("1", str(int(signal.SIGKILL)), "0", "0")  # process 1 is not its parent
    done = subprocess.run(
        (*kernel.LAUNCH, *bounds, sys.executable, "-c", "print('began')"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert "the parent died" in done.stderr


def test_a_launched_process_is_bounded_and_hears_only_what_is_meant_for_it(tmp_path: Path) -> None:
    code = (
        "import os, resource, signal; "
        "print(os.getsid(0) == os.getpid(), os.nice(0), resource.getrlimit(resource.RLIMIT_CORE), "
        "resource.getrlimit(resource.RLIMIT_FSIZE), signal.pthread_sigmask(signal.SIG_BLOCK, ()), "
        "signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN)"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        child = kernel.launch(
            (sys.executable, "-c", code),
            os.environ,
            signal.SIGKILL,
            nice=3,
            file_bytes=1 << 20,
            stdout=subprocess.PIPE,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    printed = child.communicate()[0].decode()
    assert printed == "True 3 (0, 0) (1048576, 1048576) set() True\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_daemons_are_adopted_and_killed_and_others_are_spared() -> None:
    reaper = python(REAPER)
    printed, _ = reaper.communicate(timeout=60)
    assert printed == "gone\n"
    assert reaper.returncode == 0


def test_a_process_that_has_gone_holds_nothing() -> None:
    gone = 2**22 + 1
    assert start_ticks(gone) is None
    assert (kernel.resident(gone), kernel.peak_resident(gone), kernel.tree(gone)) == (0, 0, [])


def test_memory_is_seen_when_it_is_held_and_its_peak_afterwards() -> None:
    code = (
        "b = bytes(1) * (200 << 20); print(flush=True); input(); del b; print(flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    assert 200 << 20 < kernel.resident(child.pid) < 300 << 20
    child.stdin.write(b"\n")
    child.stdin.flush()
    child.stdout.readline()
    assert kernel.resident(child.pid) < 100 << 20
    assert 200 << 20 < kernel.peak_resident(child.pid) < 300 << 20
    child.communicate(b"\n")


def test_sealed_memory_cannot_be_written_not_even_reopened_through_proc() -> None:
    descriptor = kernel.memory_file("test")
    os.write(descriptor, b"tokens")
    assert not kernel.is_sealed(descriptor)
    kernel.seal(descriptor)
    assert kernel.is_sealed(descriptor)
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    for attack in (
        lambda: os.write(descriptor, b"x"),
        lambda: os.write(again, b"x"),
        lambda: os.ftruncate(again, 1),
        lambda: os.pwrite(again, b"x", 100),
    ):
        with pytest.raises(PermissionError):
            attack()
    assert os.pread(again, 100, 0) == b"tokens"
    os.close(again)
    os.close(descriptor)


def test_what_is_no_memory_file_is_not_sealed(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    assert not kernel.is_sealed(descriptor)
    os.close(descriptor)


def test_asking_for_out_of_memory_kills_costs_little_and_counts_none_here() -> None:
    began = time.monotonic()
    assert kernel.oom_kills() >= 0
    assert time.monotonic() - began < 1


def test_who_shuts_others_out_can_be_read_by_no_process_of_its_user() -> None:
    """But for root's own, which may read everything."""
    who = user("ordinary")
    path = ":".join(
        filter(None, [str(Path(__file__).parents[2]), who.environment.get("PYTHONPATH")])
    )
    secretive = subprocess.Popen(
        [*who.prefix, who.python, "-c", SECRETIVE],
        stdout=subprocess.PIPE,
        env=os.environ | who.environment | {"PYTHONPATH": path},
    )
    try:
        assert secretive.stdout is not None
        assert secretive.stdout.readline().strip() == b"shut"
        for what in ("environ", "mem", "maps"):
            command = (*who.prefix, "cat", f"/proc/{secretive.pid}/{what}")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "Permission denied" in done.stderr, what
    finally:
        secretive.kill()
        secretive.communicate()


# Tries what would outlast a sandbox, or pass from one to another; by the names of the calls.
CALLER = """
import ctypes, errno, fcntl, mmap, os, socket, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def outcome(*words):
    return "done" if libc.syscall(*words) >= 0 else errno.errorcode[ctypes.get_errno()]
def tried(call, *words):
    try:
        call(*words)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
keyctl, mincore = {"x86_64": (250, 27), "aarch64": (219, 232)}[os.uname().machine]
print(outcome(keyctl, 0, -3, 0), outcome(keyctl | 0x40000000, 0, -3, 0))
print(tried(os.setxattr, os.memfd_create("x"), "user.x", b"x"))
writer, path = tempfile.mkstemp()
os.close(writer)
file = os.open(path, os.O_RDONLY)
os.unlink(path)
print(tried(fcntl.fcntl, file, 1024, fcntl.F_RDLCK), tried(fcntl.fcntl, file, 1036, bytes(8)))
print(tried(fcntl.ioctl, file, 0xC0506617, bytes(80)))
print(tried(os.posix_fadvise, file, 0, 0, os.POSIX_FADV_DONTNEED), outcome(mincore, 0, 0, 0))
print(tried(mmap.mmap(-1, 4096).madvise, 21), tried(os.preadv, file, [bytearray(1)], 0))
ours, theirs = socket.socketpair()
print(tried(socket.send_fds, ours, [b"x"], [file]))
move, moved, bind, where, control = {
    "x86_64": (279, 256, 237, 239, 157), "aarch64": (239, 238, 235, 236, 167)
}[os.uname().machine]
page = mmap.mmap(-1, 4096)
at = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(outcome(move, 0, 0, 0, 0, 0, 0), outcome(moved, 0, 64, 0, 0))
print(outcome(bind, at, 4096, 0, 0, 0, 2))
print(outcome(where, 0, 0, 0, at, 3), outcome(control, 67, 7), tried(page.madvise, 12))
inotify, userfaultfd = {"x86_64": (294, 323), "aarch64": (26, 282)}[os.uname().machine]
print(outcome(inotify, 0), outcome(userfaultfd, 1), tried(socket.socket, 40))
print(tried(fcntl.fcntl, os.open("/tmp", os.O_RDONLY), 1026, 1), tried(ours.getsockopt, 1, 57, 8))
print(tried(fcntl.lockf, file, fcntl.LOCK_SH), tried(fcntl.ioctl, file, 0x80086601, bytes(8)))
print(tried(fcntl.flock, file, fcntl.LOCK_SH), tried(ours.getsockopt, 1, 3))
print(tried(fcntl.fcntl, file, fcntl.F_GETFD), tried(os.isatty, file), outcome(39))
print(tried(os.posix_fadvise, file, 0, 0, os.POSIX_FADV_RANDOM))
print(outcome(bind, at, 4096, 0, 0, 0, 0))
"""


@pytest.mark.parametrize(("file_bytes", "refused"), [(1 << 30, True), (0, False)])
def test_a_program_leaves_nothing_with_the_kernel(file_bytes: int, refused: bool) -> None:
    """Neither keys, nor attributes, hints, locks and leases of files that it shares; others may."""
    caller = kernel.launch(
        (sys.executable, "-c", CALLER),
        os.environ,
        signal.SIGKILL,
        file_bytes=file_bytes,
        stdout=subprocess.PIPE,
    )
    said, _ = caller.communicate()
    outcomes = said.decode().split()
    assert outcomes[-7:] == ["done"] * 7
    if refused:
        assert outcomes[:-7] == ["EPERM"] * 24
    else:
        key, _, _, lease, hint, file_key, *others = outcomes[:-7]
        assert lease == hint == "done"
        assert others[:5] == ["done"] * 5
        assert "EPERM" not in (key, file_key, *others[5:10])
        assert (others[11], others[14:17]) == ("done", ["done"] * 3)


def test_a_copy_is_whole_sealed_and_shares_nothing(tmp_path: Path) -> None:
    content = os.urandom(1000) * (kernel.PIECE // 500)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        file.seek(17)
        pieces: list[int] = []
        with kernel.sealed_copy(file.fileno(), lambda: pieces.append(1)) as copy:
            assert os.fstat(copy).st_ino != os.fstat(file.fileno()).st_ino
            assert kernel.is_sealed(copy)
            assert os.read(copy, len(content) + 1) == content
            assert len(pieces) == 2
        assert file.tell() == 17


def test_who_ends_while_it_is_looked_at_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: object) -> list[str]:
        raise ProcessLookupError

    monkeypatch.setattr(os, "listdir", ended)
    assert kernel.work([os.getpid()]) == (True, {})


@pytest.mark.parametrize("is_secretive", [False, True])
def test_who_watches_proc_or_sys_is_seen(is_secretive: bool) -> None:
    """Whoever hides what it has open may not be read; root reads it all the same."""
    own = "import ctypes, os, threading, time\n"
    hide = "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n" if is_secretive else ""
    apart = "ctypes.CDLL(None).unshare(0x400); os.open('/proc/self/smaps', 0); print(flush=True)"
    watch = (
        f"def watch():\n    {apart}\n    time.sleep(60)\nthreading.Thread(target=watch).start()\n"
    )
    blind, watching = (
        subprocess.Popen([sys.executable, "-c", own + code], stdout=subprocess.PIPE)
        for code in ("print(flush=True)\ntime.sleep(60)", hide + watch)
    )
    try:
        for process in (blind, watching):
            assert process.stdout is not None
            process.stdout.readline()
        assert kernel.watched(blind.pid) == ""
        hidden = is_secretive and os.geteuid()
        should = "files that it hides" if hidden else f"/proc/{watching.pid}/smaps"
        assert kernel.watched(watching.pid) == should
    finally:
        for process in (blind, watching):
            process.kill()
            process.communicate()
    assert kernel.watched(watching.pid) == ""


def test_who_was_stopped_and_has_moved_since_shows_it() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert not kernel.work([sleeper.pid])[0]
        sleeper.send_signal(signal.SIGSTOP)
        wait_until(lambda: kernel.work([sleeper.pid])[0])
        time.sleep(0.1)
        stopped = kernel.work([sleeper.pid])
        time.sleep(0.1)
        assert kernel.work([sleeper.pid]) == stopped
        sleeper.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        sleeper.send_signal(signal.SIGSTOP)
        wait_until(lambda: kernel.work([sleeper.pid])[0])
        wait_until(lambda: kernel.work([sleeper.pid]) != stopped)
    finally:
        sleeper.kill()
        sleeper.wait()
