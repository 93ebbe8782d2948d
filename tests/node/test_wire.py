"""Frames: what is sent arrives, and nothing that arrives can hang or crash the receiver."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.node import wire
from autoresearch.node.wire import Decoder, Message, PeerGone, ToChild, ToParent, WireError, connect

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
    st.text(),
)
NAMES = st.text(min_size=1).filter(lambda name: name not in ("kind", "descriptors"))
MESSAGES = st.builds(
    Message, st.text(), st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3)), st.binary()
)


def trees(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner) | st.dictionaries(st.text(), inner)


def frames(pieces: list[bytes]) -> list[Message]:
    decoder = Decoder()
    return [message for piece in pieces for message, _ in decoder.feed(piece)]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(st.lists(MESSAGES, max_size=3), st.integers(1, 50))
def test_messages_arrive_as_sent_however_the_bytes_are_cut(sent: list[Message], size: int) -> None:
    data = b"".join(map(wire.encode, sent))
    assert frames(cut(data, size)) == sent


@given(st.lists(st.binary(), max_size=5))
def test_garbage_is_a_wire_error_or_an_unfinished_frame(pieces: list[bytes]) -> None:
    try:
        frames(pieces)
    except WireError:
        return


@given(st.recursive(st.none() | SCALARS, trees))
def test_any_json_in_a_frame_is_a_message_or_a_wire_error(value: object) -> None:
    text = json.dumps(value).encode()
    try:
        (message,) = frames([wire.HEADER.pack(len(text), 0) + text])
    except WireError:
        return
    assert isinstance(value, dict)
    assert message.kind == value["kind"]


@given(st.dictionaries(st.sampled_from("ab"), st.none() | SCALARS | st.lists(SCALARS)))
def test_reading_any_field_gives_its_type_or_a_wire_error(fields: dict[str, object]) -> None:
    message = Message("m", {**fields, "t": fields})
    for read in (message.number, message.count, message.text, message.scalars):
        try:
            read("a")
            read("t")
        except WireError:
            continue


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,  # deeper than Python's stack
        b'{"kind": "x", "descriptors": 0, "n": ' + b"9" * 10_000 + b"}",
        b'{"kind": "x", "descriptors": 0, "n": NaN}',
        b'{"kind": "x", "descriptors": 5}',
        b'{"kind": "x", "descriptors": -1}',
        b'{"kind": 1, "descriptors": 0}',
        b'{"descriptors": 0}',
        b"\xff\xfe",
        b"null",
    ],
)
def test_a_hostile_head_is_a_wire_error(text: bytes) -> None:
    with pytest.raises(WireError):
        frames([wire.HEADER.pack(len(text), 0) + text])


@pytest.mark.parametrize("sizes", [(wire.JSON_LIMIT + 1, 0), (2, wire.DATA_LIMIT + 1)])
def test_an_oversized_frame_is_refused_before_it_is_read(sizes: tuple[int, int]) -> None:
    with pytest.raises(WireError, match="at most"):
        frames([wire.HEADER.pack(*sizes)])


@pytest.mark.parametrize("number", ["1e999", "-1e999", str(10**400), '"1"', "true", "null", "[]"])
def test_a_number_is_finite_or_refused(number: str) -> None:
    text = f'{{"kind": "x", "descriptors": 0, "n": {number}}}'.encode()
    (message,) = frames([wire.HEADER.pack(len(text), 0) + text])
    with pytest.raises(WireError, match="finite number"):
        message.number("n")


def test_half_a_surrogate_pair_becomes_text_that_a_file_can_hold() -> None:
    text = rb'{"kind": "x", "descriptors": 0, "reason": "\ud800", "t": {"\udfff": "\ud800"}}'
    (message,) = frames([wire.HEADER.pack(len(text), 0) + text])
    assert message.text("reason").encode() == b"?"
    assert message.scalars("t") == {"?": "?"}


def test_a_message_that_is_no_json_is_refused_by_its_sender() -> None:
    for value in (float("nan"), object()):
        with pytest.raises(WireError, match="plain JSON"):
            wire.encode(Message("m", {"v": value}))


@pytest.fixture
def ends() -> Iterator[tuple[ToChild, ToParent]]:
    ours, theirs = connect()
    other = ToParent(*theirs)
    yield ours, other
    ours.close()
    other.close()


def test_descriptors_travel_with_their_message(ends: tuple[ToChild, ToParent]) -> None:
    ours, theirs = ends
    reader, writer = os.pipe()
    ours.send(Message("first"))
    ours.send(Message("weights", descriptors=(writer,)))
    os.close(writer)
    assert theirs.receive() == Message("first")
    (received,) = theirs.receive().descriptors
    os.write(received, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(received)
    os.close(reader)


def test_data_larger_than_any_buffer_arrives(ends: tuple[ToChild, ToParent]) -> None:
    ours, theirs = ends
    data = os.urandom(5_000_000)
    sender = threading.Thread(target=ours.send, args=(Message("big", data=data),))
    sender.start()
    assert theirs.receive().data == data
    sender.join()


def test_a_peer_that_does_not_listen_costs_no_more_than_the_patience(
    ends: tuple[ToChild, ToParent],
) -> None:
    ours, _ = ends
    began = time.monotonic()
    with pytest.raises(PeerGone, match="takes no more"):
        ours.send(Message("big", data=bytes(5_000_000)), patience=0.2)
    assert time.monotonic() - began < 5


def test_a_peer_that_has_gone_is_noticed_by_both_directions(
    ends: tuple[ToChild, ToParent],
) -> None:
    ours, theirs = ends
    theirs.send(Message("last words"))
    theirs.close()
    with pytest.raises(PeerGone):
        ours.send(Message("hello"))
    assert ours.receive() == Message("last words")
    with pytest.raises(PeerGone):
        ours.receive()


def test_a_message_that_lacks_its_descriptors_is_a_wire_error(
    ends: tuple[ToChild, ToParent],
) -> None:
    ours, theirs = ends
    text = b'{"kind": "done", "descriptors": 1}'
    os.write(theirs.writer, wire.HEADER.pack(len(text), 0) + text)
    with pytest.raises(WireError, match="1 descriptors"):
        ours.receive()


def test_nothing_comes_back_through_the_socket(ends: tuple[ToChild, ToParent]) -> None:
    _, theirs = ends
    with socket.socket(fileno=os.dup(theirs.reader)) as end, pytest.raises(BrokenPipeError):
        socket.send_fds(end, [b"x"], [0])
