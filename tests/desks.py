"""A real campaign directory without a machine behind it: the tests play the pilots by hand."""

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worlds import CELL, make_settings

from autoresearch import dispatch, judge
from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.entry import Purpose
from autoresearch.experiment import Attempt, Candidate, Failure, Json, Result, Seconds
from autoresearch.history import History
from autoresearch.journal import Journal, replay
from autoresearch.layout import Layout, write_atomically
from autoresearch.mirror.watching import Watching
from autoresearch.record import Record
from autoresearch.settings import Settings
from autoresearch.sources import Sources

PROGRAM = """\
from dataclasses import dataclass


@dataclass
class Config:
    vocabulary: int = 256
    context: int = 32
    width: int = 1  # of nothing in particular
"""


@dataclass
class Pilots:
    """A cluster whose pilots are whatever the test says."""

    submitted: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    end: Failure | None = Failure.node_failed  # how the dead died
    lag: float = 0.0
    withdrawn: set[str] = field(default_factory=set)
    room: int = 1000  # pilots the cluster takes at once
    avoided: set[str] = field(default_factory=set)

    def check(self) -> None: ...

    def batches(self, tier: str, count: int) -> list[int]:
        return [min(count, self.room)] if self.room else []

    def longest(self, tier: str) -> float:
        return 120.0

    def submit(
        self, tier: str, names: Sequence[str], minutes: float = 0.0, exclude: Collection[str] = ()
    ) -> dict[str, Json]:
        self.submitted.update(dict.fromkeys(names, tier))
        self.avoided |= set(exclude)
        return {name: {"id": name} for name in names}

    def look(self, jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        now = time.time()
        return {
            name: Sighting(Phase.gone, "ended", f"node-{name}", now - 1, now, self.end)
            if name in self.dead
            else Sighting(Phase.running, "", f"node-{name}", now)
            for name in jobs
        }

    def withdraw(self, jobs: Mapping[str, Json]) -> None:
        self.withdrawn |= set(jobs)

    def cancel(self, jobs: Mapping[str, Json]) -> None:
        self.cancelled |= set(jobs)

    def notices(self) -> list[str]:
        return []


@dataclass
class Desk:
    """A controller's hands on a campaign directory."""

    layout: Layout
    record: Record
    sources: Sources
    pilots: Pilots = field(default_factory=Pilots)
    settings: Settings = field(default_factory=make_settings)
    noticed: list[str] | None = None

    @property
    def watching(self) -> Watching:
        return Watching(self.layout, self.settings)

    @property
    def history(self) -> History:
        return self.record.history

    def ask(self, *seeds: int, purpose: Purpose = Purpose.screen) -> list[str]:
        """Propose and queue the baseline with these seeds; return the experiments' ids."""
        before = set(self.history.entries)
        candidate = self.history.baseline
        wanted = [judge.Request(candidate, seed, "screen", purpose) for seed in seeds]
        dispatch.propose(self.record, wanted)
        dispatch.enqueue(self.record, self.layout, self.sources)
        return [id for id in self.history.entries if id not in before]

    def claim(self, id: str, pilot: str, number: int = 1) -> Attempt:
        """What a pilot does first."""
        attempt = Attempt(id, number)
        self.layout.attempt(attempt).mkdir()
        write_atomically(self.layout.claim(attempt), json.dumps({"pilot": pilot}))
        for path, waiting in self.layout.queued("screen"):
            if waiting == attempt:
                path.unlink()
        return attempt

    def answer(
        self, attempt: Attempt, bpb: float | None = 2.0, failure: Failure | None = None
    ) -> None:
        """What a referee does last."""
        result = Result(
            attempt.experiment, attempt.number, "p", bpb, failure, seconds=Seconds(train=1.0)
        )
        write_atomically(self.layout.result(attempt), json.dumps(result.to_json()))


def open_desk(root: Path, **changes: object) -> Desk:
    """A started campaign in `root`, or one taken up again."""
    layout = Layout(root)
    dispatch.settled(layout, ["screen"])
    replayed = replay(layout.journal)
    history = History.of(replayed.events)
    record = Record(Journal.open(layout.journal, replayed), history)
    sources = Sources.create(layout.sources)
    if not history.started:
        baseline = sources.add(PROGRAM, "as given\n", when=0.0)
        tiers = {"screen": CELL.to_json()}
        record.append({"type": "started", "name": "t", "baseline": baseline, "tiers": tiers})
    assert history.baseline != Candidate("")
    return Desk(layout, record, sources, settings=make_settings(**changes))
