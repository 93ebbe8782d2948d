#!/usr/bin/env python
"""How long a GPU waits between two experiments, beside waves with a barrier doing the same work.

    .venv/bin/python scripts/bench/slurm/idle.py [--quick] [--nap 30] [--json FILE]

Sixteen fake GPUs of two types: two campaigns side by side, one per type with eight pilots, for a
campaign screens on one tier only. The program naps for `--nap` seconds, give or take a half, inside
the real referee. Afterwards the same naps in the same order on the same GPUs: in waves of 16 by
plain submitit, and by Hydra's launcher for it (installed into an environment of its own) with
batches of 16; there a task imports torch and naps, without a referee and without scoring.

An experiment holds its GPU from its claim to its result; with the others, from the first line of
its batch script to the end of its function. All else is idle time. On few cores what takes longest
is importing torch, twice per experiment: the nap must be long against that.
"""

import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from math import ceil
from pathlib import Path

import submitit

BENCH = Path(__file__).parent.parent
sys.path.insert(0, str(BENCH))

import _report  # noqa: E402 - beside this folder
from _report import Figure  # noqa: E402
from slurm._lab import Lab  # noqa: E402
from slurm._nap import work  # noqa: E402 - pickled by name, so found on the node

from autoresearch.history import History  # noqa: E402
from autoresearch.journal import replay  # noqa: E402
from autoresearch.layout import Layout, read_json  # noqa: E402
from slurm import _lab  # noqa: E402

PACKAGES = ("hydra-core==1.3.8", "hydra-submitit-launcher==1.2.0")
BASELINES = 2  # seeds; as few for a crown test and for a certification, which never come
SET_UP = 10.0  # seconds that an experiment takes besides its nap, about
ANY_GPU = {"partition": "h100,h200", "gres": "gpu:1"}


@dataclass(frozen=True)
class Size:
    """How much is run: `experiments` in each of the two campaigns, on `pilots` GPUs each."""

    experiments: int
    pilots: int
    nap: float

    @property
    def gpus(self) -> int:
        return len(_lab.TYPES) * self.pilots


@dataclass(frozen=True)
class Stay:
    """One experiment on one GPU, in Unix seconds."""

    gpu: str
    started: float
    ended: float
    pilot: str = ""  # ours alone


@dataclass(frozen=True)
class Account:
    """Where the GPUs' time went, from the first start to the last end."""

    stays: list[Stay]
    naps: float  # seconds in all that programs asked for
    gpus: int

    @property
    def first(self) -> float:
        return min(stay.started for stay in self.stays)

    @property
    def neighbours(self) -> list[tuple[Stay, Stay]]:
        """Every two experiments that followed each other on the same GPU."""
        by_gpu: defaultdict[str, list[Stay]] = defaultdict(list)
        for stay in sorted(self.stays, key=lambda stay: stay.started):
            by_gpu[stay.gpu].append(stay)
        return list(chain.from_iterable(map(pairwise, by_gpu.values())))

    def held(self, until: float) -> float:
        """GPU-seconds that belonged to experiments before a moment."""
        return sum(max(0.0, min(s.ended, until) - s.started) for s in self.stays)

    def idle(self, until: float) -> float:
        """GPU-seconds that belonged to none."""
        return self.gpus * (until - self.first) - self.held(until)

    @property
    def last_end(self) -> float:
        return max(stay.ended for stay in self.stays)

    @property
    def last_start(self) -> float:
        """From here on there is nothing left to hand out."""
        return max(stay.started for stay in self.stays)

    def share(self, until: float) -> float:
        """Percent of the GPUs' time that was idle."""
        return 100 * self.idle(until) / (self.gpus * (until - self.first))

    @property
    def each(self) -> float:
        """Idle seconds per experiment."""
        return self.idle(self.last_end) / len(self.stays)

    @property
    def asleep(self) -> float:
        """Percent of the GPUs' time in which a program did what it was there for."""
        return 100 * self.naps / (self.gpus * (self.last_end - self.first))


# ---- ours ----------------------------------------------------------------------------------------


def overrides(lab: Lab, size: Size, kind: str) -> list[str]:
    """One campaign: naps spread evenly over their interval, the order decided by the seed."""
    low, high = 0.5 * size.nap, 1.5 * size.nap
    return [
        *_lab.only_tier(kind, size.pilots),
        f"seed={1 + _lab.TYPES.index(kind)}",
        f"task.params.nap={size.nap:g}",
        f"+search.space.nap=interval({low:g},{high:g})",
        "search.rungs=[1]",
        *("planner=factorial", "planner.options.design=lhs"),
        f"planner.options.points={size.experiments - BASELINES}",
        *(f"judge.{use}_seeds={BASELINES}" for use in ("baseline", "crown", "certify")),
        # What is kept back for a crown test and a certification is never spent: nobody is better.
        f"budget.experiments={size.experiments + 4 * BASELINES}",
        f"pilot.minutes={life(size)}",
        f'cluster.setup=[". {lab.root}/mark.sh"]',
    ]


