"""W&B's working folder on a node, and the way home for the runs in it.

Does not import wandb: wandb must find this folder when it is imported.
"""

import os
import shutil
import tempfile
from pathlib import Path

from autoresearch.node import scratch

UNNEEDED = ("files", "logs", "tmp")  # `wandb sync` does without; clusters have inode quotas


class Scratch(scratch.Scratch):
    """W&B's working folder on this node, locked while its logger lives.

    A logger that is killed leaves its folder behind; the next one on the node finds it unlocked
    and brings its runs home, without an end: torn runs, which `wandb sync` reports as failed.
    """

    KIND = "wandb"

    @property
    def home(self) -> Path | None:
        """Where the runs in this folder belong; None before the first one."""
        note = self.path / "home"
        return Path(note.read_text(encoding="utf-8")) if note.exists() else None

    @home.setter
    def home(self, home: Path) -> None:
        (self.path / "home").write_text(str(home), encoding="utf-8")

    def bring_home(self) -> None:
        """Move every run in this folder to its campaign, each appearing there whole.

        A campaign that is gone takes nothing. Raises OSError if its folder cannot be written.
        """
        home = self.home
        for folder in (self.path / "wandb").glob("offline-run-*"):
            if home and home.parent.is_dir() and not (home / folder.name).exists():
                home.mkdir(exist_ok=True)
                draft = home / f".{folder.name}"
                shutil.rmtree(draft, ignore_errors=True)
                shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(*UNNEEDED))
                draft.rename(home / folder.name)
            shutil.rmtree(folder)


def isolate(folder: Path) -> None:
    """Keep wandb to its scratch folder: no settings, keys or caches of the user, no network."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    for name in ("CONFIG", "CACHE", "DATA"):
        os.environ[f"WANDB_{name}_DIR"] = str(folder / name.lower())
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    tempfile.tempdir = str(folder)
