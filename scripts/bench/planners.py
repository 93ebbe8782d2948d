#!/usr/bin/env python3
"""How long one question to a planner takes: whole processes, with 0, 100 and 1,000 past trials.

    scripts/bench/planners.py [--repeats 3]

Prints a table to stderr and JSON to stdout: median seconds from start to end of the process, the
same less a bare Python, and its largest resident memory, for eight proposals in eight parameters.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from autoresearch.experiment import Failure
from autoresearch.planners.points import Point, uniform
from autoresearch.planners.protocol import Outcome, Request, Trial
from autoresearch.planners.table import PLANNERS
from autoresearch.space import Choice, Interval, Space, names

SPACE: Space = {
    "matrix_lr": Interval(0.001, 0.1, log=True),
    "embedding_lr": Interval(0.01, 1.0, log=True),
    "weight_decay": Interval(0.0, 0.3),
    "warmdown": Interval(0.0, 0.8),
    "depth": Interval(2, 12, integer=True),
    "batch": Interval(8, 512, log=True, integer=True),
    "heads": Choice((2, 4, 6, 8)),
    "pattern": Choice(("SSSL", "SL", "L")),
}
PYTHON = [sys.executable, "-P"]


def trial(point: Point, number: int, rng: random.Random) -> Trial:
    """Nine in ten score, half of the others run out of memory, half are pending."""
    luck = rng.random()
    if luck < 0.05:
        return Trial(point, Outcome.failed, failure=Failure.out_of_memory, wave=1 + number // 8)
    if luck < 0.1:
        return Trial(point, Outcome.pending, wave=1 + number // 8)
    return Trial(point, Outcome.finished, value=1.5 + rng.random(), wave=1 + number // 8)


def question(planner: str, trials: int) -> Request:
    rng = random.Random(trials)
    points = uniform(SPACE, rng)
    defaults = {name: SPACE[name].at(0.5) for name in names(SPACE)}
    past = [trial(next(points), number, rng) for number in range(trials)]
    if planner == "greedy":  # it has one trial at a time, and would only wait
        past = [t for t in past if t.state is not Outcome.pending]
    return Request(planner, 1, 1 + trials // 8, 8, SPACE, defaults, tuple(past))


def run(command: list[str], text: str) -> tuple[float, int]:
    """Seconds from start to end of a process, and its peak resident memory in bytes."""
    with tempfile.TemporaryFile("w+") as stdin:
        stdin.write(text)
        stdin.seek(0)
        start = time.perf_counter()
        with subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(command: list[str], text: str, repeats: int) -> dict[str, float]:
    runs = [run(command, text) for _ in range(repeats)]
    return {
        "seconds": round(statistics.median(seconds for seconds, _ in runs), 3),
        "memory_mb": round(max(memory for _, memory in runs) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes per figure")
    repeats = parser.parse_args().repeats
    bare = measure([*PYTHON, "-c", "pass"], "", repeats)
    rows: list[dict[str, Any]] = []
    print(f"{'planner':10} {'trials':>6} {'s':>7} {'over bare':>9} {'MB':>6}", file=sys.stderr)
    for planner in PLANNERS:
        for trials in (0, 100, 1000):
            text = json.dumps(question(planner, trials).to_json())
            found = measure([*PYTHON, "-m", "autoresearch.planners"], text, repeats)
            over = round(found["seconds"] - bare["seconds"], 3)
            rows.append({"planner": planner, "trials": trials, **found, "over_bare": over})
            print(
                f"{planner:10} {trials:6d} {found['seconds']:7.3f} {over:9.3f} "
                f"{found['memory_mb']:6.1f}",
                file=sys.stderr,
            )
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps({"bench": "planners", "machine": machine, "bare": bare, "rows": rows}))


if __name__ == "__main__":
    main()