def life(size: Size) -> int:
    """Minutes that a pilot lives: what a campaign chooses as soon as it knows how long experiments
    take, four of them and three minutes to spare. The first pilots, asked for before it does, would
    outlive this run; so nobody would ever take over from another.
    """
    return ceil(4 * (size.nap + SET_UP) / 60 + 3)


def campaigns(lab: Lab, size: Size) -> tuple[list[Stay], list[float]]:
    """Run them to their ends; what happened, and the naps in the order of their proposal."""
    first, second = (lab.controller(kind, *overrides(lab, size, kind)) for kind in _lab.TYPES)
    with first as one, second as two:
        for kind, process in zip(_lab.TYPES, (one, two), strict=True):
            if process.wait(3600):
                raise SystemExit(lab.log(kind))
    marks = lab.marks()
    found = [records(Layout(lab.root / kind), marks, size.nap) for kind in _lab.TYPES]
    naps = [n for pair in zip_longest(*(naps for _, naps in found)) for n in pair if n is not None]
    return list(chain.from_iterable(stays for stays, _ in found)), naps


def records(
    layout: Layout, marks: dict[str, str], default: float
) -> tuple[list[Stay], list[float]]:
    """Every attempt's stay by the referee's own clock, and every experiment's nap."""
    history = History.of(replay(layout.journal).events)
    failed = [entry.result for entry in history.entries.values() if entry.has_failed]
    if failed:
        raise SystemExit(f"an experiment failed: {failed[0]}")
    gpus = {job.partition("-")[2].partition("-")[2]: gpu for job, gpu in marks.items()}
    results = [read_json(path) or {} for path in layout.experiments.glob("*/attempt-*/result.json")]
    stays = [Stay(gpus[r["pilot"]], r["started"], r["ended"], r["pilot"]) for r in results]
    entries = history.entries.values()
    return stays, [float(e.experiment.candidate.overrides.get("nap", default)) for e in entries]


# ---- theirs --------------------------------------------------------------------------------------


def barrier(lab: Lab, naps: Sequence[float], width: int) -> list[Stay]:
    """Plain submitit: a Slurm job per experiment, a wave when the last of the one before is over.

    Asked five times a second whether it is: submitit looks for files, and asks Slurm now and then.
    """
    file = lab.root / "waves.stays"
    executor = submitit.SlurmExecutor(lab.root / "waves")
    with _lab.surroundings(theirs(lab, "waves", file)):
        executor.update_parameters(
            **ANY_GPU, mem="4GB", time=60, cpus_per_task=1, setup=[f". {lab.root}/mark.sh"]
        )
        for first in range(0, len(naps), width):
            jobs = executor.map_array(work, naps[first : first + width])
            while not all(job.done() for job in jobs):
                time.sleep(0.2)
            for job in jobs:
                job.result()
    return stays_in(file)


