"""What only the Linux kernel can do: bind processes to us, find and end their trees, seal memory.

A tree costs one scan of /proc, tens of µs per process of the machine. (/proc/PID/task/*/children
would be cheaper, but many kernels are built without it.)
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
PIECE = 1 << 24  # bytes copied at a time
FILE_BYTES = 1 << 10  # of the kernel's own memory, for each file
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
PAGE = mmap.PAGESIZE
STILL = (b"T", b"t", b"Z", b"X")  # stopped, traced, ended
LAUNCH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))


def launch(
    argv: Sequence[str],
    env: Mapping[str, str],
    death_signal: signal.Signals,
    *,
    nice: int = 0,
    file_bytes: int = 0,
    lookups: int = 0,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a process, in its own session, that gets `death_signal` when this one dies.

    To be called by the main thread: the kernel takes the death of the calling thread for ours.
    """
    command = (*launcher(death_signal, nice, file_bytes, lookups), *argv)
    return subprocess.Popen(command, env=env, start_new_session=True, **options)


def launcher(
    death_signal: signal.Signals, nice: int = 0, file_bytes: int = 0, lookups: int = 0
) -> tuple[str, ...]:
    """What a bound process's command line begins with; with `file_bytes`, a program's."""
    return (*LAUNCH, *map(str, (os.getpid(), int(death_signal), nice, file_bytes, lookups)))


def release() -> tuple[int, ...]:
    """Of the kernel: (6, 12) and the like."""
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))


def adopt_orphans() -> None:
    """From now on processes whose parent dies below us become our children: none can hide."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def shut_out() -> None:
    """From now on no process of our user may trace us, or read our memory and environment."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def parents() -> dict[int, int]:
    """The parent of every process we can see."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # ended, or hidden from us
                found[int(name)] = int(stat(name)[1])
    return found


def threads(pid: int) -> int:
    """How many a process has; 0 if it has ended."""
    try:
        return int(stat(str(pid))[17])
    except OSError:
        return 0


def work(pids: Collection[int]) -> tuple[bool, dict[str, int]]:
    """Whether all threads of processes stand still, and how often each has stopped working.

    Who was stopped, went on and was stopped again has done so once more often than before.
    """
    found, is_still = {}, True
    for path in (folder / "status" for pid in pids for folder in tasks(pid)):
        with contextlib.suppress(OSError):  # ended
            fields = dict(line.split(b":\t", 1) for line in path.read_bytes().split(b"\n")[1:-1])
            is_still &= fields[b"State"][:1] in STILL
            counts = (b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches")
            found[str(path)] = sum(int(fields[name]) for name in counts)
    return is_still, found


def tasks(pid: int) -> list[Path]:
    """A folder of each thread; none if it has ended, whenever that is: `Path.glob` may raise."""
    folder = Path(f"/proc/{pid}/task")
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:
        return []


def stat(pid: str) -> list[bytes]:
    """/proc/PID/stat from the state on. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - fast
        return file.read(1024).rpartition(b")")[2].split()


def tree(root: int, spare: Collection[int] = ()) -> list[int]:
    """Every descendant of a process, without the subtrees of `spare`."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found, ahead = [], [root]
    while ahead:
        below = [pid for pid in children.get(ahead.pop(), ()) if pid not in spare]
        found += below
        ahead += below
    return found


def send(pids: Collection[int], number: signal.Signals) -> None:
    """A signal to all of them that there still are."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all_but(spare: Collection[int], patience: float = 10.0) -> bool:
    """Kill all our descendants except the subtrees of `spare`; whether all are gone in time.

    Direct children in `spare` are untouched; all others are reaped here.
    """
    until = time.monotonic() + patience
    while victims := tree(os.getpid(), spare):
        send(victims, signal.SIGKILL)
        for pid in victims:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def watched(pid: int) -> str:
    """A file of /proc or /sys that a process holds open, as it sees it; "" if none."""
    for folder in tasks(pid):  # each thread may have files of its own
        try:
            seen = [str((folder / "fd" / name).readlink()) for name in os.listdir(folder / "fd")]
        except (FileNotFoundError, ProcessLookupError):  # ended
            continue
        except PermissionError:
            return "files that it hides"
        for name in seen:
            if name.startswith(("/proc/", "/sys/")):
                return name
    return ""


def resident(pid: int) -> int:
    """Bytes of anonymous memory a process holds now: no files, no shared mappings."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * PAGE if len(fields) > 2 else 0


def files_in_memory(pid: int, folders: Collection[str]) -> int:
    """Bytes that lie in file systems of its own that a process sees at `folders`."""
    total = 0
    for folder in folders:
        with contextlib.suppress(OSError):  # ended
            seen, ours = Path(f"/proc/{pid}/root{folder}"), Path(folder)
            if ours.exists() and seen.stat().st_dev == ours.stat().st_dev:
                continue  # the wall does not stand yet
            facts = os.statvfs(seen)
            total += (facts.f_blocks - facts.f_bfree) * facts.f_frsize
            total += (facts.f_files - facts.f_ffree) * FILE_BYTES
    return total


def peak_resident(pid: int) -> int:
    """The most bytes a process ever held, files it maps included."""
    return status_bytes(pid, "VmHWM")


def shared_memory(pid: int) -> int:
    """Bytes of files in memory and of shared mappings that a process has in use."""
    return status_bytes(pid, "RssShmem")


def page_tables(pid: int) -> int:
    """Bytes of memory that the kernel needs to know where a process's memory lies; 0 if it has
    ended. A large mapping that was only read has no memory but these."""
    return status_bytes(pid, "VmPTE")


def status_bytes(pid: int, name: str) -> int:
    """Bytes, as a line of /proc/PID/status has them; 0 if it has ended.

    Split at line feeds alone: programs name themselves, with whatever else Python takes for an end.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_bytes().split(b"\n")
    except OSError:
        return 0
    return sum(int(ln.split()[1]) << 10 for ln in lines if ln.startswith(f"{name}:".encode()))


def oom_kills() -> int:
    """How often the kernel has killed in our control group for want of memory."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            file = Path(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            file = Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
        else:
            continue
        with contextlib.suppress(OSError):
            for entry in file.read_text(encoding="ascii").splitlines():
                if entry.startswith("oom_kill "):
                    return int(entry.split()[1])
    return 0


def memory_file(name: str) -> int:
    """A descriptor of an empty file in memory that can be sealed."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(descriptor: int) -> None:
    """Nobody can write to the file from now on, not even through /proc. Raises OSError."""
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)


@contextlib.contextmanager
def sealed_copy(descriptor: int, between: Callable[[], None] = lambda: None) -> Iterator[int]:
    """What a file holds, in one that is sealed; `between` is called after every piece.

    Whoever is given the same file as another finds what that one has left in its locks, its times,
    its flags, and the state of its pages. Raises OSError.
    """
    copy, at = memory_file("copy"), 0
    try:
        while done := os.sendfile(copy, descriptor, at, PIECE):
            at += done
            between()
        os.lseek(copy, 0, os.SEEK_SET)
        seal(copy)
        yield copy
    finally:
        os.close(copy)


def pieces(descriptor: int) -> Iterator[bytes]:
    """A file from its beginning, wherever whoever shares the descriptor stands."""
    at = 0
    while piece := os.pread(descriptor, PIECE, at):
        yield piece
        at += len(piece)


def is_sealed(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    except OSError:  # not a file in memory
        return False
