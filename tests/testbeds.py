"""The real Slurm of scripts/testbed, as the tests handle it."""

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

SCRIPT = Path(__file__).parents[1] / "scripts" / "testbed"
NODES = ("cpu-01", "cpu-02", "h100-01", "h100-02", "h200-01", "h200-02")


class TestbedError(Exception):
    """What scripts/testbed, or a command run in a testbed, said when it failed."""

    __test__: ClassVar[bool] = False  # its name is no test's


def clean_environment() -> dict[str, str]:
    """Ours, without what a Slurm job or another testbed would have put there."""
    prefixes = ("SLURM_", "SBATCH_", "SACCT_", "SQUEUE_", "TESTBED_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def free_ports(count: int = 20) -> int:
    """The first of `count` ports in a row on which nobody listens now."""
    while True:
        base = random.randrange(20000, 32000, count)
        if all(is_free(port) for port in range(base, base + count)):
            return base


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def until(condition: Callable[[], object], seconds: float = 30.0, what: str = "") -> None:
    """Ask gently: each question is a process, on a machine that has a cluster to run."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain {what}".rstrip()
        time.sleep(0.1)


@dataclass(frozen=True)
class Testbed:
    """A running testbed: its folder, and what a process needs to be its user."""

    __test__: ClassVar[bool] = False  # its name is no test's

    directory: Path
    port: int
    environment: Mapping[str, str]
    settings: str  # as it was started
    user: tuple[str, ...] = ()  # what a command line begins with to be another user's

    @classmethod
    def start(
        cls, directory: Path, *, install: bool = False, user: tuple[str, ...] = (), **settings: str
    ) -> "Testbed":
        """Bring one up in `directory`; settings are named as in the script: `TESTBED_GRACE="3"`."""
        port = free_ports()
        given = {"TESTBED_DIR": str(directory), "TESTBED_PORT": str(port), **settings}
        words = ("up", "--install") if install else ("up",)
        script(given, *words, user=user)
        exports = f'eval "$({SCRIPT} env)" && printf "%s\\n%s" "$SLURM_CONF" "$PATH"'
        shell = execute(["bash", "-c", exports], {"TESTBED_DIR": str(directory)})
        conf, path = shell.stdout.splitlines()
        environment = {"TESTBED_DIR": str(directory), "SLURM_CONF": conf, "PATH": path}
        return cls(directory, port, environment, (directory / "settings").read_text(), user)

    def tb(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A verb of scripts/testbed."""
        return script({"TESTBED_DIR": str(self.directory)}, *words, check=check, user=self.user)

    def run(
        self, *argv: str, check: bool = True, timeout: float = 60.0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Any command as the testbed's user; `more` adds to its environment."""
        command = (*self.user, *argv)
        return execute(command, {**self.environment, **more}, check=check, timeout=timeout)

    def submit(self, script: str, *words: str) -> str:
        """Submit a line of shell with sbatch; the job's id. What it prints goes to `output(id)`."""
        output = f"--output={self.directory}/jobs/%A_%a.out"
        (self.directory / "jobs").mkdir(exist_ok=True)
        done = self.run("sbatch", "--parsable", output, *words, f"--wrap={script}")
        return done.stdout.strip().split(";")[0]

    def outputs(self, job: str) -> list[str]:
        """What each task of a submitted job has printed."""
        return [path.read_text() for path in sorted(self.directory.glob(f"jobs/{job}_*.out"))]

    def squeue(self) -> dict[str, str]:
        """Every job or array task in the queue with its state, "PENDING" or "RUNNING" or such."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").stdout.splitlines()
        return dict(line.split() for line in lines)

    def job(self, id: str) -> dict[str, Any]:
        """What slurmctld knows of a job, until 300 s after its end; {} if nothing."""
        jobs = json.loads(self.run("squeue", "--json").stdout)["jobs"]
        known: dict[str, dict[str, Any]] = {str(job["job_id"]): job for job in jobs}
        return known.get(id, {})

    def state(self, id: str) -> str:
        return str(self.job(id).get("job_state", ""))

    def sacct(
        self, job: str, fields: str = "JobID,State,ExitCode,NodeList", *words: str
    ) -> list[dict[str, str]]:
        """The accounting's rows for a job, its array tasks and, unless `-X` is given, its steps."""
        names = fields.split(",")
        done = self.run("sacct", "-nP", "-j", job, "-o", fields, *words, SLURM_BITSTR_LEN="0")
        return [dict(zip(names, row.split("|"), strict=True)) for row in done.stdout.splitlines()]

    def nodes(self) -> dict[str, str]:
        """Every node's state: "idle", "mix", "down*" or such."""
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %t").stdout.splitlines()
        return dict(line.split() for line in lines)

    def wait_until(self, id: str, *states: str, seconds: float = 60.0) -> str:
        """Wait for a job to be in one of these states; the one it is in."""
        until(lambda: self.state(id) in states, seconds, f"for job {id} to be {states}")
        return self.state(id)

    def wait_idle(self, seconds: float = 60.0) -> None:
        """Everything runs as at the start, and no job does."""
        if (self.directory / "settings").read_text() != self.settings:
            self.tb("reconfigure", *self._tunables())
        self.tb("up")
        user = self.run("id", "-un").stdout.strip()
        self.run("scancel", f"--user={user}")
        for node, state in self.nodes().items():
            if state.startswith(("down", "drain", "drng")):
                self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        until(lambda: not self.squeue(), seconds, "for the queue to be empty")
        until(lambda: set(self.nodes().values()) == {"idle"}, seconds, "for the nodes to be idle")

    def _tunables(self) -> list[str]:
        return [line for line in self.settings.split() if not line.startswith("TESTBED_PORT=")]

    @contextmanager
    def outage(self, daemon: str) -> Iterator[None]:
        """While in it, slurmctld or slurmdbd does not answer."""
        self.tb("stop-daemon", daemon)
        try:
            yield
        finally:
            self.tb("start-daemon", daemon)


def script(
    environment: Mapping[str, str], *words: str, check: bool = True, user: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Call scripts/testbed with nothing but `environment` to steer it."""
    return execute([*user, str(SCRIPT), *words], environment, check=check, timeout=600.0)


def execute(
    argv: tuple[str, ...] | list[str],
    environment: Mapping[str, str],
    *,
    check: bool = True,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv,
        env=clean_environment() | dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise TestbedError(done.stderr.strip() or f"{argv[0]} failed: {done.returncode}")
    return done
