#!/usr/bin/env python
"""How long `autoresearch sync` takes for a night's offline runs, beside W&B's plain `wandb sync`.

    python scripts/bench/wandb/sync.py [--runs 1000] [--sample 50] [--latency 0.1] [--json FILE]

One run is written by W&B's client, the others are the same under other ids. The server is the one
the tests use, on this machine; every answer takes it `--latency` seconds more, as if it were far.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import _report
from wandb.proto import wandb_internal_pb2

from autoresearch.layout import Layout
from autoresearch.mirror.listing import Listing
from autoresearch.mirror.records import Reader, Writer
from autoresearch.mirror.sync import upload
from autoresearch.node import kernel
from autoresearch.node.runlog import COMMAND
from autoresearch.settings import Tracker

SERVER = Path(__file__).parents[3] / "tests" / "wandb_server.py"
ROWS = 100  # of each run's history
PARALLEL = (1, 2, 4, 8)
MINUTES = 5.0  # for a night's runs, as `sync` sends them unless told otherwise

Record = wandb_internal_pb2.Record  # type: ignore[attr-defined]


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """Its address and key, while it serves."""
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url, key = (process.stdout or sys.stdin).readline().split()
            yield url, key
        finally:
            process.terminate()


def control(url: str, what: str, body: object = None) -> Any:
    """What the server is told, or asked for, besides W&B's protocol."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{url}/_control/{what}", data) as answer:  # noqa: S310 - ours
        return json.load(answer)


def demand(is_so: bool, otherwise: object) -> None:
    if not is_so:
        sys.exit(f"nothing was measured: {otherwise}")


def write_one(folder: Path) -> Path:
    """A run as a node's logger writes it."""
    tracker = {"kind": "wandb", "mode": "offline", "project": "bench"}
    run = {"campaign": "bench", "experiment": "0" * 12, "attempt": 1, "tier": "screen"}
    config = {"matrix_lr": 0.04, "depth": 8, "experiment": "0" * 12, "attempt": 1}
    home = folder / "campaign" / "wandb"
    home.parent.mkdir()
    events: list[dict[str, Any]] = [
        {"event": "start", "run": run | {"config": config}, "dir": str(home), "tracker": tracker}
    ]
    for step in range(ROWS):
        values = {"loss": 3 / (step + 1), "tokens_per_second": 1e6 + step, "mfu": 0.4}
        events.append({"event": "log", "step": step * 10, "values": values})
    events.append({"event": "finish", "summary": {"bpb": 1.0, "failure": None}, "exit_code": 0})
    lines = "".join(json.dumps(event) + "\n" for event in events)
    subprocess.run(COMMAND, input=lines, text=True, check=True)
    [path] = home.glob("*/*.wandb")
    return path


def write_many(original: Path, layout: Layout, ids: list[str]) -> list[Path]:
    """The same run under other ids."""
    records = [Record.FromString(record) for record in Reader(original).new()]
    paths = []
    for id in ids:
        folder = layout.wandb / f"offline-run-20261101_000000-{id}"
        folder.mkdir(parents=True)
        paths.append(folder / f"run-{id}.wandb")
        writer = Writer(paths[-1])
        for record in records:
            if record.WhichOneof("record_type") == "run":
                record.run.run_id = record.run.display_name = id
            writer.write(record.SerializeToString())
        writer.close()
    return paths


class Memory:
    """What processes hold that are begun from now on, in MB."""

    def __init__(self) -> None:
        self.others = kernel.tree(os.getpid())
        self.most = 0.0

    def look(self, _done: int, _total: int) -> None:
        held = sum(map(kernel.resident, kernel.tree(os.getpid(), self.others)))
        self.most = max(self.most, held / 2**20)


def sync_all(
    original: Path, folder: Path, url: str, ids: list[str], workers: int
) -> tuple[float, float]:
    """Seconds for `upload`, as `autoresearch sync` calls it, and the MB that its children held."""
    layout = Layout(folder)
    write_many(original, layout, ids)
    tracker = Tracker(kind="wandb", project="bench", url=url)
    listing = Listing(tracker, "bench")
    held = Memory()
    start = time.perf_counter()
    outcome = upload(layout, tracker, listing, live=False, told=held.look, workers=workers)
    seconds = time.perf_counter() - start
    listing.close()
    demand(len(outcome.sent) == len(ids), outcome)
    return seconds, held.most


def plain_sync(original: Path, folder: Path, ids: list[str]) -> float:
    """Seconds for W&B's own command."""
    paths = write_many(original, Layout(folder), ids)
    command = [sys.executable, "-m", "wandb", "sync", *(str(path.parent) for path in paths)]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - start


def check(url: str, runs: int) -> None:
    """Every run is there once, with every row."""
    found = control(url, "runs")
    demand(len(found) == runs, f"{len(found)} of {runs} runs")
    odd = [run for run in found if (run["rows"], run["creations"]) != (ROWS, 1)]
    demand(not odd, odd[:1])


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.1)
    options = parser.parse_args()
    before = _report.machine()
    figures = []
    with tempfile.TemporaryDirectory() as name, server() as (url, key):
        folder = Path(name)
        os.environ |= {"WANDB_API_KEY": key, "WANDB_BASE_URL": url, "WANDB_SILENT": "true"}
        original = write_one(folder)
        control(url, "slow", {"seconds": options.latency})
        plain = plain_sync(original, folder / "plain", [f"p{n}" for n in range(options.sample)])
        each = plain / options.sample
        what = f"wandb sync, {options.sample} runs, 5 at a time (its default)"
        figures.append(_report.Figure(what, plain))
        for workers in PARALLEL:
            ids = [f"n{workers}-{n}" for n in range(options.runs)]
            taken, held = sync_all(original, folder / f"n{workers}", url, ids, workers)
            what = f"autoresearch sync, {options.runs} runs, {workers} at a time"
            bound = MINUTES * 60 * options.runs / 1000 if workers == 4 else None
            ratio = each * options.runs / taken
            note = f"{ratio:.1f} times the speed of wandb sync; {held:.0f} MB"
            figures.append(_report.Figure(what, taken, bound=bound, note=note))
        check(url, options.sample + len(PARALLEL) * options.runs)
    return _report.report("sending offline runs", figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
