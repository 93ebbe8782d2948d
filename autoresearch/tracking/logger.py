"""The process beside the referee that writes W&B runs: `python -P -m autoresearch.tracking.logger`.

Reads JSON lines on stdin: `start`, `log`, `finish` (docs/formats.md), for one run after another.
The end of input without a `finish` means that the run was killed: exit code 143. SIGTERM ends the
input a little later: the referee, who was told as well, then has the last word. W&B writes to a
node-local folder; what the server has not taken is brought home.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from autoresearch.errors import AutoresearchError, RecordError
from autoresearch.experiment import Json
from autoresearch.tracking.scratch import Scratch, isolate

LAST_WORD_SECONDS = 5  # that whoever was told to end, as we were, has to say how it ended
DELIVERY_SECONDS = 540.0  # for what only the server can take


def events(stream: BinaryIO) -> Iterator[Json]:
    """One event per complete line; a last line without its end was torn by a kill and is dropped.

    Raises RecordError for a line that is no JSON object.
    """
    for line in stream:
        if not line.endswith(b"\n"):
            return
        try:
            event = json.loads(line)
        except ValueError as error:
            raise RecordError(f"a W&B event should be a line of JSON, but: {error}") from error
        if not isinstance(event, dict):
            raise RecordError(f"a W&B event should be a JSON object, but was {line[:40]!r}")
        yield event


def end_soon(*_: object) -> None:
    signal.alarm(LAST_WORD_SECONDS)


def end_input(*_: object) -> None:
    """What was sent so far still counts, then the input is over."""
    rest, stdin = os.memfd_create("rest"), sys.stdin.fileno()
    os.set_blocking(stdin, False)
    with suppress(BlockingIOError):
        while sent := os.read(stdin, 1 << 16):
            os.write(rest, sent)
    os.lseek(rest, 0, os.SEEK_SET)
    os.dup2(rest, stdin)
    os.close(rest)


def serve(stream: BinaryIO, scratch: Scratch) -> None:
    """Take every event of a stream. Whatever ends it, an open run is closed as killed."""
    # wandb makes temporary folders as it is imported: they must land in the scratch folder.
    from autoresearch.tracking.runs import KILLED, Logger  # noqa: PLC0415

    logger = Logger(scratch)
    try:
        for event in events(stream):
            logger.take(event)
    finally:
        logger.end(KILLED)
        logger.deliver(DELIVERY_SECONDS)


def adopt_orphans() -> None:
    """Bring home what loggers have left on this node that were killed."""
    for orphan in Scratch.orphans():
        try:
            orphan.bring_home()
        except OSError:  # its campaign cannot be written now: it waits for the next logger
            orphan.leave()
        else:
            orphan.remove()


def main() -> int:
    signal.signal(signal.SIGTERM, end_soon)
    signal.signal(signal.SIGALRM, end_input)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a user's Ctrl-C lets running experiments finish
    try:
        adopt_orphans()
        scratch = Scratch.create()
        isolate(scratch.path)
        serve(sys.stdin.buffer, scratch)
        scratch.remove()  # not after a failure: what is in it would be lost
    except (AutoresearchError, OSError) as error:
        print(f"W&B logger: {error}", file=sys.stderr)  # noqa: T201 - the referee keeps it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
