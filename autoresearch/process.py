"""Who a process is, so that another process can tell later whether it still lives.

A pid alone says nothing: pids are used again, and on a shared file system the reader may sit on
another host. Linux only; standard library only; runs on compute nodes too.
"""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self


@cache
def boot_id() -> str:
    """This boot of this machine, as the kernel names it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


@dataclass(frozen=True)
class Identity:
    """One process, unmistakably."""

    host: str
    pid: int
    start_ticks: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of a process on this host; None if there is no such process."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(socket.gethostname(), pid, ticks, boot_id())

    @classmethod
    def mine(cls) -> Self:
        return cls(socket.gethostname(), os.getpid(), start_ticks(os.getpid()) or 0, boot_id())

    @property
    def is_here(self) -> bool:
        """Whether it ran on this host, so that `is_alive` can be answered."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, seen from its own host. Anywhere else the answer is always False."""
        return self.is_here and self.boot == boot_id() and start_ticks(self.pid) == self.start_ticks
