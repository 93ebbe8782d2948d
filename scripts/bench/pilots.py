#!/usr/bin/env python
"""How much of the pilots' time belongs to experiments: a campaign on this machine, no barrier.

    python scripts/bench/pilots.py [--experiments 24] [--json FILE] [hydra overrides]

Runs a campaign, then reads results and claims: per pilot, from the start of its first experiment to
the end of its last, the share inside set-up, training or scoring of one. Beside it, from the same
run, what barrier waves would have reached: every wave waiting for its slowest experiment.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import _report

from autoresearch.experiment import Result
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout

TESTS = Path(__file__).parent.parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from bigram import write_task  # noqa: E402 - the smallest real task


def campaign(root: Path, experiments: int, overrides: list[str]) -> Layout:
    """Run one campaign to its end."""
    write_task(root, tokens=65536)
    layout = Layout(root / "campaign")
    command = [
        *(sys.executable, "-P", "-m", "autoresearch", "run"),
        *("name=bench", f"dir={layout.root}", "task=bigram", "search=bigram"),
        *(f"budget.experiments={experiments}", "judge.baseline_seeds=2"),
        *("judge.crown_seeds=2", "judge.certify_seeds=2", "cluster.poll_seconds=0.2"),
        *overrides,
    ]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return layout


def busy_share(results: list[Result]) -> float:
    """Seconds inside experiments over seconds of the pilots, first start to last end."""
    by_pilot: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_pilot[result.pilot].append(result)
    spans = [
        max(r.ended for r in mine) - min(r.started for r in mine) for mine in by_pilot.values()
    ]
    return sum(r.seconds.occupied for r in results) / sum(spans)


def barrier_share(results: list[Result], pilots: int) -> float:
    """The same experiments in waves as wide as there are pilots, each waiting for its slowest."""
    seconds = [r.seconds.occupied for r in sorted(results, key=lambda r: r.started)]
    waves = [seconds[i : i + pilots] for i in range(0, len(seconds), pilots)]
    return sum(seconds) / sum(pilots * max(wave) for wave in waves)


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--experiments", type=int, default=24)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    before = _report.machine()
    with tempfile.TemporaryDirectory() as folder:
        layout = campaign(Path(folder), options.experiments, options.overrides)
        history = History.of(replay(layout.journal).events)
    results = [entry.result for entry in history.entries.values() if entry.result]
    pilots = len({result.pilot for result in results})
    figures = [
        _report.Figure("pilots' time inside experiments", busy_share(results) * 100, "%", 95, True),
        _report.Figure("the same in barrier waves", barrier_share(results, pilots) * 100, "%"),
        _report.Figure("experiments", len(results), ""),
        _report.Figure("pilots", pilots, ""),
        _report.Figure("seconds per experiment", history.seconds_per_experiment(history.screen)),
    ]
    title = f"Pilots at work, {len(os.sched_getaffinity(0))} cores"
    return _report.report(title, figures, before, options.json)


if __name__ == "__main__":
    sys.exit(main())
