#!/usr/bin/env python
"""Whether a program scores the same behind bubblewrap as without, and what the wall costs.

    python scripts/bench/wall.py [--gpus 1] [--runs 3] [--json FILE]

The real train.py, made small, in real pilots with the real referee: eager, and on a GPU compiled as
well. Scores of GPUs differ a little from run to run, so the difference is shown beside that.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests"))

import _report  # noqa: E402 - beside this folder
from nodes import LIMITS, Campaign  # noqa: E402

from autoresearch.experiment import Result, Scalar  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from autoresearch.node import sandbox  # noqa: E402
from autoresearch.settings import Tier  # noqa: E402

SMALL: dict[str, Scalar] = {
    "depth": 2,
    "aspect_ratio": 64,
    "head_dim": 64,
    "total_batch_size": 4096,
    "device_batch_size": 256,
    "window_pattern": "L",
}
PROGRAM = (ROOT / "train" / "train.py").read_text(encoding="utf-8")
PATIENT = replace(LIMITS, setup_seconds=280, token_seconds=200, grace_seconds=20, memory_gb=64)


def run(root: Path, kind: str, gpus: int, compiled: bool, runs: int) -> list[Result]:
    """The same experiment so often, one after the other."""
    tier = Tier(device="auto", threads=2, gpus=gpus, pilots=1)
    campaign = Campaign(Layout(root), limits=PATIENT, tier=tier, sandbox=kind)
    campaign.freeze()
    values: dict[str, Scalar] = {**SMALL, "compile": compiled}
    attempts = [campaign.queue(PROGRAM, values, number=n) for n in range(1, runs + 1)]
    campaign.run()
    results = [campaign.result(attempt) for attempt in attempts]
    for result in results:
        if result.bpb is None:
            raise SystemExit(f"{kind}: {result.failure}: {result.reason}")
    return results


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if problem := sandbox.problem():
        raise SystemExit(f"bubblewrap should make a sandbox here, but {problem}")
    machine, figures = _report.machine(), []
    for compiled in (False, True)[: 1 + bool(options.gpus)]:
        found = {}
        for kind in (sandbox.NONE, sandbox.BUBBLEWRAP):
            with tempfile.TemporaryDirectory() as name:
                root = Path(name) / "campaign"
                found[kind] = run(root, kind, options.gpus, compiled, options.runs)
        figures += compare("compiled" if compiled else "eager", found)
    return _report.report("scores and seconds behind a wall", figures, machine, options.json)


def compare(name: str, found: dict[str, list[Result]]) -> list[_report.Figure]:
    """Differences of means, bubblewrap less none, and the spread of each."""
    scores = {kind: [r.bpb or 0.0 for r in results] for kind, results in found.items()}
    without, behind = scores[sandbox.NONE], scores[sandbox.BUBBLEWRAP]
    spread = max(max(without) - min(without), max(behind) - min(behind))
    seconds = [fmean(r.seconds.setup for r in results) for results in found.values()]
    return [
        _report.Figure(
            f"{name}: scores differ by",
            abs(fmean(behind) - fmean(without)),
            "bpb",
            max(spread, 1e-9),
            note=f"spread of equal runs {spread:.2g}; {fmean(without):.6f}, {fmean(behind):.6f}",
        ),
        _report.Figure(
            f"{name}: set-up, behind over without",
            seconds[1] / seconds[0],
            "x",
            note=f"{seconds[0]:.1f} s, {seconds[1]:.1f} s",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
