"""The checkup as a job: a batch script, and who runs it: Slurm, or this machine.

Submitted like a pilot, with the same options, environment, setup lines and Python.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autoresearch.cluster.commands import NoAnswer, ask
from autoresearch.cluster.environment import scrubbed
from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.cluster.options import Options, arguments, sbatch_options
from autoresearch.cluster.queue import read_squeue, squeue
from autoresearch.cluster.states import meaning
from autoresearch.cluster.survey import user_name
from autoresearch.doctor.checkup import UNSEEN
from autoresearch.layout import Layout
from autoresearch.settings import Cluster, Tier

MINUTES = 10  # a checkup may run: a first import of torch over a network takes long
SCRIPT = """\
#!/bin/bash
# Written by `autoresearch doctor`.
if ! [ -d {folder} ]; then
  echo {folder}: No such directory
  exit {unseen}
fi
trap '{failed}' ERR
{setup}
trap - ERR
{python} {folder}/checkup.py {folder}
"""
# A line that fails is noted, and the next one run, as in a pilot's script. Not what fails inside
# of a script it sources: many do so on purpose.
FAILED = (
    'code=$?; [ ${{#BASH_SOURCE[@]}} -gt 1 ] || echo "$BASH_COMMAND: exit $code" >> {folder}/setup'
)


@dataclass(frozen=True)
class Place:
    """Where pilots of a tier may run; no partition: on this machine."""

    name: str
    tier: Tier
    partition: str = ""


class Jobs(Protocol):
    """Starts checkups and says what became of them."""

    def start(self, place: Place, folder: Path) -> str:
        """Its id. Raises NoAnswer if Slurm refuses."""
        ...

    def look(self) -> Mapping[str, Sighting]:
        """Every job of ours that can be seen. Raises NoAnswer."""
        ...

    def code(self, id: str) -> int | None:
        """The exit code of a job that has ended, if anybody knows."""
        ...

    def cancel(self) -> None:
        """End all that we have started."""
        ...


def script(cluster: Cluster, tier: Tier, folder: Path) -> str:
    """What a job runs; on Slurm, Python is a step of it, as a pilot is."""
    where = shlex.quote(str(folder))
    python = shlex.quote(sys.executable)
    setup: tuple[str, ...] = ()
    if cluster.kind == "slurm":
        step = f"srun --cpus-per-task={tier.cpus or tier.threads} --cpu-bind=none"
        python, setup = f"{step} env {cluster.python or python}", cluster.setup
    return SCRIPT.format(
        folder=where,
        unseen=UNSEEN,
        failed=FAILED.format(folder=where).replace("'", "'\\''"),
        setup="\n".join(setup) or ":",
        python=python,
    )


def variables(directory: str) -> dict[str, str]:
    """What a pilot's job is started with."""
    ours = scrubbed(Layout(Path(directory)))
    return {name: value for name, value in ours.items() if name != "TMPDIR"}


def asked(cluster: Cluster, place: Place) -> Options:
    return sbatch_options(cluster, place.tier, place.partition, place.tier.memory_gb)


class SlurmJobs:
    """One job per place, all of one name: so none is left behind, whenever we are interrupted."""

    def __init__(self, cluster: Cluster, directory: str, name: str) -> None:
        self.cluster = cluster
        self.env = variables(directory)
        self.name = name
        self.user = user_name()

    def start(self, place: Place, folder: Path) -> str:
        path = folder / "script"
        path.write_text(script(self.cluster, place.tier, folder), encoding="utf-8")
        ours: Options = {
            "job-name": self.name,
            "time": str(MINUTES),
            "output": str(folder / "output"),
            "chdir": str(folder),
            "no-requeue": True,
        }
        options = arguments(asked(self.cluster, place) | ours)
        said = ask("sbatch", "--parsable", *options, str(path), env=self.env)
        return said.strip().partition(";")[0]

    def look(self) -> Mapping[str, Sighting]:
        found = {}
        for row in read_squeue(ask(*squeue(self.user))):
            if row.name == self.name:
                phase, _, words = meaning(row.state)
                reason = row.reason if phase is Phase.waiting else words
                found[row.job] = Sighting(phase, reason, row.node)
        return found

    def code(self, id: str) -> int | None:
        with suppress(NoAnswer):
            match = re.search(r"\bExitCode=(\d+)", ask("scontrol", "-o", "show", "job", id))
            return int(match[1]) if match else None
        return None

    def cancel(self) -> None:
        with suppress(NoAnswer):
            ask("scancel", "-Q", f"--user={self.user}", f"--name={self.name}")


class LocalJobs:
    """Processes of this machine."""

    def __init__(self, cluster: Cluster, directory: str) -> None:
        self.cluster = cluster
        self.env = variables(directory)
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, place: Place, folder: Path) -> str:
        path = folder / "script"
        path.write_text(script(self.cluster, place.tier, folder), encoding="utf-8")
        gpu = {"CUDA_VISIBLE_DEVICES": first_gpu()} if place.tier.gpus else {}
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                ["bash", str(path)],
                env=self.env | gpu,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started[str(process.pid)] = process
        return str(process.pid)

    def look(self) -> Mapping[str, Sighting]:
        host = os.uname().nodename
        return {
            id: Sighting(Phase.running if process.poll() is None else Phase.gone, "ended", host)
            for id, process in self.started.items()
        }

    def code(self, id: str) -> int | None:
        return self.started[id].returncode

    def cancel(self) -> None:
        for process in self.started.values():
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()


def first_gpu() -> str:
    """As `cluster.local` deals them out: one of those the user chose."""
    chosen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return chosen[0] if chosen else "0"
