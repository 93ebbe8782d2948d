"""One process at a time sends a campaign's runs: two would send the same rows twice.

Whoever is killed leaves its turn behind; the next one sees that it is gone.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from autoresearch.errors import CampaignError
from autoresearch.layout import link_once
from autoresearch.lease import Lease, holder, is_held, who
from autoresearch.process import Identity

SETTLING_SECONDS = 1.0  # until of two that found the same turn left behind, one sees the other


class Busy(CampaignError):  # noqa: N818 - it reports a fact, not a fault
    """Another process is at it."""


class Turn(Lease):
    """Held by this process until `release`."""

    def hold(self) -> None:
        """Say that we are still here, every so often. Raises Busy if another has taken over."""
        if self.is_due:
            check(self.path)
            self.renew()


@contextmanager
def turn(path: Path) -> Iterator[Turn]:
    """Raises Busy if another process has it, OSError if the campaign cannot be written."""
    mine = take(path)
    try:
        yield mine
    finally:
        mine.release()


def take(path: Path) -> Turn:
    path.parent.mkdir(exist_ok=True)
    mine = Turn(path, renewed=time.monotonic())
    if link_once(path, json.dumps(asdict(Identity.mine())), os.uname().nodename):
        return mine
    if is_held(path):
        raise busy(path)
    mine.renew()
    time.sleep(SETTLING_SECONDS)
    check(path)
    return mine


def check(path: Path) -> None:
    if holder(path) != Identity.mine():
        raise busy(path)


def busy(path: Path) -> Busy:
    return Busy(
        f"one process at a time should send the runs of {path.parent.parent}, but {who(path)} is "
        "at it; wait until it is done"
    )
