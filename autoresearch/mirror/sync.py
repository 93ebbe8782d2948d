"""A campaign's runs that nodes could not send → W&B's server, from the login node.

They lie in the campaign's wandb/ folder; one that is being made grows there. Whatever is
interrupted goes on the next time, and no row is there twice. A file whose run the server surely has
gets a mark beside it that says how long it was.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.experiment import State
from autoresearch.history import History
from autoresearch.layout import Layout, read_json, write_atomically
from autoresearch.lease import silent_seconds
from autoresearch.mirror.courier import MARK
from autoresearch.mirror.post import QUIET_SECONDS, WORKERS, Lister, Parcel, Post, Told
from autoresearch.mirror.records import read
from autoresearch.mirror.turn import turn
from autoresearch.settings import Tracker
from autoresearch.tracking import server
from autoresearch.tracking.naming import run_id
from autoresearch.tracking.scratch import OFFLINE

GROWING_SECONDS = 60.0  # since it last grew, a run without an end may be one that is being made


@dataclass
class Outcome:
    """What became of the runs that were pending, by id."""

    sent: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)  # the server had all of them already
    left: list[str] = field(default_factory=list)  # for the next time: being made, or not tried
    failed: dict[str, str] = field(default_factory=dict)  # and why
    complaint: str = ""  # the last of W&B's own tool, if any failed


def pending(layout: Layout) -> list[Path]:
    """The files whose runs are not, or not wholly, known to be on the server; oldest first."""
    found = layout.wandb.glob(f"{OFFLINE}run-*/run-*.wandb")
    return sorted(path for path in found if length_sent(path) != path.stat().st_size)


def length_sent(path: Path) -> int | None:
    """How long a file was when the server surely had its run; None if it never had."""
    length = (read_json(mark(path)) or {}).get("bytes")
    return length if isinstance(length, int) else None


def mark(path: Path) -> Path:
    """The file that says so; W&B's own tools leave out what has one."""
    return path.with_name(f"{path.name}{MARK}")


def id_of(path: Path) -> str:
    return path.stem.removeprefix("run-")


def being_made(history: History) -> frozenset[str]:
    """The runs of attempts that have not ended, as far as the journal knows."""
    active = [entry for entry in history.active.values() if entry.state is not State.proposed]
    return frozenset(run_id(history.name, e.experiment.id, e.attempt) for e in active)


def upload(
    layout: Layout,
    tracker: Tracker,
    lister: Lister,
    *,
    live: bool,
    told: Told = lambda _done, _all: None,
    making: Collection[str] = frozenset(),
    workers: int = WORKERS,
    quiet: float = QUIET_SECONDS,
    growing: float = GROWING_SECONDS,
) -> Outcome:
    """Send what is pending; `live`: also follow the runs that are being made, until they end.

    `making` names runs that may be silent for long and yet go on; others may have grown in the last
    `growing` seconds. Raises CampaignError if the server does not answer, Busy if another process
    sends, OSError if a file cannot be read.
    """
    if not pending(layout):
        return Outcome()
    with turn(layout.sending) as mine:
        files: dict[str, Path] = {}
        for path in pending(layout):
            files.setdefault(id_of(path), path)  # of two files of a run, one at a time
        post = Post(server.address(tracker), lister, mine, told, workers, quiet, total=len(files))
        return Sync(files, making, post, growing).run(live=live)


def forget(layout: Layout, ids: Collection[str]) -> bool:
    """Make pending again what the server has lost; whether there is anything of these."""
    found = [
        path for path in layout.wandb.glob(f"{OFFLINE}run-*/run-*.wandb") if id_of(path) in ids
    ]
    for path in found:
        mark(path).unlink(missing_ok=True)
    return bool(found)


class Sync:
    """One go at the files that are pending."""

    def __init__(
        self, files: dict[str, Path], making: Collection[str], post: Post, growing: float
    ) -> None:
        self.files = files
        self.making = making
        self.post = post
        self.growing = growing
        self.outcome = Outcome()

    def run(self, *, live: bool) -> Outcome:
        ended: list[Parcel] = []
        growing: list[Parcel] = []
        for parcel in self.lacking(self.files, self.outcome.there):
            (growing if self.may_grow(parcel) else ended).append(parcel)
        self.post.send(ended, self.settle, growing if live else ())
        if live and growing:
            # Those that fell silent are sent as they are, unless somebody says that they go on.
            rest = self.lacking([parcel.id for parcel in growing], self.outcome.sent)
            over = [p for p in rest if p.has_ended or p.id not in self.making]
            self.post.send(over, self.settle)
        settled = {*self.outcome.sent, *self.outcome.there, *self.outcome.failed}
        self.outcome.left = [id for id in self.files if id not in settled]
        self.post.told(len(settled), len(self.files))
        self.outcome.complaint = self.post.complaint if self.outcome.failed else ""
        return self.outcome

    def lacking(self, ids: Collection[str], complete: list[str]) -> Iterator[Parcel]:
        """What the server lacks of these; of which it lacks nothing become `complete`."""
        seen = self.post.look(ids)
        for id in ids:
            path = self.files[id]
            length = path.stat().st_size
            facts = read(path)
            held = seen[id].rows if id in seen else 0
            parcel = Parcel(id, path, length, facts, held, skip=min(held, facts.rows))
            if not facts.has_begun:
                self.note_empty(parcel)
            elif parcel.is_known(seen.get(id)) or not parcel.problem(seen.get(id)):
                write_mark(parcel)
                complete.append(id)
                self.post.done += 1
            else:
                yield parcel

    def note_empty(self, parcel: Parcel) -> None:
        """A file without a run: there is nothing to send, now or ever unless it grows."""
        if not self.may_grow(parcel):
            write_mark(parcel)
            self.outcome.there.append(parcel.id)

    def may_grow(self, parcel: Parcel) -> bool:
        if parcel.has_ended:
            return False
        return parcel.id in self.making or silent_seconds(parcel.path) < self.growing

    def settle(self, parcel: Parcel, problem: str) -> None:
        if problem:
            self.outcome.failed[parcel.id] = problem
        else:
            write_mark(parcel)
            self.outcome.sent.append(parcel.id)


def write_mark(parcel: Parcel) -> None:
    write_atomically(mark(parcel.path), json.dumps({"bytes": parcel.length}) + "\n")
