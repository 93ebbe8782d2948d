#!/usr/bin/env python
"""How fast a journal is written and replayed, and how large the controller is that holds it.

    python scripts/bench/journal.py [--events 100000] [--json FILE]

The events are those of a campaign of as many experiments as make up the number: proposed, queued,
running, finished. Replay includes building the History.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import _report

from autoresearch.entry import brief
from autoresearch.experiment import Budget, Candidate, Cell, Experiment, Json, Result, Seconds
from autoresearch.history import History
from autoresearch.journal import Journal, replay

CELL = Cell("h100", Budget(seconds=300), "d" * 64, "python 3.12 torch 2.11.0", "1a2b3c4d-5e6f7a8b")
PROGRAM = "a" * 64
PER_EXPERIMENT = 4  # events


def events(count: int) -> Iterator[Json]:
    """A campaign's events, four for each experiment."""
    tiers = {"screen": CELL.to_json()}
    yield {"type": "started", "name": "bench", "baseline": PROGRAM, "tiers": tiers}
    for number in range(count // PER_EXPERIMENT):
        overrides = {"matrix_lr": 0.01 + number * 1e-6, "depth": 8, "weight_decay": 0.1}
        experiment = Experiment(Candidate(PROGRAM, overrides), 7, CELL)
        record = {
            "id": experiment.id,
            "program": PROGRAM,
            "overrides": overrides,
            "seed": 7,
            "split": "validation",
            "tier": "screen",
            "description": "matrix_lr 0.04 → 0.031",
        }
        where = {"experiment": experiment.id, "attempt": 1}
        result = Result(experiment.id, 1, "screen-1a2b3c4d", 0.99, seconds=Seconds(1, 20, 300, 9))
        yield {"type": "proposed", "purpose": "screen", "wave": None, "experiments": [record]}
        yield {"type": "queued", "attempts": [[experiment.id, 1]]}
        yield {"type": "running", **where, "pilot": "screen-1a2b3c4d"}
        yield {"type": "finished", **where, "result": brief(result)}


def resident_mb(directory: Path) -> float:
    """Resident memory of a fresh process that imports the controller and replays the journal."""
    code = (
        "import sys, pathlib, autoresearch.opening\n"
        "from autoresearch.history import History\n"
        "from autoresearch.journal import replay\n"
        "h = History.of(replay(pathlib.Path(sys.argv[1])).events)\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    before = _report.machine()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        made = list(events(options.events))
        journal = Journal.open(directory, replay(directory))
        for start in range(0, len(made), 1000):
            journal.append(*made[start : start + 1000])
        size = sum(path.stat().st_size for path in directory.iterdir())
        start_time = time.perf_counter()
        replayed = replay(directory)
        read = time.perf_counter()
        history = History.of(replayed.events)
        done = time.perf_counter()
        if len(history.entries) != options.events // PER_EXPERIMENT:
            raise SystemExit(f"only {len(history.entries)} experiments came back")
        memory = resident_mb(directory)
        small = directory / "small"
        small.mkdir()
        Journal.open(small, replay(small)).append(*made[:4001])
        usual = resident_mb(small)
        single = time.perf_counter()
        for event in range(200):
            journal.append({"type": "bench", "event": event})
        appended = (time.perf_counter() - single) / 200
        bare = fsync_seconds(directory)
    figures = [
        _report.Figure("replay, with the history built", done - start_time, bound=3.0),
        _report.Figure("of that, reading and checking", read - start_time),
        _report.Figure("append one event, with fsync", appended * 1000, "ms"),
        _report.Figure("append ÷ bare write and fsync", appended / bare, "×"),
        _report.Figure("controller with 1,000 experiments, resident", usual, "MB", bound=150),
        _report.Figure("controller with all of them, resident", memory, "MB"),
        _report.Figure("bytes per event", size / len(made), "B"),
        _report.Figure("peak of this script", peak_mb(), "MB"),
    ]
    title = (
        f"Journal of {options.events:,} events, {options.events // PER_EXPERIMENT:,} experiments"
    )
    return _report.report(title, figures, before, options.json)


def fsync_seconds(directory: Path) -> float:
    """The same bytes to the same disk without a journal."""
    with (directory / "bare").open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 100)
            os.fsync(file.fileno())
        return (time.perf_counter() - start) / 200


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
