#!/usr/bin/env python
"""What a W&B server that goes away costs a campaign: nothing is lost, and how much time?

    python scripts/bench/wandb/outage.py [--experiments 200] [--outage 60] [--json FILE]

Two campaigns at the same time on one testbed, eight fake GPUs each, real referees and W&B clients;
the programs nap. One has a server that is always there. The other's is dead for a minute from the
middle on, and one of its two nodes has no network at all. Side by side, so that the load of the
machine meets both alike; what is compared is the time from the first claim to the last result, and
the time until the controller has left, its last look at the server included.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).parent.parent
sys.path.insert(0, str(BENCH))
sys.path.insert(0, str(BENCH.parents[1] / "tests"))

import _report  # noqa: E402 - beside this folder
from slurm._lab import Lab  # noqa: E402
from wandb_server import WandbServer  # noqa: E402

from autoresearch.experiment import State  # noqa: E402
from autoresearch.history import History  # noqa: E402
from autoresearch.journal import replay  # noqa: E402
from autoresearch.layout import Layout  # noqa: E402
from autoresearch.tracking.naming import run_id  # noqa: E402
from slurm import _lab  # noqa: E402

SEEDS = 2  # of the baseline, and of tests that never come: nobody is better
CUT_OFF = "h200-02"  # the node without network
SLOWER = 5.0  # percent that the campaign may be slower

# Starts Python; on one node in a network namespace of its own, whose loopback is its own too.
WRAPPER = """\
#!/usr/bin/env bash
if [ "$SLURMD_NODENAME" = {node} ]; then
  exec unshare --map-root-user --net sh -c 'ip link set lo up; exec "$@"' sh {python} "$@"
fi
exec {python} "$@"
"""


@dataclass(frozen=True)
class Outcome:
    """One campaign that is over."""

    seconds: float  # from the first claim to the last result
    whole: float  # from the controller's start to its end
    asked: int
    finished: int
    results: int  # that the journal has
    missing: int  # runs of finished experiments that the server does not have, finished
    doubled: int  # runs of no attempt, or with a row that is there twice
    brought: int  # runs that nodes wrote to files


def overrides(lab: Lab, kind: str, experiments: int, nap: float, url: str) -> list[str]:
    low, high = 0.5 * nap, 1.5 * nap
    return [
        *_lab.only_tier(kind, 8),
        f"task.params.nap={nap:g}",
        f"+search.space.nap=interval({low:g},{high:g})",
        *("planner=factorial", "planner.options.design=lhs"),
        f"planner.options.points={experiments - SEEDS}",
        *(f"judge.{use}_seeds={SEEDS}" for use in ("baseline", "crown", "certify")),
        f"budget.experiments={experiments + 4 * SEEDS}",
        "search.rungs=[1]",
        *("tracker=wandb", "tracker.entity=lab", f"tracker.url={url}", "tracker.poll_seconds=5"),
        f"cluster.python={lab.root / 'python'}",
    ]


def history_of(lab: Lab, name: str) -> History:
    return History.of(replay(Layout(lab.root / name).journal).events)


def prepare(lab: Lab, servers: Sequence[WandbServer]) -> None:
    """A HOME with keys, and how nodes start Python."""
    home = lab.root / "home"
    home.mkdir()
    lines = [f"machine {s.url[7:]} login user password {s.key}\n" for s in servers]
    (home / ".netrc").write_text("".join(lines))
    (home / ".netrc").chmod(0o600)
    (lab.root / "python").write_text(WRAPPER.format(node=CUT_OFF, python=sys.executable))
    (lab.root / "python").chmod(0o755)
    os.environ["HOME"] = str(home)


def life(process: "subprocess.Popen[bytes]") -> float:
    """Wait for a controller; the seconds since this call."""
    start = time.monotonic()
    process.wait()
    return time.monotonic() - start


def outcome(lab: Lab, name: str, server: WandbServer, whole: float) -> Outcome:
    layout = Layout(lab.root / name)
    events = replay(layout.journal).events
    entries = list(History.of(events).entries.values())
    done = [entry for entry in entries if entry.result]
    ids = {run_id(name, entry.experiment.id, entry.attempt) for entry in done}
    there = {run.id: run for run in server.runs.values()}
    begun = [entry.result.started for entry in done if entry.result]
    ended = [entry.result.ended for entry in done if entry.result]
    steps = [[row["_step"] for row in run.history] for run in there.values()]
    twice = [each for each in steps if len(set(each)) < len(each)]
    return Outcome(
        max(ended) - min(begun),
        whole,
        len(entries),
        sum(entry.state is State.finished for entry in entries),
        sum(event["type"] == "finished" for event in events),
        sum(id not in there or there[id].state != "finished" for id in ids),
        len(twice) + len(set(there) - ids),
        len(list(layout.wandb.glob("offline-run-*"))),
    )


def watch(lab: Lab, name: str, server: WandbServer, half: int, outage: float) -> None:
    """Let the server die when half of the results are there, and come back later."""
    while not (lab.root / name / "journal").exists():
        time.sleep(1)
    while len([e for e in history_of(lab, name).entries.values() if e.result]) < half:
        time.sleep(2)
    server.down()
    time.sleep(outage)
    server.up()


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--outage", type=float, default=60.0)
    parser.add_argument("--nap", type=float, default=10.0)
    options = parser.parse_args()
    with _lab.laboratory() as lab, WandbServer() as calm, WandbServer() as stormy:
        prepare(lab, [calm, stormy])
        size = (options.experiments, options.nap)
        quiet = lab.controller("calm", *overrides(lab, "h100", *size, calm.url))
        faulty = lab.controller("stormy", *overrides(lab, "h200", *size, stormy.url))
        with quiet as one, faulty as other, ThreadPoolExecutor() as pool:
            lives = [pool.submit(life, process) for process in (one, other)]
            watch(lab, "stormy", stormy, options.experiments // 2, options.outage)
        if one.returncode or other.returncode:
            raise SystemExit(f"{lab.log('calm')}\n{lab.log('stormy')}")
        before = outcome(lab, "calm", calm, lives[0].result())
        after = outcome(lab, "stormy", stormy, lives[1].result())
        machine = lab.machine
    slower = 100 * (after.seconds / before.seconds - 1)
    figures = [
        _report.Figure("a campaign, its server always there", before.seconds),
        _report.Figure(
            f"the same: server dead for {options.outage:g} s, one node of two without network",
            after.seconds,
            note=f"{after.brought} runs came as files, {before.brought} of the other's",
        ),
        _report.Figure("slower by", slower, "%", bound=SLOWER),
        _report.Figure("until its controller had left: the first", before.whole),
        _report.Figure("until its controller had left: the second", after.whole),
        _report.Figure("experiments", after.asked, ""),
        _report.Figure("results lost", after.asked - after.finished, "", bound=0),
        _report.Figure("results counted twice", after.results - after.finished, "", bound=0),
        _report.Figure("runs missing at W&B, or without an end", after.missing, "", bound=0),
        _report.Figure("runs of no attempt, or with rows twice", after.doubled, "", bound=0),
    ]
    return _report.report("an outage of W&B", figures, machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
