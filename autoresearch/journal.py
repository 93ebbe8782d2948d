"""The append-only event log of a campaign. All state is a replay of it.

One JSON-lines segment per controller life, `journal/000001.jsonl` and so on. Each line carries a
hash over itself and the line before it:

    {"chain":"9f86d081884c7d65","n":17,"t":1793441122.5,"type":"finished",...}

A line is in the record once it is flushed to disk with its newline. A torn tail (a crash in
mid-write) is cut off on replay; damage anywhere else is an error, never a silent loss. When a new
controller takes over, the first line of its segment fixes how much of the previous segment counts:
what the old one still writes afterwards is ignored. Creating that segment is exclusive, so of two
controllers that start at once one wins. Works on NFS: it relies on link(2), O_APPEND by a single
writer, and fsync. The format is documented in docs/formats.md.
"""

import gc
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self, TypeGuard

from autoresearch.errors import CampaignError, RecordError, TakenOver
from autoresearch.experiment import Json, canonical
from autoresearch.process import Identity

# 1: a pilot was charged from when it was asked for, not from when it began.
# 2: no asks, no versions and notes of waves, no experiments with a budget of their own.
SCHEMA = 3
GENESIS = "0" * 16
SEGMENT = re.compile(r"[0-9]+\.jsonl")
HEAD = len('{"chain":"') + 16 + len('"')  # bytes of a line before what the chain hashes


def chained(previous: str, body: bytes) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()[:16]


def encode(event: Json, previous: str) -> tuple[bytes, str]:
    """One line and its chain hash. `event` must not have a key `chain`."""
    body = b"," + canonical(event).encode()[1:]
    chain = chained(previous, body)
    return b'{"chain":"' + chain.encode() + b'"' + body + b"\n", chain


@dataclass(frozen=True)
class End:
    """Where the accepted part of a segment ends."""

    name: str
    length: int  # bytes
    chain: str
    n: int  # number of the last event


@dataclass(frozen=True)
class Replay:
    """The accepted events of a journal, oldest first, and where they end (None: there are none).

    `successor` is the number of the segment that the next controller has to create.
    """

    events: list[Json]
    end: End | None
    successor: int


def decode(line: bytes, previous: str) -> Json | None:
    """The event of one line without its newline, or None if the line is not whole or not next."""
    if line[:HEAD] != b'{"chain":"' + chained(previous, line[HEAD:]).encode() + b'"':
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def read_segment(path: Path, start: End | None, limit: int | None) -> tuple[list[Json], End | None]:
    """The events of one segment up to `limit` bytes (None: up to its torn tail), and their end.

    Raises RecordError if the segment is shorter than `limit` or damaged before its tail.
    """
    with readable(path):
        data = path.read_bytes()[:limit]
    if limit is not None and len(data) < limit:
        raise RecordError(f"{path} should hold {limit} bytes, but holds {len(data)}")
    chain, n = (start.chain, start.n) if start else (GENESIS, 0)
    events: list[Json] = []
    position = 0
    while (newline := data.find(b"\n", position)) >= 0:
        event = decode(data[position:newline], chain)
        if event is None:
            break
        events.append(event)
        chain, position = event.pop("chain"), newline + 1
    rest = data[position:]  # a segment's first line appeared whole, so it cannot be torn
    if rest and (limit is not None or not events or not is_torn_tail(rest)):
        raise RecordError(f"{path} is damaged at byte {position}; restore it from a backup")
    return events, End(path.name, position, chain, n + len(events)) if events else start


