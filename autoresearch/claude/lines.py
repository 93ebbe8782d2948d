"""An append-only file of JSON lines: each is on disk before `append` returns.

A torn last line (its writer was killed) was never written; damage elsewhere is an error.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from autoresearch.errors import CampaignError, RecordError
from autoresearch.experiment import Json
from autoresearch.journal import write_all


def read(path: Path) -> tuple[list[Json], int]:
    """The whole lines of a file, none if there is no file, and how many bytes they take.

    Raises RecordError if one of them is no JSON object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RecordError(f"{path} line {number} should be a JSON object, but is damaged")
        records.append(record)
    return records, len(whole)


class Lines:
    """The one writer of a file. `records` are all that it holds."""

    def __init__(self, path: Path, file: int, records: list[Json], length: int) -> None:
        self.path = path
        self.records = records
        self._file = file
        self._length = length

    @classmethod
    def open(cls, path: Path) -> Self:
        """Go on with a file, or begin one; a torn last line is cut off. Waits for who writes it.

        Raises CampaignError if it cannot be written, RecordError if it is damaged.
        """
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            records, length = read(path)
            os.ftruncate(file, length)
        except OSError as error:
            raise CampaignError(f"{path} should be writable, but: {error.strerror}") from error
        return cls(path, file, records, length)

    def append(self, record: Json) -> None:
        """All of it or, if the disk is full, nothing: then CampaignError."""
        data = json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            write_all(self._file, data)
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._length)
            raise CampaignError(
                f"{self.path} should take {len(data)} more bytes, but: {error.strerror}; "
                "free some space or quota"
            ) from error
        self._length += len(data)
        self.records.append(record)

    def close(self) -> None:
        os.close(self._file)
