"""One controller at a time: who holds a campaign, and whether they are still there.

The lease is only a courtesy that keeps a second controller from starting. What makes two
controllers harmless even if both believe they hold it is the journal: its next segment can be
created once, and it fixes what counts of the previous one.
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from autoresearch.errors import CampaignError
from autoresearch.layout import write_atomically
from autoresearch.process import Identity

STALE_SECONDS = 90.0  # a holder on another host that is silent for so long is gone
RENEW_SECONDS = 10.0


@dataclass
class Lease:
    """Held by this process until `release`."""

    path: Path
    renewed: float = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to say again that we are still here."""
        return time.monotonic() - self.renewed >= RENEW_SECONDS

    def renew(self) -> None:
        """Say that we are still here."""
        write_atomically(self.path, json.dumps(asdict(Identity.mine())))
        self.renewed = time.monotonic()

    def release(self) -> None:
        if holder(self.path) == Identity.mine():
            self.path.unlink(missing_ok=True)


def holder(path: Path) -> Identity | None:
    """Who wrote the lease; None if nobody did, or it cannot be read."""
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def who(path: Path) -> str:
    """The same in words."""
    other = holder(path)
    return f"process {other.pid} on {other.host}" if other else "another process"


def silent_seconds(path: Path) -> float:
    """How long ago the lease was renewed, by the file server's own clock: hosts' clocks differ."""
    probe = path.with_name(f".now.{os.uname().nodename}.{os.getpid()}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # we may only read here: then by our own clock
        now = time.time()
    try:
        return now - path.stat().st_mtime
    except OSError:  # released meanwhile
        return math.inf


def is_held(path: Path) -> bool:
    """Whether another controller is at work."""
    identity = holder(path)
    if identity is None or identity == Identity.mine():
        return False
    if identity.is_here:
        return identity.is_alive
    return abs(silent_seconds(path)) < STALE_SECONDS


def is_held_elsewhere(path: Path) -> bool:
    """Whether it is held by a controller on another host, of which only its silence can tell."""
    identity = holder(path)
    return identity is not None and not identity.is_here and is_held(path)


def acquire(path: Path) -> Lease:
    """Raises CampaignError if another controller is at work, or the directory cannot be written."""
    if is_held(path):
        root = path.parent.parent
        raise CampaignError(
            f"{root} should have no other controller, but {who(path)} is at work; "
            f"let it work on, have it leave with `kill PID` (pilots work on), or end the campaign "
            f"with `autoresearch stop {root}`"
        )
    lease = Lease(path)
    lease.renew()
    return lease
