"""What the benchmark scripts share: figures as a table for people and as JSON for machines.

A script measures, then calls `report`; `--json FILE` on its command line keeps the record. No
figure stands without the machine it was taken on.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

Json = dict[str, object]


@dataclass(frozen=True)
class Figure:
    """One measured number, with the bound it should keep if there is one.

    `bound` is an upper bound, or a lower one where `at_least`.
    """

    what: str
    value: float
    unit: str = "s"
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool:
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def arguments(description: str) -> argparse.ArgumentParser:
    """A command line with `--json`, for a script to add its own to."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser


def machine() -> Json:
    """The facts without which a timing says nothing."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def medians(actions: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """The median wall-clock seconds of each action. They take turns, so that a load that comes
    and goes meets all of them alike; a first round is not counted.
    """
    times: list[list[float]] = [[] for _ in actions]
    for number in range(runs + 1):
        for action, taken in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            if number:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def report(title: str, figures: Sequence[Figure], before: Json, json_file: Path | None) -> int:
    """Print the table, write the record; exit code 1 if a figure breaks its bound.

    `before` is `machine()` as it was before the measurement: its load is then not our own.
    """
    table = Table("figure", "value", "bound", "", title=title, title_justify="left")
    for figure in figures:
        table.add_row(figure.what, shown(figure), bound(figure), figure.note)
    console = Console()
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in before.items()), style="dim")
    if json_file:
        rows = [vars(figure) | {"kept": figure.kept} for figure in figures]
        record = {"title": title, "machine": before, "figures": rows}
        json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if all(figure.kept for figure in figures) else 1


def shown(figure: Figure) -> str:
    mark = "" if figure.kept else " ✗"
    return f"{figure.value:.4g} {figure.unit}{mark}"


def bound(figure: Figure) -> str:
    if figure.bound is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {figure.bound:g} {figure.unit}"
