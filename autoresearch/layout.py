"""Every file name under a campaign directory, and where the shipped folders lie.

Nothing else in the project joins a path below a campaign. Runs on compute nodes too.

    config.yaml                settings at start
    journal/000001.jsonl       one segment per controller life
    sources.git                every train.py ever tried; branch `champion` is the result
    node/                      the referee's own code and settings.json, frozen at start
    queue/<tier>/              one entry per attempt that waits for a pilot
    experiments/<id>/          experiment.json, train.py, attempt-N/{claim, result.json, log.txt}
    pilots/<pilot>.json        who a pilot is (host, pid, tier); pilots/<batch>/ is submitit's
    control/                   its id and key; requests to the controller and to the pilots
    asks/<number>/             what a planner was asked, and what it said until its wave is recorded
    replays/                   experiments run again by `autoresearch replay`
    wandb/                     W&B runs that are not, or not wholly, on the server yet
    report/                    results.tsv, progress.png; wandb.json: where the report at W&B is
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoresearch.experiment import Attempt, Json


def shipped(name: str) -> Path:
    """A folder that comes with the package (conf, skills, ...), installed or in a checkout."""
    installed = Path(__file__).parent / name
    return installed if installed.is_dir() else Path(__file__).parent.parent / name


def write_atomically(path: Path, text: str, *, private: bool = False) -> None:
    """Write, flush to disk, rename: a reader sees the old file or the new one, whole.

    `private`: nobody else may read it. Raises OSError (a full disk, a read-only directory); the
    temporary file is then removed.
    """
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            if private:
                temporary.chmod(0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def link_once(path: Path, text: str, name: str) -> bool:
    """Create a whole file unless it exists; whether it was us. Safe on NFS.

    A lost reply makes NFS report a link as existing that it has just made: the count decides.
    """
    temporary = path.with_name(f".{path.name}.{name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file of any size. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Json | None:
    """The object in a small file others write, or None if it is missing or not whole."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


@dataclass(frozen=True)
class Layout:
    """The file names of one campaign. `root` is absolute."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def sources(self) -> Path:
        return self.root / "sources.git"

    @property
    def node(self) -> Path:
        """The frozen node code: first on PYTHONPATH, `-m autoresearch.node.pilot` runs it."""
        return self.root / "node"

    @property
    def node_settings(self) -> Path:
        return self.node / "settings.json"

    @property
    def pilots(self) -> Path:
        return self.root / "pilots"

    def pilot(self, name: str) -> Path:
        return self.pilots / f"{name}.json"

    @property
    def identity(self) -> Path:
        """What its jobs are called after: hex digits, made once, that move with the campaign."""
        return self.root / "control" / "id"

    @property
    def key(self) -> Path:
        """What results that W&B carries are signed with; for the user alone."""
        return self.root / "control" / "key"

    @property
    def watched(self) -> Path:
        """What W&B said when it was last asked; see docs/formats.md."""
        return self.root / "control" / "wandb.json"

    @property
    def sending(self) -> Path:
        """Who sends runs to W&B from a login node now."""
        return self.root / "control" / "sending.json"

    @property
    def lease(self) -> Path:
        """Who controls the campaign now, and when they last said so."""
        return self.root / "control" / "controller.json"

    @property
    def notices(self) -> Path:
        """What the cluster lets a person know, as the controller last saw it: `{"notices": []}`."""
        return self.root / "control" / "notices.json"

    @property
    def stop(self) -> Path:
        """A request to the controller to end: `{"now": false}`."""
        return self.root / "control" / "stop"

    @property
    def promotions(self) -> Path:
        """Requests to the controller to test a candidate next: `{"experiment": id}` each."""
        return self.root / "control" / "promotions"

    @property
    def waves(self) -> Path:
        """Waves that came from outside, one file each, until the controller has taken them in."""
        return self.root / "control" / "waves"

    @property
    def asks(self) -> Path:
        return self.root / "asks"

    def ask(self, name: str) -> Path:
        """One question to a planner: request.json, what it answers, what it spends."""
        return self.asks / name

    @property
    def drain(self) -> Path:
        """While this file exists pilots finish what they run and claim nothing more."""
        return self.root / "control" / "drain"

    @property
    def replays(self) -> Path:
        """Experiments run again by `autoresearch replay`: a small campaign directory each."""
        return self.root / "replays"

    @property
    def wandb(self) -> Path:
        return self.root / "wandb"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def report_note(self) -> Path:
        """Where the report at W&B is: `{"schema", "url", "id"}`."""
        return self.report / "wandb.json"

    @property
    def experiments(self) -> Path:
        return self.root / "experiments"

    def experiment(self, id: str) -> Path:
        return self.experiments / id

    def experiment_json(self, id: str) -> Path:
        return self.experiment(id) / "experiment.json"

    def program(self, id: str) -> Path:
        return self.experiment(id) / "train.py"

    def weights(self, id: str) -> Path:
        """A replay's alone: weights to score instead of training some."""
        return self.experiment(id) / "weights.pt"

    def attempt(self, attempt: Attempt) -> Path:
        return self.experiment(attempt.experiment) / f"attempt-{attempt.number}"

    def claim(self, attempt: Attempt) -> Path:
        return self.attempt(attempt) / "claim"

    def result(self, attempt: Attempt) -> Path:
        return self.attempt(attempt) / "result.json"

    def log(self, attempt: Attempt) -> Path:
        return self.attempt(attempt) / "log.txt"

    def checkpoint(self, attempt: Attempt) -> Path:
        return self.attempt(attempt) / "weights.pt"

    def queue(self, tier: str) -> Path:
        return self.root / "queue" / tier

    def queue_entry(self, tier: str, rank: int, attempt: Attempt) -> Path:
        """An empty file. Entries are claimed in the order of their names: `rank` first."""
        return self.queue(tier) / f"{rank:08d}.{attempt.experiment}.{attempt.number}"

    def queued(self, tier: str) -> Iterator[tuple[Path, Attempt]]:
        """What waits in a tier, first in line first. One directory listing."""
        try:
            names = sorted(os.listdir(self.queue(tier)))
        except FileNotFoundError:
            return
        for name in names:
            parts = name.split(".")
            if len(parts) == 3 and parts[2].isdecimal():
                yield self.queue(tier) / name, Attempt(parts[1], int(parts[2]))

    def folders(self, tiers: Iterator[str] | tuple[str, ...]) -> Iterator[Path]:
        """Every directory that must exist before a campaign can start."""
        yield from (self.root, self.journal, self.pilots, self.promotions)
        yield from (self.experiments, self.report)
        yield from (self.queue(tier) for tier in tiers)
