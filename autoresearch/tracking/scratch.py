"""W&B's working folder on a node, and the way home for the runs in it.

Does not import wandb: wandb must find this folder when it is imported.
"""

import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from autoresearch.node import scratch

OFFLINE = "offline-"  # how the folder of a run begins that W&B's own tools may send


class Scratch(scratch.Scratch):
    """W&B's working folder on this node, locked while its logger lives.

    A logger that is killed leaves its folder behind; the next one on the node finds it unlocked
    and brings its runs home, without an end: torn runs, which become failed ones when they are
    sent.
    """

    KIND = "wandb"

    @property
    def home(self) -> Path | None:
        """The folder for runs that are not on the server; None if they have none, or none yet."""
        note = self.path / "home"
        return Path(note.read_text(encoding="utf-8")) if note.exists() else None

    @home.setter
    def home(self, home: Path | None) -> None:
        note = self.path / "home"
        if home is None:
            note.unlink(missing_ok=True)
        else:
            note.write_text(str(home), encoding="utf-8")

    @property
    def runs(self) -> list[Path]:
        """The folder of each run here."""
        folders = (self.path / "wandb").glob("*run-*")  # latest-run links to one of them
        return sorted(path for path in folders if path.is_dir() and not path.is_symlink())

    def carry(self) -> None:
        """Append to the copies at home what has been written since: only files that grow go home.

        A campaign that is gone takes nothing. Raises OSError if its folder cannot be written.
        """
        home = self.home
        if home is None or not home.parent.is_dir():
            return
        for folder in self.runs:
            copy = home / f"{OFFLINE}{folder.name.removeprefix(OFFLINE)}"
            copy.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.wandb"):
                append(path, copy / path.name)

    def bring_home(self) -> None:
        """Move every run in this folder to its campaign. Raises OSError as `carry` does."""
        self.carry()
        self.clear()

    def clear(self) -> None:
        """Take away the runs here."""
        for folder in self.runs:
            shutil.rmtree(folder)

    def leave(self) -> None:
        """Let the next logger find it."""
        os.close(self.lock)


def append(path: Path, copy: Path) -> None:
    """Make `copy` what `path` is, where it is a beginning of it already."""
    with path.open("rb") as source, copy.open("ab") as target:
        source.seek(target.tell())
        shutil.copyfileobj(source, target)


def isolate(folder: Path, keep: Collection[str] = ()) -> None:
    """Keep wandb to a folder: no settings or caches of the user, no words, no crash reports.

    Its key is in ~/.netrc; `keep` names what of the user's environment it needs besides.
    """
    for name in [name for name in os.environ if name.startswith("WANDB_") and name not in keep]:
        del os.environ[name]
    for name in ("CONFIG", "CACHE", "DATA"):
        os.environ[f"WANDB_{name}_DIR"] = str(folder / name.lower())
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    tempfile.tempdir = str(folder)
