"""What every cluster can do. A cluster knows pilots by name and nothing about experiments.

Pilots that are asked for together are named `BATCH-0`, `BATCH-1`, …: so a cluster can find them by
name alone, whatever was or was not written down when a controller died.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Failure, Json


class Phase(StrEnum):
    """Where a pilot stands."""

    waiting = "waiting"
    running = "running"
    gone = "gone"  # certainly over: it will never write anything again


@dataclass(frozen=True)
class Sighting:
    """What a cluster knows of one pilot. Times are Unix seconds."""

    phase: Phase
    reason: str = ""  # why it waits, or how it ended
    node: str = ""
    started: float | None = None
    ended: float | None = None
    failure: Failure | None = None  # of one that is gone; None: it went home by itself


class Refused(AutoresearchError):  # noqa: N818 - it reports a fact, which passes
    """The cluster takes no more pilots now: certainly none of those asked for."""


class Cluster(Protocol):
    """Starts pilots, says what became of them, and ends them.

    `jobs` are what `submit` returned for each pilot (or nothing, if that was never recorded) with
    `submitted` and `started`, Unix times, the latter None until it is known.
    """

    @property
    def lag(self) -> float:
        """Seconds that a file written on a node may take to be seen here."""
        ...

    def check(self) -> None:
        """Raises UserError if this cluster would refuse the pilots of a tier."""
        ...

    def batches(self, tier: str, count: int) -> list[int]:
        """How many of `count` pilots may be asked for now, together or apart; [] for none."""
        ...

    def longest(self, tier: str) -> float:
        """The minutes a pilot may live at most."""
        ...

    def submit(
        self, tier: str, names: Sequence[str], minutes: float = 0.0, exclude: Collection[str] = ()
    ) -> dict[str, Json]:
        """Start the pilots of one batch, for `minutes` (0: no bound), on none of these nodes.

        Returns by name what is needed to find each again; nothing if it cannot be told whether
        they were accepted. Raises Refused, or UserError if they would be refused for ever.
        """
        ...

    def look(self, jobs: Mapping[str, Json]) -> Mapping[str, Sighting]:
        """What became of these pilots; one of which nothing can be said now is left out."""
        ...

    def withdraw(self, jobs: Mapping[str, Json]) -> None:
        """Take those back that still wait."""
        ...

    def cancel(self, jobs: Mapping[str, Json]) -> None:
        """Tell pilots to end now; what they run is recorded as preempted."""
        ...

    def notices(self) -> list[str]:
        """What a person should know: what pilots wait for, who does not answer. One line each."""
        ...


def batch_of(pilot: str) -> str:
    """The batch a pilot was asked for in."""
    return pilot.rpartition("-")[0]
