#!/usr/bin/env python
"""Campaigns under fire: SIGKILL of anything at any moment, and what the record says afterwards.

    python scripts/bench/kills.py [--kills 500] [--seed 1] [--json FILE]

Real campaigns of the bigram task, one after another, 50 kills each; the checks are those of
tests/end_to_end/test_kills.py. About four seconds a kill on two cores.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import _report

TESTS = Path(__file__).parent.parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from bigram import write_task  # noqa: E402 - the tests' own siege
from chaos import Siege, violations  # noqa: E402

PER_CAMPAIGN = 50


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    before, start = _report.machine(), time.monotonic()
    kills: Counter[str] = Counter()
    broken: list[str] = []
    campaigns = scored = failed = retries = 0
    while kills.total() < options.kills:
        campaigns += 1
        with tempfile.TemporaryDirectory() as folder:
            write_task(Path(folder))
            siege = Siege(Path(folder), options.seed + campaigns, experiments=40)
            siege.attack(kills=PER_CAMPAIGN, pause=1.0)
            history = siege.finish()
            kills += siege.kills
            broken += [*siege.complaints, *violations(siege.layout, siege.experiments)]
            scored += sum(entry.bpb is not None for entry in history.entries.values())
            failed += sum(entry.has_failed for entry in history.entries.values())
            retries += history.retries.total()
        print(f"{kills.total()} kills, {campaigns} campaigns, {len(broken)} violations", flush=True)
    for violation in broken:
        print(violation)
    figures = [
        _report.Figure("broken promises", len(broken), "", bound=0),
        _report.Figure("campaigns", campaigns, ""),
        _report.Figure("experiments scored", scored, ""),
        _report.Figure("experiments that lost every attempt", failed, ""),
        _report.Figure("attempts lost and made again", retries, ""),
        *(_report.Figure(f"kills of a {name}", n, "") for name, n in sorted(kills.items())),
        _report.Figure("wall clock", time.monotonic() - start),
    ]
    title = f"Campaigns under {kills.total()} kills"
    return _report.report(title, figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
