"""A campaign that W&B tracks and whose nodes had no network: its journal, its results, its runs.

The experiments are a `World`'s; the runs are written by the real logger, as on a node.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from wandb_server import WandbServer
from worlds import World, make_settings

from autoresearch import config, judge
from autoresearch.entry import Entry, Purpose
from autoresearch.experiment import Candidate, Failure, Json, Result
from autoresearch.history import History
from autoresearch.journal import Journal, replay
from autoresearch.layout import Layout
from autoresearch.node.inputs import identity, run_of
from autoresearch.node.runlog import COMMAND, summary_of
from autoresearch.opening import node_settings
from autoresearch.settings import NodeSettings, Settings, Spending, Tracker
from autoresearch.tracking.naming import run_id

ROWS = 40  # of a run's history; its result keeps every fourth
NAME = "test"  # the World's


def draw(candidate: Candidate, seed: int) -> float | Failure:
    rate = candidate.overrides.get("rate", 1.0)
    return Failure.diverged if rate == 9.0 else 1.0 + float(rate) / 10 + seed / 1000


@dataclass
class Tracked:
    """One campaign directory."""

    layout: Layout
    settings: Settings
    world: World

    @property
    def node(self) -> NodeSettings:
        return node_settings(self.settings)

    @property
    def history(self) -> History:
        return self.world.history

    @property
    def entries(self) -> dict[str, Entry]:
        """By run id."""
        made = self.history.entries.values()
        return {run_id(NAME, entry.experiment.id, entry.attempt): entry for entry in made}

    def write_results(self) -> None:
        """What referees leave, and experiments as they were frozen."""
        for entry in self.entries.values():
            folder = self.layout.attempt(entry.current)
            folder.mkdir(parents=True)
            context = {"wave": 1, "planner": "greedy", "purpose": entry.purpose}
            frozen = entry.experiment.to_json() | {"context": context}
            self.layout.experiment_json(entry.experiment.id).write_text(json.dumps(frozen))
            self.layout.result(entry.current).write_text(json.dumps(result_of(entry).to_json()))

    def write_journal(self, before: int | None = None) -> None:
        """All of it, or without the events from `before` on."""
        shutil.rmtree(self.layout.journal, ignore_errors=True)
        self.layout.journal.mkdir()
        journal = Journal.open(self.layout.journal, replay(self.layout.journal))
        events = self.world.events[:before]
        journal.append(*({k: v for k, v in e.items() if k not in "nt"} for e in events))
        journal.close()

    def write_runs(self, ids: Iterable[str], rows: int = ROWS, *, end: bool = True) -> None:
        """As the logger of a node does; without an `end` it looks killed."""
        events = [event for id in ids for event in self.events(self.entries[id], rows)]
        log(events if end else events[:-1], self.layout.root.parent / "node")

    def events(self, entry: Entry, rows: int = ROWS) -> list[Json]:
        result = result_of(entry)
        config = identity(entry.experiment, result)
        run = run_of(self.layout, NAME, entry.tier, entry.current, config)
        where = {"dir": str(self.layout.wandb), "tracker": asdict(self.settings.tracker)}
        return [
            {"event": "start", "run": run, **where},
            *({"event": "log", "step": n * 10, "values": values(n)} for n in range(rows)),
            {
                "event": "finish",
                "summary": summary_of(result),
                "exit_code": int(result.failure is not None),
            },
        ]

    def file(self, id: str) -> Path:
        [path] = self.layout.wandb.glob(f"*/run-{id}.wandb")
        return path


def values(number: int) -> dict[str, float]:
    return {"loss": 1 / (number + 1), "memory_gb": 0.25}


def result_of(entry: Entry) -> Result:
    """What result.json says of a finished experiment."""
    assert entry.result
    return replace(
        entry.result,
        parameters={"rate": 1.0, "depth": 4, **entry.experiment.candidate.overrides},
        curve=tuple((float(n), n * 10, 1 / (n + 1)) for n in range(0, ROWS, 4)),
        probes={"prefix": 0.001},
    )


def start_logger(scratch: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """On a node of its own."""
    scratch.mkdir(exist_ok=True)
    return subprocess.Popen(
        COMMAND,
        env={**os.environ, "TMPDIR": str(scratch), **variables},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def log(events: Iterable[Json], scratch: Path) -> None:
    """Have a logger take events."""
    logger = start_logger(scratch)
    _, said = logger.communicate("".join(json.dumps(e) + "\n" for e in events).encode())
    assert (logger.returncode, said) == (0, b"")


def netrc(folder: Path, server: WandbServer) -> Path:
    """What `wandb login` would write."""
    path = folder / "netrc"
    path.write_text(
        f"machine {urlsplit(server.url).netloc}\n  login user\n  password {server.key}\n"
    )
    path.chmod(0o600)
    return path


def make(root: Path, url: str, experiments: int = 3) -> Tracked:
    """A campaign with so many finished experiments, the last of which has failed."""
    tracked = Tracker(kind="wandb", mode="offline", project="p", url=url)
    bounds = Spending(experiments=experiments)
    settings = make_settings(name=NAME, dir=str(root), tracker=tracked, budget=bounds)
    rates = [float(n + 1) for n in range(experiments - 1)] + [9.0]
    world = World(draw, settings)
    ask(world, rates)
    layout = Layout(root)
    root.mkdir(parents=True)
    layout.config.write_text(config.to_yaml(settings))
    layout.node.mkdir()
    node_settings(settings).write(layout.node_settings)
    made = Tracked(layout, settings, world)
    made.write_results()
    made.write_journal()
    return made


def ask(world: World, rates: Iterable[float]) -> None:
    program = world.history.baseline.program
    candidates = [Candidate(program, {"rate": rate}) for rate in rates]
    world.ask([judge.Request(c, 1, "screen", Purpose.screen) for c in candidates])


def autoresearch(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command line as a user types it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "autoresearch", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
