#!/usr/bin/env python
"""What an attempt saves by what compilers made for an earlier one of the same program.

    python scripts/bench/compiled.py [--gpus 1] [--runs 3] [--seconds 10] [--json FILE]

The real train.py, made small and compiled as a whole, so often on one pilot; then the same by code
that hands nothing on. Set-up and scoring are compared, for scorers compile, too, and so are scores.
With a budget in seconds scorers are ready before the clock starts: theirs is handed on as well.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests"))

import _report  # noqa: E402 - beside this folder
from corpus import weaken  # noqa: E402
from nodes import Campaign  # noqa: E402
from wall import PATIENT, PROGRAM, SMALL  # noqa: E402 - beside this folder

from autoresearch.experiment import Budget, Result  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from autoresearch.node import freeze, sandbox  # noqa: E402
from autoresearch.settings import Tier  # noqa: E402

MADE = "return GPT(config)\n"
COMPILED = "return torch.compile(GPT(config), dynamic=False)\n"
NOTHING = [("node/compiled.py", "self.kept[key] = os.dup(copy)", "pass")]


def run(root: Path, options: Namespace, edits: list[tuple[str, str, str]]) -> list[Result]:
    """The same experiment so often, one after the other."""
    tier = Tier(device="auto", threads=2, gpus=options.gpus, pilots=1)
    budget = Budget(seconds=options.seconds) if options.seconds else None
    kind = sandbox.choose(sandbox.AUTO)
    campaign = Campaign(Layout(root), limits=PATIENT, tier=tier, sandbox=kind)
    campaign.freeze()
    weaken(campaign.layout.node, edits)
    campaign.code = freeze.node_hash(campaign.layout.node / "autoresearch")
    program, values = PROGRAM.replace(MADE, COMPILED), {**SMALL, "compile": False}
    numbers = range(1, options.runs + 1)
    attempts = [campaign.queue(program, values, number=n, budget=budget) for n in numbers]
    campaign.start("p1").communicate()
    results = [campaign.result(attempt) for attempt in attempts]
    for result in results:
        if result.bpb is None:
            raise SystemExit(f"{result.failure}: {result.reason}")
    return results


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.0, help="of the budget; 0: in tokens")
    options = parser.parse_args()
    machine, found = _report.machine(), []
    for edits in ([], NOTHING):
        with tempfile.TemporaryDirectory() as name:
            found.append(run(Path(name) / "campaign", options, edits))
    handed, anew = (results[1:] for results in found)
    ends = [result.bpb or 0.0 for results in found for result in results]
    figures = [
        faster("set-up", [[r.seconds.setup for r in results] for results in (handed, anew)]),
        faster("scoring", [[r.seconds.score for r in results] for results in (handed, anew)]),
        _report.Figure(
            "largest difference of scores",
            max(ends) - min(ends),
            "bpb",
            note=f"{len(ends)} runs, {len(handed)} of them with what was compiled before",
        ),
    ]
    return _report.report("compiled code handed on", figures, machine, options.json)


def faster(name: str, seconds: list[list[float]]) -> _report.Figure:
    handed, anew = map(fmean, seconds)
    note = f"{handed:.1f} s, {anew:.1f} s"
    return _report.Figure(f"{name}: handed on, over anew", handed / anew, "x", note=note)


if __name__ == "__main__":
    sys.exit(main())
