"""Messages between the node's processes: frames, through a socket to a child, a pipe from it.

A frame is two big-endian 4-byte lengths, a JSON object, and binary data. Descriptors (training
tokens, weights) travel beside it, to the child alone: there are some whose very closing waits, and
no pipe carries any. The child may be hostile: whatever arrives, the only errors are WireError and
PeerGone, and no call waits longer than it was told to.
"""

import json
import math
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Json, Scalar

HEADER = struct.Struct(">II")
JSON_LIMIT = 1 << 18  # bytes, which may become some MB of objects
DATA_LIMIT = 1 << 26  # bytes: logits of 256 positions of the largest uint16 vocabulary
DESCRIPTOR_LIMIT = 4  # received and not yet claimed by a frame
READ = 1 << 20  # bytes per look: one flooding peer must not hold up the others
ENTRY_LIMIT = 500  # names in one table of scalars
NUMBER_LIMIT = 1e300  # beyond it, a number counts as infinite


class WireError(AutoresearchError):
    """A message no honest peer sends."""


class PeerGone(AutoresearchError):  # noqa: N818 - it reports a fact, not a fault
    """The peer has closed its end, or takes no more messages."""


@dataclass(frozen=True)
class Message:
    """One message. Its fields are untrusted: read them with the methods, which raise WireError."""

    kind: str
    fields: Json = field(default_factory=dict)
    data: bytes = b""
    descriptors: tuple[int, ...] = ()  # owned by whoever takes the message

    def number(self, name: str) -> float:
        return finite(name, self.fields.get(name))

    def count(self, name: str) -> int:
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise WireError(f"{self.kind}.{name} should be a count, but was {value!r:.100}")
        return value

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise WireError(f"{self.kind}.{name} should be text, but was {value!r:.100}")
        return well_formed(value)

    def scalars(self, name: str) -> dict[str, Scalar]:
        """A flat table: numbers are finite, text is valid Unicode."""
        table = self.fields.get(name)
        if not isinstance(table, dict) or len(table) > ENTRY_LIMIT:
            raise WireError(f"{self.kind}.{name} should be a small table, but was {table!r:.100}")
        return {well_formed(key): scalar(key, value) for key, value in table.items()}


def well_formed(text: str) -> str:
    """JSON can spell half a surrogate pair, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > NUMBER_LIMIT:
        raise WireError(f"{name} should be a finite number, but was {value!r:.100}")
    if math.isnan(value):
        raise WireError(f"{name} should be a finite number, but was nan")
    return float(value)


def scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return well_formed(value)
    number = finite(name, value)
    return int(value) if isinstance(value, int) else number


def encode(message: Message) -> bytes:
    """The frame of a message, without its descriptors. Raises WireError if it is too large."""
    head = {"kind": message.kind, "descriptors": len(message.descriptors), **message.fields}
    try:
        text = json.dumps(head, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WireError(f"{message.kind} should be plain JSON, but: {error}") from error
    check_sizes(len(text), len(message.data))
    return HEADER.pack(len(text), len(message.data)) + text + message.data


def check_sizes(text: int, data: int) -> None:
    if text > JSON_LIMIT or data > DATA_LIMIT:
        raise WireError(
            f"a frame should hold at most {JSON_LIMIT} + {DATA_LIMIT} bytes, "
            f"but has {text} + {data}"
        )


class Decoder:
    """Bytes in, in pieces of any size; frames out. A frame names how many descriptors it owns."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[Message, int]]:
        """Raises WireError as soon as the bytes cannot become a frame."""
        self.buffer += piece
        while len(self.buffer) >= HEADER.size:
            text, data = HEADER.unpack_from(self.buffer)
            check_sizes(text, data)
            end = HEADER.size + text + data
            if len(self.buffer) < end:
                return
            frame = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            yield parse(frame[:text], frame[text:])


