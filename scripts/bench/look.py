#!/usr/bin/env python3
"""What the static look at a new program costs, beside what Python itself takes to read it.

.venv/bin/python scripts/bench/look.py [--runs N] [--json FILE]
"""

import ast
import sys
from functools import partial
from pathlib import Path

from _report import Figure, arguments, machine, medians, report

from autoresearch.inspection import inspect

TRAIN = Path(__file__).parents[2] / "train" / "train.py"
LIMIT = 10.0  # times ast.parse


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--runs", type=int, default=15, help="looks")
    options = parser.parse_args()
    before, text = machine(), TRAIN.read_text(encoding="utf-8")
    parsed, looked = medians([partial(ast.parse, text), partial(inspect, text)], options.runs)
    note = f"{1000 * parsed:.0f} ms, {1000 * looked:.0f} ms"
    figures = [Figure("a look, over ast.parse", looked / parsed, "x", LIMIT, note=note)]
    return report("The static look at train.py", figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
