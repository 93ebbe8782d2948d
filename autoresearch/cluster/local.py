"""Pilots as processes of this machine, through submitit's LocalExecutor.

Pilots outlive the controller: a kill, a closed terminal or Ctrl-C reaches the controller alone,
even one that goes to its whole process group, for a pilot has its own session.
"""

import os
import shlex
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from math import inf
from pathlib import Path

import submitit
from submitit.helpers import CommandFunction

from autoresearch.cluster.environment import exactly, scrubbed
from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.errors import CampaignError
from autoresearch.experiment import Failure, Json
from autoresearch.layout import Layout, read_json
from autoresearch.process import Identity
from autoresearch.settings import Cluster

FOREVER_MINUTES = 60 * 24 * 365  # submitit wants a limit; ours are the pilot's own


class LocalCluster:
    """One job per pilot. GPUs are dealt out in turn, one per pilot."""

    def __init__(self, layout: Layout, settings: Cluster) -> None:
        self.layout = layout
        self.tiers = settings.tiers
        self.gpus = {name: cycle(visible_gpus(tier.pilots)) for name, tier in self.tiers.items()}
        self.started: list[submitit.Job[object]] = []  # our own children, to be reaped

    @property
    def lag(self) -> float:
        return 0.0

    def check(self) -> None:
        """This machine takes what it is given."""

    def batches(self, tier: str, count: int) -> list[int]:  # noqa: ARG002 - every tier is here
        return [count]

    def longest(self, tier: str) -> float:  # noqa: ARG002
        return inf

    def submit(
        self,
        tier: str,
        names: Sequence[str],
        minutes: float = 0.0,
        exclude: Collection[str] = (),  # noqa: ARG002 - there is one node
    ) -> dict[str, Json]:
        """Raises CampaignError if processes cannot be started or files not written."""
        try:
            with signals_kept_from_children(), exactly(scrubbed(self.layout)):
                return {name: self._start(tier, name, minutes) for name in names}
        except OSError as error:
            raise CampaignError(
                f"pilots should start under {self.layout.pilots}, but: {error.strerror}"
            ) from error

    def _start(self, tier: str, name: str, minutes: float) -> Json:
        python = shlex.join(["setsid", sys.executable])
        executor = submitit.LocalExecutor(folder=self.layout.pilots / name, python=python)
        executor.update_parameters(timeout_min=FOREVER_MINUTES, stderr_to_stdout=True)
        command = [*pilot_command(self.layout, tier, minutes * 60), name]
        if self.tiers[tier].gpus:
            command = ["env", f"CUDA_VISIBLE_DEVICES={next(self.gpus[tier])}", *command]
        job = executor.submit(CommandFunction(command))
        self.started.append(job)
        identity = Identity.of(int(job.job_id))
        return {"id": job.job_id, "process": asdict(identity) if identity else None}

    def look(self, jobs: Mapping[str, Json]) -> dict[str, Sighting]:
        """A pilot is gone when the process that named itself in pilots/<name>.json is.

        Before it has done so: when no process of this machine has the pilot's folder in its
        command line, as those have that are starting it.
        """
        self.started = [job for job in self.started if not job.done()]  # asking also reaps it
        return {name: self._sighting(name) for name in jobs}

    def _sighting(self, name: str) -> Sighting:
        if self._identity(name) is None and is_mentioned(str(self.layout.pilots / name)):
            return Sighting(Phase.waiting)
        record = read_json(self.layout.pilot(name))  # again: it may have named itself in between
        identity = identity_of(record)
        started = float(record["started"]) if record and "started" in record else None
        if identity is not None and (identity.is_alive or not identity.is_here):
            return Sighting(Phase.running, node=identity.host, started=started)
        how = "ended without a word" if identity else "never began"
        node = identity.host if identity else ""
        return Sighting(Phase.gone, how, node, started, None, Failure.node_failed)

    def withdraw(self, jobs: Mapping[str, Json]) -> None:
        """None waits for long here, and what it finds sends it home."""

    def notices(self) -> list[str]:
        return []

    def cancel(self, jobs: Mapping[str, Json]) -> None:
        for name, job in jobs.items():
            starter = Identity(**job["process"]) if job.get("process") else None
            identity = self._identity(name) or starter
            if identity is not None and identity.is_alive:
                os.kill(identity.pid, signal.SIGTERM)

    def _identity(self, name: str) -> Identity | None:
        return identity_of(read_json(self.layout.pilot(name)))


def identity_of(record: Json | None) -> Identity | None:
    """The process that a pilot's own record names."""
    if record is None or not record.keys() >= Identity.__dataclass_fields__.keys():
        return None
    return Identity(**{key: record[key] for key in Identity.__dataclass_fields__})


def pilot_command(layout: Layout, tier: str, seconds: float) -> list[str]:
    """How a pilot is started, but for its name: a path and a few words cross to the node."""
    module = ["-P", "-m", "autoresearch.node.pilot"]
    return [sys.executable, *module, str(layout.root), tier, f"{seconds:g}"]


def visible_gpus(count: int) -> list[str]:
    """The GPUs we may use, as CUDA names them: those the user chose, else the first `count`.

    Names, not numbers: a MIG slice has no number.
    """
    chosen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return chosen or [str(number) for number in range(max(1, count))]


def is_mentioned(text: str) -> bool:
    """Whether a live process has `text` among its arguments."""
    wanted = os.fsencode(text)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if wanted in (folder / "cmdline").read_bytes().split(b"\0"):
                    return True
            except OSError:
                continue  # it ended while we looked
    return False


@contextmanager
def signals_kept_from_children() -> Iterator[None]:
    """Children started inside inherit these signals blocked; ours arrive when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