def is_torn_tail(rest: bytes) -> bool:
    """Whether what follows the last good line can be an interrupted write.

    A write that was never flushed may lack any part of its bytes; a whole later line means damage.
    """
    lines = rest.split(b"\n")
    return not any(line.startswith(b'{"chain":"') and line.endswith(b"}") for line in lines[1:-1])


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what keeps the record from being read into a RecordError."""
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{path} should be readable, but: {error.strerror}; "
            "restore it from a backup, or its permissions"
        ) from error


def segments(directory: Path) -> list[Path]:
    """Every segment, oldest first; none if there is no such directory."""
    with readable(directory):
        names = os.listdir(directory) if directory.exists() else []
    return sorted(directory / name for name in names if SEGMENT.fullmatch(name))


def replay(directory: Path) -> Replay:
    """Every accepted event. Raises RecordError if the record is damaged or contradicts itself."""
    paths = segments(directory)
    successor = int(paths[-1].stem) + 1 if paths else 1
    events: list[Json] = []
    end: End | None = None
    with collector_paused():
        for path, limit in reversed(list(accepted(paths))):
            more, end = read_segment(path, end, limit)
            events += more
    return Replay(events, end, successor)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Many objects at once, none in a cycle: the collector would look through them in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def accepted(paths: list[Path]) -> Iterator[tuple[Path, int | None]]:
    """Segments and how many bytes of each count (None: all), newest first.

    Each names its predecessor. One cut inside its first line recorded nothing: nobody names it.
    """
    known = {path.name: first for path in paths if (first := first_event(path)) is not None}
    name, limit = max(known, default=None), None
    while name is not None:
        if name not in known:
            raise RecordError(f"{paths[0].parent / name} should exist, but is missing or damaged")
        yield paths[0].parent / name, limit
        previous = known[name].get("previous")
        name, limit = (previous["name"], previous["length"]) if previous else (None, None)


def first_event(path: Path) -> Json | None:
    """What the first line of a segment says; its place in the chain is checked on replay.

    None if its write was interrupted. Raises RecordError if a whole line does not parse.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
        event = json.loads(line) if line.endswith(b"\n") else None
        before = event and event["previous"]
        is_sound = not before or (before["name"] < path.name and type(before["length"]) is int)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{path} should begin with a journal event, but: {error!r}") from error
    if not isinstance(event, (dict, type(None))) or not is_sound:
        raise RecordError(f"{path} should begin with a journal event, but is {line[:40]!r}")
    return event


class Journal:
    """The one writer of a campaign's journal in this process."""

    def __init__(self, path: Path, file: int, end: End) -> None:
        self.path = path
        self.file = file
        self.end = end

    @classmethod
    def open(cls, directory: Path, replayed: Replay) -> Self:
        """Start a new segment after what was replayed: from now on this controller writes.

        Raises TakenOver if another controller started a segment since the replay, CampaignError
        if the directory cannot be written.
        """
        previous = replayed.end
        path = directory / f"{replayed.successor:06d}.jsonl"
        chain, n = (previous.chain, previous.n) if previous else (GENESIS, 0)
        event = stamp(
            n + 1,
            {
                "type": "segment",
                "schema": SCHEMA,
                "controller": asdict(Identity.mine()),
                "previous": asdict(previous) if previous else None,
            },
        )
        line, chain = encode(event, chain)
        create_exclusively(path, line)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return cls(path, file, End(path.name, len(line), chain, n + 1))

    def check(self) -> None:
        """Raises TakenOver if a newer segment exists: then nothing may be done any more."""
        if (self.path.parent / f"{int(self.path.stem) + 1:06d}.jsonl").exists():
            raise TakenOver(f"another controller took over {self.path.parent.parent}")

    def append(self, *events: Json) -> tuple[Json, ...]:
        """Write events, flush them to disk, and return them as recorded (numbered, stamped).

        All of them or, if the disk is full, none: then CampaignError. TakenOver if a newer
        segment exists.
        """
        if not events:
            return ()
        self.check()
        lines, chain, n = [], self.end.chain, self.end.n
        recorded = []
        for event in events:
            n += 1
            recorded.append(stamp(n, event))
            line, chain = encode(recorded[-1], chain)
            lines.append(line)
        data = b"".join(lines)
        self._write(data)
        self.end = End(self.path.name, self.end.length + len(data), chain, n)
        return tuple(recorded)

    def _write(self, data: bytes) -> None:
        try:
            write_all(self.file, data)
            os.fsync(self.file)
        except OSError as error:
            os.ftruncate(self.file, self.end.length)
            raise CampaignError(
                f"{self.path} should take {len(data)} more bytes, but: {error.strerror}; "
                "free some space or quota, then `autoresearch resume`"
            ) from error

    def close(self) -> None:
        os.close(self.file)


def write_all(file: int, data: bytes) -> None:
    """Raises OSError if the disk fills up; what was written by then stays written."""
    while data:
        data = data[os.write(file, data) :]


FAR = 1e11  # Unix seconds: the year 5138
BOOTED = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def now() -> float:
    """Unix time, as budgets count it: it runs evenly, whoever sets the clock meanwhile."""
    return BOOTED + time.clock_gettime(time.CLOCK_BOOTTIME)


def is_moment(value: object) -> TypeGuard[float]:
    """Whether a value that others wrote is a time."""
    return isinstance(value, float) and 0 < value < FAR


def stamp(n: int, event: Json) -> Json:
    return {"n": n, "t": round(now(), 3), **event}


def create_exclusively(path: Path, data: bytes) -> None:
    """Make `path` appear with all of `data` at once, or raise TakenOver if it exists already."""
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError as error:
        raise TakenOver(f"another controller took over {path.parent.parent}") from error
    except OSError as error:
        raise CampaignError(f"{path} should be writable, but: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