def hydra(lab: Lab, naps: Sequence[float], width: int) -> list[Stay]:
    """Hydra's launcher for submitit, whose sweeper hands out batches and waits for each."""
    python = environment_of_its_own(lab)
    (lab.root / "naps.json").write_text(json.dumps(naps), encoding="utf-8")
    file = lab.root / "hydra.stays"
    launcher = {
        **{name: f"'{value}'" for name, value in ANY_GPU.items()},
        "mem_gb": 4,
        "timeout_min": 60,
        "cpus_per_task": 1,
        "array_parallelism": width,
        "setup": f"['. {lab.root}/mark.sh']",
    }
    command = [
        *(str(python), str(_lab.HERE / "_sweep.py"), "--multirun"),
        *("hydra/launcher=submitit_slurm", f"hydra.sweep.dir={lab.root / 'hydra'}"),
        *(f"hydra.launcher.{name}={value}" for name, value in launcher.items()),
        *(f"hydra.sweeper.max_batch_size={width}", f"+index=range(0,{len(naps)})"),
    ]
    done = subprocess.run(
        command,
        cwd=lab.root,
        env=lab.environment("hydra")
        | theirs(lab, "hydra", file)
        | {"BENCH_NAPS": str(lab.root / "naps.json")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return stays_in(file)


def environment_of_its_own(lab: Lab) -> Path:
    """A virtual environment with the launcher, and our torch behind it; its Python."""
    folder = lab.root / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    ours = subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True)
    (Path(found.stdout.strip()) / "ours.pth").write_text(ours.stdout, encoding="utf-8")
    return python


def theirs(lab: Lab, name: str, stays: Path) -> dict[str, str]:
    """The environment of a submission, which its jobs inherit."""
    counted = lab.environment(name)
    ours = {name: counted[name] for name in ("PATH", "BENCH_CALLS", "SLURM_CONF")}
    return {**ours, "BENCH_STAYS": str(stays), "PYTHONPATH": str(BENCH)}


def stays_in(file: Path) -> list[Stay]:
    return [Stay(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


# ---- figures -------------------------------------------------------------------------------------


def of_ours(ours: Account) -> list[Figure]:
    pairs = ours.neighbours
    gaps = sorted(after.started - before.ended for before, after in pairs)
    handed = [b.started - a.ended for a, b in pairs if a.pilot != b.pilot]
    each = statistics.fmean(s.ended - s.started for s in ours.stays)
    return [
        Figure("idle between two experiments, median", statistics.median(gaps), bound=2),
        Figure("... 95th percentile", gaps[int(0.95 * len(gaps))]),
        Figure("... longest", gaps[-1]),
        Figure("... where a pilot took over from another, mean", statistics.fmean(handed or [0.0])),
        Figure("of these", len(handed), ""),
        Figure("experiments", len(ours.stays), ""),
        Figure("GPUs", ours.gpus, ""),
        Figure("a nap, mean", ours.naps / len(ours.stays)),
        Figure("claim to result, mean", each),
    ]


def of_one(name: str, account: Account) -> list[Figure]:
    figures = [
        Figure("GPU time idle", account.share(account.last_end), "%"),
        Figure("GPU time idle while work was left", account.share(account.last_start), "%"),
        Figure("GPU time in naps", account.asleep, "%"),
        Figure("idle seconds per experiment", account.each),
        Figure("first start to last end", account.last_end - account.first),
    ]
    return [Figure(f"{name}: {f.what}", f.value, f.unit) for f in figures]


def compared(name: str, peer: Account, ours: Account) -> list[Figure]:
    """How many times more is idle there. Of the whole run, and until its last experiment starts."""
    pairs = {
        "of GPU time idle": (peer.share(peer.last_end), ours.share(ours.last_end)),
        "of it while work was left": (peer.share(peer.last_start), ours.share(ours.last_start)),
        "idle seconds per experiment": (peer.each, ours.each),
    }
    bounds = {"of it while work was left": None}
    return [
        Figure(f"{name} over ours, {what}", theirs / own, "×", bounds.get(what, 5.0), at_least=True)
        for what, (theirs, own) in pairs.items()
    ]


def main() -> int:
    parser = _lab.arguments(__doc__ or "")
    parser.add_argument("--nap", type=float, help="seconds, on average")
    parser.add_argument("--experiments", type=int, help="in each of the two campaigns")
    parser.add_argument("--stays", type=Path, metavar="FILE", help="also write when each was where")
    options = parser.parse_args()
    usual = Size(5, 2, 1.0) if options.quick else Size(104, 8, 30.0)
    size = Size(options.experiments or usual.experiments, usual.pilots, options.nap or usual.nap)
    peers: dict[str, Callable[[Lab, Sequence[float], int], list[Stay]]]
    peers = {"waves of submitit": barrier, "hydra-submitit": hydra}
    with _lab.laboratory() as lab:
        stays, naps = campaigns(lab, size)
        ours = Account(stays, sum(naps), size.gpus)
        print(f"ours: {ours.last_end - ours.first:.0f} s", flush=True)
        accounts = {}
        for name, run in peers.items():
            lab.cancel_all()
            accounts[name] = Account(run(lab, naps, size.gpus), sum(naps), size.gpus)
            print(f"{name}: {accounts[name].last_end - accounts[name].first:.0f} s", flush=True)
        hours = (ours.last_end - ours.first) / 3600
        counts = [len(lab.calls(kind)) / hours for kind in _lab.TYPES]
    if options.stays:
        every = {name: [vars(s) for s in a.stays] for name, a in {"ours": ours, **accounts}.items()}
        options.stays.write_text(json.dumps(every), encoding="utf-8")
    figures = [
        *of_ours(ours),
        *of_one("ours", ours),
        *chain.from_iterable(of_one(name, account) for name, account in accounts.items()),
        *chain.from_iterable(compared(name, peer, ours) for name, peer in accounts.items()),
        Figure("Slurm calls per hour and controller", statistics.fmean(counts), "/h"),
    ]
    return _report.report("Idle GPUs between experiments", figures, lab.machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
