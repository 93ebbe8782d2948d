"""What a .wandb file holds, read while it grows: protobuf records in LevelDB's log format.

Only what sending a run needs: how far it has come, how it ended, and a copy without the rows that
a server has already. Standard library only: loading wandb's own classes takes a second.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
PREFIX = struct.Struct("<IHB")  # of each piece of a record: checksum, length, kind
BLOCK = 1 << 15  # bytes; no piece crosses from one to the next
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # kinds of pieces
# ... by whether the record has begun before, and whether it goes on.
KINDS = {
    (False, False): WHOLE,
    (False, True): FIRST,
    (True, True): MIDDLE,
    (True, False): LAST,
}

# Fields of wandb's messages, by number.
HISTORY, SUMMARY, RUN, EXIT = 2, 3, 17, 18  # of Record
ITEM = 1  # of SummaryRecord
KEY, NESTED_KEY, VALUE = 1, 2, 16  # of SummaryItem
EXIT_CODE = 1  # of RunExitRecord

VARINT, FIXED = 0, {1: 8, 5: 4}  # protobuf's wire types; all others begin with their length


@dataclass
class Facts:
    """A run as its file tells it."""

    has_begun: bool = False
    rows: int = 0  # of history
    exit_code: int | None = None  # None: it has no end (yet)
    summary: dict[str, Any] = field(default_factory=dict)


class Reader:
    """Takes the records out of a file, again and again as it grows. A torn tail waits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = len(HEADER)  # where the next record begins

    def new(self) -> Iterator[bytes]:
        """Records that are whole and have not been read. Raises OSError."""
        start = self.at - self.at % BLOCK
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read()
        if start == 0 and not data.startswith(HEADER):
            return
        for record, end in records(data, self.at - start):
            yield record
            self.at = start + end


def records(data: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """Every whole record from `at` on, and where it ends. `data` begins with a block."""
    parts = b""
    while at + PREFIX.size <= len(data):
        room = BLOCK - at % BLOCK
        if room < PREFIX.size:
            at += room
            continue
        checksum, length, kind = PREFIX.unpack_from(data, at)
        at += PREFIX.size
        part = data[at : at + length]
        at += length
        if len(part) < length or checksum != sum_of(kind, part):
            return
        parts = part if kind in (WHOLE, FIRST) else parts + part
        if kind in (WHOLE, LAST):
            yield parts, at


def sum_of(kind: int, part: bytes) -> int:
    return zlib.crc32(part, zlib.crc32(bytes([kind])))


class Writer:
    """Writes a file that wandb reads."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, also if there is such a file."""
        self.file = path.open("xb")
        self.at = 0
        self.put(HEADER)

    def write(self, record: bytes) -> None:
        begun = False
        while not begun or record:
            room = BLOCK - self.at % BLOCK
            if room < PREFIX.size:
                self.put(bytes(room))
                room = BLOCK
            part, record = record[: room - PREFIX.size], record[room - PREFIX.size :]
            kind = KINDS[begun, bool(record)]
            self.put(PREFIX.pack(sum_of(kind, part), len(part), kind) + part)
            begun = True

    def put(self, data: bytes) -> None:
        self.file.write(data)
        self.at += len(data)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class Rest:
    """A copy of a file without its first rows of history; it grows when the file has grown."""

    def __init__(self, source: Path, copy: Path, skip: int) -> None:
        """Raises OSError."""
        self.reader = Reader(source)
        self.writer = Writer(copy)
        self.skip = skip

    def carry_on(self) -> None:
        """Copy what is new. Raises OSError."""
        for record in self.reader.new():
            if self.skip and any(number == HISTORY for number, _ in fields(record)):
                self.skip -= 1
            else:
                self.writer.write(record)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def read(path: Path) -> Facts:
    """What a file says so far. Raises OSError."""
    facts = Facts()
    for record in Reader(path).new():
        for number, value in fields(record):
            if number == HISTORY:
                facts.rows += 1
            elif number == SUMMARY:
                facts.summary |= updates(value)
            elif number == RUN:
                facts.has_begun = True
            elif number == EXIT:
                facts.exit_code = next((v for n, v in fields(value) if n == EXIT_CODE), 0)
    return facts


def updates(summary: bytes) -> Iterator[tuple[str, Any]]:
    for number, item in fields(summary):
        if number == ITEM:
            found = list(fields(item))
            key = b".".join(value for n, value in found if n in (KEY, NESTED_KEY))
            yield key.decode(), json.loads(dict(found)[VALUE])


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """A protobuf message's fields by number: an int, or bytes for what has a length."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        length = FIXED.get(kind)
        if length is None:
            length, at = varint(message, at)
        yield number, message[at : at + length]
        at += length


def varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, seven bits a byte and the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
