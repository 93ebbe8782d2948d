"""Copying the node's code beside a campaign, so that an update in mid-campaign changes nothing."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from autoresearch.node import FROZEN

PACKAGE = Path(__file__).parent.parent
TRACKING = "tracking"  # copied as well, but it decides no number: not part of the hash


def node_hash(package: Path = PACKAGE, names: Sequence[str] = FROZEN) -> str:
    """SHA-256 over the names and contents of the frozen modules: equal code, equal hash.

    Of a campaign's copy `names` are those of its own time. Raises OSError if one is missing.
    """
    sha256 = hashlib.sha256()
    for name in names:
        content = (package / name).read_bytes()
        sha256.update(f"{name} {len(content)}\n".encode())
        sha256.update(content)
    return sha256.hexdigest()


def freeze(destination: Path) -> str:
    """Copy the modules to `destination`/autoresearch and return `node_hash()`. Raises OSError."""
    tracking = sorted((PACKAGE / TRACKING).glob("*.py"))
    names = [*FROZEN, *(str(path.relative_to(PACKAGE)) for path in tracking)]
    for name in names:
        target = destination / PACKAGE.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, target)
    return node_hash()