def parse(text: bytes, data: bytes) -> tuple[Message, int]:
    try:
        head = json.loads(text, parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise WireError("a frame should begin with JSON, but does not") from error
    if not isinstance(head, dict):
        raise WireError("a frame should begin with a JSON object, but does not")
    kind, descriptors = head.pop("kind", None), head.pop("descriptors", None)
    if not isinstance(kind, str) or descriptors not in range(DESCRIPTOR_LIMIT + 1):
        raise WireError("a frame should name its kind and its descriptors, but does not")
    return Message(kind, head, data), int(descriptors)


def reject(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


class Connection:
    """One end of a stream of messages each way. `closed` once the peer has gone."""

    def __init__(self, reader: int, writer: int) -> None:
        for end in (reader, writer):
            os.set_blocking(end, False)
        self.reader = reader
        self.writer = writer
        self.ours = [reader, writer]
        self.closed = False
        self.decoder = Decoder()
        self.descriptors: deque[int] = deque()
        self.inbox: deque[Message] = deque()

    def fileno(self) -> int:
        """Of what there is to wait for."""
        return self.reader

    def close(self) -> None:
        self.closed = True
        while self.ours:
            os.close(self.ours.pop())

    def send(self, message: Message, patience: float = 10.0) -> None:
        """Raises PeerGone if the peer does not take the whole message within `patience` seconds."""
        rest = memoryview(encode(message))
        descriptors = list(message.descriptors)
        until = time.monotonic() + patience
        while rest:
            wait_for(self.writer, until)
            try:
                sent = self.put(rest, descriptors)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerGone(f"the peer of '{message.kind}' has gone") from error
            rest, descriptors = rest[sent:], []

    def put(self, piece: memoryview, descriptors: list[int]) -> int:
        """How many bytes the peer has taken."""
        assert not descriptors  # noqa: S101 - a pipe takes none
        return os.write(self.writer, piece)

    def take(self) -> bytes:
        """What has come, descriptors apart."""
        return os.read(self.reader, READ)

    def read(self) -> None:
        """Take in what has arrived, without waiting. Raises WireError."""
        try:
            piece = self.take()
        except BlockingIOError:
            return
        except OSError:  # a peer that was killed resets the connection
            piece = b""
        self.closed = self.closed or not piece
        for message, owned in self.decoder.feed(piece):
            if owned > len(self.descriptors):
                raise WireError(f"'{message.kind}' should bring {owned} descriptors, but did not")
            taken = tuple(self.descriptors.popleft() for _ in range(owned))
            self.inbox.append(Message(message.kind, message.fields, message.data, taken))

    def receive(self) -> Message:
        """Wait for a message, however long it takes. Raises PeerGone or WireError."""
        while not self.inbox:
            if self.closed:
                raise PeerGone("the peer has gone")
            select.select([self.reader], [], [])
            self.read()
        return self.inbox.popleft()


class ToChild(Connection):
    """A parent's end."""

    def put(self, piece: memoryview, descriptors: list[int]) -> int:
        with socket.socket(fileno=os.dup(self.writer)) as end:
            return socket.send_fds(end, [piece], descriptors)


class ToParent(Connection):
    """A child's end, which may be given descriptors."""

    def take(self) -> bytes:
        with socket.socket(fileno=os.dup(self.reader)) as end:
            piece, descriptors, _, _ = socket.recv_fds(end, READ, DESCRIPTOR_LIMIT)
        self.descriptors.extend(descriptors)
        return piece


def connect() -> tuple[ToChild, tuple[int, int]]:
    """A parent's end, and what a child makes a `ToParent` of: numbers that it inherits."""
    ours, theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_RD)
    reader, writer = os.pipe()
    return ToChild(reader, ours.detach()), (theirs.detach(), writer)


def wait_for(end: int, until: float) -> None:
    """Until it takes more. Raises PeerGone when time is up."""
    patience = max(0.0, until - time.monotonic())
    if not select.select([], [end], [], patience)[1]:
        raise PeerGone("the peer takes no more messages")
