"""Parcels on their way to W&B: in batches, several at a time, each checked when it has arrived.

A run that the server has in part gets the rest of its rows: W&B appends what comes, so a file sent
twice would be there twice. What the server has is asked for before and after; nothing else that
says "done" is believed.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from autoresearch.mirror.courier import Courier
from autoresearch.mirror.reconcile import COMPARED, is_same
from autoresearch.mirror.records import Facts, Rest
from autoresearch.mirror.seen import Seen
from autoresearch.mirror.turn import Turn
from autoresearch.node import scratch

WORKERS = 4  # runs at a time: it is a login node
FOLLOWED = 64  # live runs at a time: they cost nothing while they wait
BATCH = 250  # files of one child, which holds something for each
ASKED = 500  # runs asked for at once
TICK_SECONDS = 0.5
QUIET_SECONDS = 90.0  # that a live run may not grow
STALL_SECONDS = 300.0  # that a batch may not get on
SECOND_LOOKS = (1.0, 3.0, 6.0)  # seconds before what has not arrived is looked for again

T = TypeVar("T")
Told = Callable[[int, int], None]  # how many of how many are done


class Lister(Protocol):
    """What asks the server: `mirror.listing.Listing`."""

    group: dict[str, Any]

    def all(self) -> dict[str, Seen]: ...

    def ask(self, filters: dict[str, Any]) -> dict[str, Seen]: ...


class Box(scratch.Scratch):
    """Where parcels lie while they are sent."""

    KIND = "sync"


@contextmanager
def box() -> Iterator[Path]:
    """A folder for a while. What those that were killed have left goes too."""
    for orphan in Box.orphans():
        orphan.remove()
    mine = Box.create()
    try:
        yield mine.path
    finally:
        mine.remove()


@dataclass(frozen=True)
class Parcel:
    """One run to send. The server has `held` rows of it, and `skip` of those in this file."""

    id: str
    path: Path
    length: int  # of the file, in bytes
    facts: Facts
    held: int = 0
    skip: int = 0

    @property
    def has_ended(self) -> bool:
        return self.facts.exit_code is not None

    def is_failed_there(self, seen: Seen) -> bool:
        """Whether it ended well, and the server thinks otherwise."""
        return self.facts.exit_code == 0 and seen.state != "finished"

    def is_known(self, seen: Seen | None) -> bool:
        """Whether the server knows how it ended, and this file no better: then nothing of it is
        sent. The run may have been rebuilt from its result before its file came home."""
        if seen is None or not seen.has_ended or self.is_failed_there(seen):
            return False
        ours, theirs = outcome(self.facts.summary), outcome(seen.summary)
        return any(said is not None for said in theirs) and (
            all(said is None for said in ours) or all(map(is_same, ours, theirs))
        )

    def problem(self, seen: Seen | None) -> str:
        """What the server lacks of it; "" if it has all."""
        expected = self.held + max(0, self.facts.rows - self.skip)
        if seen is None:
            return "the server does not list it"
        if seen.rows < expected:
            return f"the server has {seen.rows} of its {expected} rows"
        if not seen.has_ended:
            return "the server does not know of its end"
        if self.is_failed_there(seen):
            return f"it should be finished there, but is {seen.state}"
        for key in COMPARED:
            if not is_same(self.facts.summary.get(key), seen.summary.get(key)):
                return f"the server has another {key}"
        return ""


def outcome(summary: Mapping[str, Any]) -> list[object]:
    return [summary.get(key) for key in COMPARED]


Settle = Callable[[Parcel, str], None]  # a parcel, and what the server lacks of it


@dataclass
class Batch:
    """Parcels in a folder, with a child that sends them."""

    parcels: Sequence[Parcel]
    courier: Courier
    rests: Sequence[Rest]  # that still grow
    is_live: bool
    measure: int = 0
    moved: float = field(default_factory=time.monotonic)  # when it last got on

    def tend(self) -> None:
        """Let it get on, and see whether it does. Raises OSError."""
        for rest in self.rests:
            rest.carry_on()
        measure = self.courier.done
        if self.is_live:
            measure += sum(parcel.path.stat().st_size for parcel in self.parcels)
        if measure != self.measure:
            self.measure, self.moved = measure, time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since it last got on."""
        return time.monotonic() - self.moved

    def close(self) -> None:
        self.courier.end()
        close(self.rests)


