"""A folder for temporary files on a node, locked while the process that made it lives.

Whoever is killed leaves its folder behind; the next one of its kind finds it unlocked.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self


class Scratch:
    """One such folder. Those of a kind share a prefix, and only see the same user's."""

    KIND = "pilot"

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def prefix(cls) -> str:
        return f"autoresearch-{cls.KIND}-{os.getuid()}-"

    @classmethod
    def create(cls) -> Self:
        """Raises OSError if the node has no room for temporary files."""
        draft = Path(tempfile.mkdtemp(prefix="autoresearch-draft-"))
        lock = os.open(draft / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Renamed only now that it is locked: nobody may take it for an orphan.
        path = draft.with_name(f"{cls.prefix()}{draft.name.rpartition('-')[2]}")
        draft.rename(path)
        return cls(path, lock)

    @classmethod
    def orphans(cls) -> Iterator[Self]:
        """Folders of this kind on this node whose makers are dead, locked for the caller."""
        for path in Path(tempfile.gettempdir()).glob(f"{cls.prefix()}*"):
            try:
                if path.lstat().st_uid != os.getuid():
                    continue
                lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:  # taken away meanwhile by another
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            yield cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)
