"""Prepared data as the node sees it: verified, read-only, and training tokens apart from the rest.

`train/prepare.py` writes it; docs/formats.md describes it. Here nothing is ever written to disk.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoresearch.errors import DataError
from autoresearch.experiment import Json, Split
from autoresearch.node.kernel import memory_file, seal

SCHEMA = 1
PIECE = 1 << 24  # bytes read at once

Tokens = NDArray[np.uint16]


def manifest_text(directory: Path) -> bytes:
    path = directory / "manifest.json"
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{directory} should hold prepared data, but {path.name} cannot be read "
            f"({error.strerror}); run `autoresearch prepare`"
        ) from error


def manifest_id(directory: Path) -> str:
    """The identity of prepared data: the SHA-256 of its manifest. Raises DataError."""
    return hashlib.sha256(manifest_text(directory)).hexdigest()


@dataclass(frozen=True)
class Prepared:
    """One directory of prepared data. What is read from it is checked against the manifest."""

    directory: Path
    id: str
    manifest: Json

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Raises DataError if there is none, or of another schema."""
        text = manifest_text(directory)
        try:
            manifest = json.loads(text)
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(directory / "manifest.json", "no manifest") from error
        if schema != SCHEMA:
            raise DataError(
                f"{directory} should hold data of schema {SCHEMA}, but has {schema!r}; "
                "prepare it again with this version"
            )
        return cls(directory, hashlib.sha256(text).hexdigest(), manifest)

    @property
    def vocabulary(self) -> int:
        return int(self.manifest["vocabulary"])

    def size(self, split: Split) -> int:
        """Tokens of a split, as the manifest says."""
        return int(self.manifest["splits"][split]["tokens"])

    def token_bytes(self) -> NDArray[np.int32]:
        """(vocabulary,) UTF-8 bytes of each token; 0 for special ones."""
        table = np.frombuffer(b"".join(self.verified("token_bytes.bin")), dtype="<i4")
        if len(table) != self.vocabulary:
            raise damaged(self.directory / "token_bytes.bin", f"{len(table)} entries")
        return table

    def tokens(self, split: Split) -> Tokens:
        """(n,) the tokens of a held-out split."""
        pieces = [p for name in self.files(split) for p in self.verified(name)]
        return np.frombuffer(b"".join(pieces), dtype="<u2")

    def seal_training_tokens(self) -> int:
        """A descriptor of the training tokens in memory that nobody can write to any more.

        To be mapped privately: kernels before 6.7 refuse a shared mapping, even to read.
        """
        descriptor = memory_file("training-tokens")
        with os.fdopen(os.dup(descriptor), "wb", buffering=0) as file:
            for name in self.files("train"):
                for piece in self.verified(name):
                    file.write(piece)
        seal(descriptor)
        return descriptor

    def files(self, split: str) -> list[str]:
        return list(self.manifest["splits"][split]["files"])

    def verified(self, name: str) -> Iterator[bytes]:
        """The pieces of a file. Raises DataError, at the latest after the last one."""
        path = self.directory / name
        sha256 = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    sha256.update(piece)
                    yield piece
        except OSError as error:
            raise damaged(path, error.strerror or str(error)) from error
        if sha256.hexdigest() != self.manifest["files"][name]["sha256"]:
            raise damaged(path, "other bytes")


def damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} should be what its manifest says, but: {found}; remove it and prepare again"
    )
