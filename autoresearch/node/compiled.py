"""What compilers made for a program, handed on to its next attempt, which need not wait for them.

A harness packs the folder of torch's compilers when it is ready: before it has seen a token or a
weight. The referee keeps the file, which it does not read, and gives copies of it to later
attempts of the same train.py, in the same part, on the same device. So nothing that was learned
can travel, no program's code reaches another's process, and a program's never reaches its scorer.
"""

import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from autoresearch.node.kernel import is_sealed, seal, sealed_copy

FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}  # below one root
CONTENTS = 1 << 26  # bytes that a harness packs
BYTES = 2 * CONTENTS  # of a file, at most
PARTS = 4  # files that are kept: of two programs, each with its scorer

Key = tuple[str, str]  # the hash of a train.py, and the part that it plays: program or scorer


class Compiled:
    """The referee's: the last sealed file of each program and part, the oldest of them dropped."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Key, int] = OrderedDict()

    def take(self, key: Key, descriptor: int) -> None:
        """Keep a file, if it is what a harness packs: something, of bounded size, and sealed."""
        if not is_sealed(descriptor) or not 0 < os.fstat(descriptor).st_size <= BYTES:
            return
        self.drop(key)
        with sealed_copy(descriptor) as copy:
            self.kept[key] = os.dup(copy)
        while len(self.kept) > PARTS:
            self.drop(next(iter(self.kept)))

    def drop(self, key: Key) -> None:
        if key in self.kept:
            os.close(self.kept.pop(key))

    def of(self, key: Key) -> int | None:
        """Still ours: give it to nobody but in a copy."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)


# ---- in a harness ------------------------------------------------------------------------------


def environment(root: Path) -> dict[str, str]:
    """What has torch's compilers work below a folder."""
    return {name: str(root / folder) for name, folder in FOLDERS.items()}


def root() -> Path:
    """The folder that this process was told of by `environment`."""
    return Path(os.environ[next(iter(FOLDERS))]).parent


def pack(descriptor: int) -> None:
    """Fill and seal a file with what compilers have left here; not if nothing, or too much."""
    with suppress(OSError):  # one was taken away meanwhile, or there is no room
        files = [path for path in root().rglob("*") if path.is_file()]
        if files and sum(path.stat().st_size for path in files) <= CONTENTS:
            with os.fdopen(os.dup(descriptor), "wb") as file, ZipFile(file, "w") as archive:
                for path in files:
                    archive.write(path, path.relative_to(root()))
            seal(descriptor)


def unpack(descriptors: Sequence[int]) -> None:
    """Lay what an earlier attempt has packed where compilers look."""
    for descriptor in descriptors:
        # What is damaged is its own earlier attempt's doing: then it is compiled once more.
        with suppress(OSError, BadZipFile), os.fdopen(descriptor, "rb") as file:
            ZipFile(file).extractall(root())
