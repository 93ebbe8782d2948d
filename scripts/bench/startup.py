#!/usr/bin/env python3
"""How long the command line takes to answer, over bare Python: what a person waits for.

    .venv/bin/python scripts/bench/startup.py [--runs N] [--json FILE]

The bounds are differences to `python -c pass` on the same machine, taken in turns.
"""

import subprocess
import sys
from functools import partial

from _report import Figure, arguments, machine, medians, report

# What is started, and how many seconds over bare Python it may take.
CASES: dict[str, tuple[list[str], float]] = {
    "autoresearch --help": (["-m", "autoresearch", "--help"], 0.3),
    "autoresearch run --help": (["-m", "autoresearch", "run", "--help"], 1.0),
    "autoresearch run --cfg job": (["-m", "autoresearch", "run", "--cfg", "job"], 2.0),
}


def start(command: list[str]) -> None:
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--runs", type=int, default=15, help="starts per case")
    options = parser.parse_args()
    before = machine()
    commands = [["-c", "pass"], *(command for command, _ in CASES.values())]
    bare, *taken = medians([partial(start, command) for command in commands], options.runs)
    figures = [Figure("python -c pass", bare)]
    for (name, (_, limit)), whole in zip(CASES.items(), taken, strict=True):
        note = f"{whole:.3f} s in all, {whole / bare:.1f} × bare Python"
        figures.append(Figure(f"{name}, over bare Python", whole - bare, bound=limit, note=note))
    return report("Start of the command line", figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
