"""What the figures of the Slurm side share: a throw-away testbed, campaigns on it, counted calls.

Every script brings up a Slurm of its own by scripts/testbed and wipes it at its end. Its GPUs are
fake, everything else is real.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import _report

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "tests"))

from bigram import write_data  # noqa: E402 - the smallest real data
from testbeds import Testbed, clean_environment, script  # noqa: E402 - as the tests handle it

from autoresearch.cluster.environment import exactly  # noqa: E402

COMMANDS = ("squeue", "sacct", "sbatch", "scontrol", "scancel", "sacctmgr", "sinfo")
TYPES = ("h100", "h200")  # eight GPUs each

# One more line in a log, and the real command. No process is started for it.
COUNTER = """\
#!/bin/bash
echo "$EPOCHREALTIME {name} $*" >>"$BENCH_CALLS"
exec {real} "$@"
"""
# Sourced by every batch script as its first line: when a job begins, and on which GPU.
MARK = """\
export BENCH_STARTED=$EPOCHREALTIME
gpu=$SLURMD_NODENAME:$CUDA_VISIBLE_DEVICES
echo "$SLURM_JOB_NAME-${{SLURM_ARRAY_TASK_ID:-0}} $gpu" >>{file}
"""
TASK = """\
name: nap
dir: {task}
data: {{directory: {data}, vocabulary: 258, context: 16}}
budget: {{tokens: 16}}
scoring: {{rows: 16, length: 16, tokens: 256, altered: 0.1, random: 1, challenges: 0}}
limits: {{setup_seconds: 300, token_seconds: 600, score_seconds: 300}}
"""


@dataclass(frozen=True)
class Call:
    """One start of a Slurm command, at a Unix time."""

    at: float
    command: str
    arguments: str = ""

    @property
    def is_test(self) -> bool:
        """Whether it only asked what Slurm would say."""
        return "--test-only" in self.arguments


@dataclass(frozen=True)
class Lab:
    """A testbed, and a folder for what runs on it."""

    testbed: Testbed
    root: Path
    machine: _report.Json  # as it was before the testbed came up

    def environment(self, calls: str, **more: str) -> dict[str, str]:
        """Of a process whose Slurm commands are counted, under a name of its own."""
        path = f"{self.root / 'bin'}:{self.testbed.environment['PATH']}"
        ours = {"PATH": path, "BENCH_CALLS": str(self.root / f"{calls}.calls")}
        return clean_environment() | dict(self.testbed.environment) | ours | more

    def calls(self, name: str) -> list[Call]:
        """What was counted under a name, in order."""
        path = self.root / f"{name}.calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [
            Call(float(at), *words) for at, *words in (line.split(maxsplit=2) for line in lines)
        ]

    def marks(self) -> dict[str, str]:
        """The GPU that Slurm gave each task: "JOB_NAME-INDEX" to "NODE:GPU"."""
        path = self.root / "marks"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return dict(line.split() for line in lines)

    def cancel_all(self) -> None:
        """No jobs are left when this returns."""
        self.testbed.wait_idle()

    @contextmanager
    def controller(self, name: str, *overrides: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A real `autoresearch run` on the testbed, counted under its name; ended if it lives."""
        command = [
            *(sys.executable, "-P", "-m", "autoresearch", "run"),
            *(f"name={name}", f"dir={self.root / name}", "task=nap", "search=empty"),
            *("cluster=testbed", *overrides),
        ]
        with (self.root / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait(60)

    def log(self, name: str) -> str:
        """What a controller has said last."""
        return (self.root / f"{name}.log").read_text(encoding="utf-8")[-2000:]


@contextmanager
def laboratory() -> Iterator[Lab]:
    """A testbed of its own in a short folder, for Slurm puts sockets there."""
    root = Path(tempfile.mkdtemp(prefix="tb-"))
    testbed = root / "tb"
    machine = _report.machine()
    signal.signal(signal.SIGTERM, leave)
    try:
        started = Testbed.start(testbed)
        version = started.run("sbatch", "--version").stdout.split()[-1]
        lab = Lab(started, root, {**machine, "slurm": version, "code": code()})
        furnish(lab)
        yield lab
    finally:
        script({"TESTBED_DIR": str(testbed)}, "down", "--wipe", check=False)
        shutil.rmtree(root, ignore_errors=True)


def code() -> str:
    """Which state of the package is measured: a hash of its modules, committed or not."""
    sha256 = hashlib.sha256()
    for path in sorted((HERE.parents[2] / "autoresearch").rglob("*.py")):
        sha256.update(path.read_bytes())
    return sha256.hexdigest()[:8]


def leave(number: int, _frame: FrameType | None) -> None:
    """Leave in order when told to end: nothing else would take the daemons down."""
    raise SystemExit(128 + number)


def furnish(lab: Lab) -> None:
    """The counting commands, the mark, and a conf/ with the napping task."""
    (lab.root / "bin").mkdir()
    for name in COMMANDS:
        real = shutil.which(name, path=lab.testbed.environment["PATH"])
        path = lab.root / "bin" / name
        path.write_text(COUNTER.format(name=name, real=real), encoding="utf-8")
        path.chmod(0o755)
    mark = MARK.format(file=shlex.quote(str(lab.root / "marks")))
    (lab.root / "mark.sh").write_text(mark, encoding="utf-8")
    write_data(lab.root / "data")
    task = lab.root / "conf" / "task"
    task.mkdir(parents=True)
    text = TASK.format(task=HERE / "nap", data=lab.root / "data")
    (task / "nap.yaml").write_text(text, encoding="utf-8")


def stand_ins(seconds: float) -> str:
    """The override that puts pilots without a referee in the place of the real ones."""
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / '_standin.py'))} {seconds:g}"
    return f'cluster.python="{command}"'


def only_tier(kind: str, pilots: int) -> list[str]:
    """The overrides for a campaign on GPUs of one type."""
    return [
        "~cluster.tiers.validate",
        f"cluster.tiers.screen.partitions=[{kind}]",
        f"cluster.tiers.screen.device=fake-{kind}",
        f"cluster.tiers.screen.pilots={pilots}",
    ]


def arguments(description: str) -> argparse.ArgumentParser:
    """As for every figure, with `--quick` for a look in about a minute."""
    parser = _report.arguments(description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter: a look, no figure")
    return parser


def surroundings(variables: Mapping[str, str]) -> AbstractContextManager[None]:
    """Our own environment, for what submits from this very process."""
    return exactly(os.environ | dict(variables))
