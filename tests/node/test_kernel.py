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
