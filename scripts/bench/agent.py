#!/usr/bin/env python
"""Whether pilots wait when Claude is slow, limited, overloaded, down, refuses, or talks nonsense.

    python scripts/bench/agent.py [--seconds 90] [--modes fine slow down] [--json FILE]

One real campaign for each way to fail, planner=claude on this machine's own executor, programs that
nap. What is compared is the share of their time that pilots spend between two experiments, with
that of a campaign in which nothing fails.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import _report  # noqa: E402 - beside this folder
from bigram import write_task  # noqa: E402
from claude_server import KEY, Answer, ClaudeServer, uses  # noqa: E402
from nights import NAP, WHIMS  # noqa: E402
from scientists import said  # noqa: E402

from autoresearch.experiment import Json  # noqa: E402
from autoresearch.history import History  # noqa: E402
from autoresearch.journal import replay  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402

PILOTS, NAP_SECONDS = 4, 5.0
MORE = 5.0  # percent points of idle time that a failure may add
OVERRIDES = (
    *("name=c", "dir=c", "task=bigram", "search=bigram", "planner=claude", "search.wave=6"),
    *("judge.baseline_seeds=2", "judge.crown_seeds=2", "judge.certify_seeds=2"),
    *(f"task.params.nap={NAP_SECONDS:g}", f"cluster.tiers.cpu.pilots={PILOTS}"),
    *("budget.experiments=0", "budget.usd_agent=50", "claude.patience=8", "claude.seconds=40"),
    *("pilot.poll_seconds=0.1", "cluster.poll_seconds=0.5", "search.rungs=[1,2]"),
)


def scientist(body: Json) -> Answer:
    """A wave at once, new each time."""
    number = int(said(body)[0].split(":")[0].removeprefix("Wave "))
    values = [round(0.1 + 0.001 * number + 0.01 * k, 5) for k in range(3)]
    wanted = [{"overrides": {"scale": value}, "description": "a scale"} for value in values]
    return uses("propose_wave", hypothesis="scales", experiments=wanted)


def nonsense(_: Json) -> Answer:
    return uses("propose_wave", hypothesis="", experiments=[{"overrides": {"nothing": 1}}])


FOREVER = float("inf")
MODES: dict[str, Callable[[ClaudeServer], None]] = {
    "fine": lambda server: server.heal(),
    "slow: 20 s an answer": lambda server: server.slow(20.0),
    "rate limited": lambda server: server.fail(
        429, headers={"retry-after": "86400"}, times=FOREVER
    ),
    "overloaded": lambda server: server.fail(529, times=FOREVER),
    "down": lambda server: server.down(),
    "refuses": lambda server: server.refuse(FOREVER),
    "cut at max_tokens": lambda server: server.cut(FOREVER),
    "nonsense": lambda server: setattr(server, "scientist", nonsense),
    "no money": lambda server: server.spend_limit(FOREVER),
}


def idle(layout: Layout) -> tuple[float, int]:
    """Percent of pilots' time between two experiments, and how many experiments there were."""
    history = History.of(replay(layout.journal).events)
    by_pilot: dict[str, list[tuple[float, float]]] = {}
    for entry in history.entries.values():
        if entry.result:
            times = (entry.result.started, entry.result.ended)
            by_pilot.setdefault(entry.pilot, []).append(times)
    gaps = busy = 0.0
    for spans in map(sorted, by_pilot.values()):
        gaps += sum(max(0.0, later[0] - sooner[1]) for sooner, later in pairwise(spans))
        busy += sum(ended - started for started, ended in spans)
    return 100 * gaps / (gaps + busy), sum(map(len, by_pilot.values()))


def run(mode: str, seconds: float) -> tuple[float, int, int]:
    """Idle percent, experiments, requests that the server saw."""
    with tempfile.TemporaryDirectory() as name, ClaudeServer(scientist) as server:
        root = Path(name)
        write_task(root, program=NAP + WHIMS)
        MODES[mode](server)
        ours = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url, "HOME": name}
        words = [sys.executable, "-P", "-m", "autoresearch", "run", *OVERRIDES]
        done = subprocess.run(
            [*words, f"budget.wall_hours={seconds / 3600:.5f}"],
            cwd=root,
            env=os.environ | ours,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return *idle(Layout(root / "c")), len(server.bodies)


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    options = parser.parse_args()
    machine = _report.machine()
    found = {mode: run(mode, options.seconds) for mode in options.modes}
    usual = found[options.modes[0]][0]
    figures = [
        _report.Figure(
            mode,
            share,
            "% idle",
            usual + MORE,
            note=f"{share - usual:+.1f}; {experiments} experiments, {requests} requests",
        )
        for mode, (share, experiments, requests) in found.items()
    ]
    title = f"pilots' idle time, planner=claude, {options.seconds:g} s each"
    return _report.report(title, figures, machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