@dataclass
class Post:
    """Sends parcels while it is this process's turn.

    Its methods raise CampaignError if the server cannot be asked or another process has taken
    over, OSError if a file cannot be read.
    """

    url: str
    lister: Lister
    turn: Turn
    told: Told = lambda _done, _all: None
    workers: int = WORKERS
    quiet: float = QUIET_SECONDS
    total: int = 0
    done: int = 0
    complaint: str = ""  # the last of W&B's own tool
    open: list[Batch] = field(default_factory=list)

    def look(self, ids: Collection[str]) -> dict[str, Seen]:
        """What the server has of these."""
        found: dict[str, Seen] = {}
        for some in chunks(sorted(ids), ASKED):
            self.turn.hold()
            found |= self.lister.ask({"$and": [self.lister.group, {"name": {"$in": some}}]})
        return found

    def send(self, parcels: Sequence[Parcel], settle: Settle, live: Sequence[Parcel] = ()) -> None:
        """Send these, and follow those that are `live`. What the server lacks then goes to
        `settle`, but not of those that were followed: they have grown.

        A batch of which nothing arrives is the last one.
        """
        if not parcels and not live:
            return
        with box() as folder, self.children():
            followed = self.pack(folder / "live", live, is_live=True) if live else None
            for number, some in enumerate(self.batches(parcels)):
                lacking = self.finish(self.pack(folder / str(number), some, is_live=False))
                for parcel in some:
                    settle(parcel, lacking[parcel.id])
                if all(lacking.values()):
                    break
            if followed:
                self.wait(followed)

    @contextmanager
    def children(self) -> Iterator[None]:
        """Leave none behind."""
        try:
            yield
        finally:
            for batch in self.open:
                batch.close()
            self.open.clear()

    def batches(self, parcels: Sequence[Parcel]) -> Iterator[Sequence[Parcel]]:
        """A small one first: it shows whether the server takes anything."""
        first = 2 * self.workers
        yield from chunks(parcels[:first], first)
        yield from chunks(parcels[first:], BATCH)

    def pack(self, folder: Path, parcels: Sequence[Parcel], *, is_live: bool) -> Batch:
        folder.mkdir()
        rests: list[Rest] = []
        for parcel in parcels:
            place = folder / parcel.path.name
            if parcel.skip:
                rests.append(Rest(parcel.path, place, parcel.skip))
                rests[-1].carry_on()
            else:
                place.symlink_to(parcel.path)
        if not is_live:
            close(rests)
            rests = []
        workers = min(len(parcels), FOLLOWED) if is_live else self.workers
        courier = Courier(folder, self.url, workers, is_live=is_live)
        self.open.append(Batch(parcels, courier, rests, is_live))
        return self.open[-1]

    def finish(self, batch: Batch) -> dict[str, str]:
        """Wait until a batch is over; then see what the server lacks of it."""
        self.wait(batch)
        lacking = self.check(batch)
        self.done += len(batch.parcels)
        self.told(self.done, self.total)
        return lacking

    def wait(self, batch: Batch) -> None:
        """Until a batch is over; all are tended meanwhile."""
        limit = self.quiet if batch.is_live else STALL_SECONDS
        while not batch.courier.is_over and batch.idle < limit:
            time.sleep(TICK_SECONDS)
            self.turn.hold()
            for each in self.open:
                each.tend()
            self.told(self.done + sum(each.courier.done for each in self.open), self.total)
        batch.close()
        self.open.remove(batch)
        self.complaint = batch.courier.complaint() or self.complaint

    def check(self, batch: Batch) -> dict[str, str]:
        """By id what the server lacks. It may be a little late with what it says it has."""
        parcels = {parcel.id: parcel for parcel in batch.parcels}
        lacking = dict.fromkeys(parcels, "")
        looked: list[str] = list(parcels)
        for pause in (0.0, *SECOND_LOOKS):
            time.sleep(pause)
            seen = self.look(looked)
            lacking |= {id: parcels[id].problem(seen.get(id)) for id in looked}
            looked = [id for id in looked if lacking[id] and batch.courier.has(parcels[id].path)]
            if not looked:
                break
        return lacking


def close(rests: Sequence[Rest]) -> None:
    for rest in rests:
        rest.close()


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
