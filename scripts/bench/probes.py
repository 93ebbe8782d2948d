#!/usr/bin/env python
"""What the referee's probes cost an experiment: scoring with all of them beside scoring alone.

    python scripts/bench/probes.py [--gpus 1] [--runs 3] [--json FILE]

On a GPU the real train.py at its full size, compiled, on rows of the seed's length; else a small
one. The two ways of scoring take turns, on the same machine.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests"))

import _report  # noqa: E402 - beside this folder
from honest import SIZES, write_data  # noqa: E402
from nodes import LIMITS, Campaign  # noqa: E402

from autoresearch.experiment import Budget, Result, Scalar  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from autoresearch.settings import Scoring, Tier  # noqa: E402

PROGRAM = (ROOT / "train" / "train.py").read_text(encoding="utf-8")
PATIENT = replace(LIMITS, setup_seconds=400, token_seconds=300, score_seconds=300, memory_gb=64)
BOUND = 2.0  # seconds of an experiment on a GPU
SMALL: dict[str, Scalar] = {
    "depth": 2,
    "aspect_ratio": 32,
    "head_dim": 32,
    "total_batch_size": 2048,
    "device_batch_size": 16,
}


def campaign(root: Path, gpus: int, scoring: Scoring) -> Campaign:
    tier = Tier(device="auto", threads=1 + gpus, gpus=gpus, pilots=1)
    made = Campaign(Layout(root / "c"), limits=PATIENT, tier=tier, scoring=scoring)
    if not made.data.exists():
        size = SIZES["cuda" if gpus else "cpu"]
        write_data(made.data, replace(size, scoring=scoring, megabytes=80 if gpus else 2))
    made.freeze()
    return made


def run(made: Campaign, gpus: int, number: int) -> Result:
    values = {} if gpus else SMALL
    budget = Budget(tokens=1 << 20 if gpus else 1 << 14)
    attempt = made.queue(PROGRAM, values, budget=budget, number=number)
    made.run(f"p{number}")
    result = made.result(attempt)
    if result.bpb is None:
        raise SystemExit(f"{result.failure}: {result.reason}")
    return result


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    full = Scoring() if options.gpus else SIZES["cpu"].scoring
    machine = _report.machine()
    taken: dict[str, list[float]] = {}
    probes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        ways = {
            "alone": replace(full, altered=0.0, random=0, challenges=0),
            "with all probes": full,
        }
        campaigns = {way: campaign(Path(name) / way, options.gpus, s) for way, s in ways.items()}
        for number in range(1, options.runs + 1):
            for way, made in campaigns.items():
                result = run(made, options.gpus, number)
                taken.setdefault(way, []).append(result.seconds.score)
                probes = {k: float(v) for k, v in result.probes.items()} or probes
    alone, with_all = (median(seconds) for seconds in taken.values())
    figures = [
        _report.Figure(
            "the probes of an experiment",
            with_all - alone,
            bound=BOUND if options.gpus else None,
            note=f"{full.challenges} challenges; scoring {alone:.2f} s alone, {with_all:.2f} s",
        ),
        _report.Figure("scoring with all probes over scoring alone", with_all / alone, "x"),
        *(_report.Figure(name, value, "nats") for name, value in probes.items()),
    ]
    return _report.report("what the referee's probes cost", figures, machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
