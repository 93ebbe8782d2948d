"""Pilots as processes of this machine, through submitit's LocalExecutor.

Pilots outlive the controller: a kill, a closed terminal or Ctrl-C reaches the controller alone,
even one that goes to its whole process group, for a pilot has its own session.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import submitit
from submitit.helpers import CommandFunction

from autoresearch.cluster.environment import scrubbed
from autoresearch.errors import CampaignError
from autoresearch.experiment import Json
from autoresearch.layout import Layout
from autoresearch.process import Identity
from autoresearch.settings import Tier

FOREVER_MINUTES = 60 * 24 * 365  # submitit wants a limit; ours are the pilot's own


class LocalCluster:
    """One job per pilot. GPUs are dealt out in turn, one per pilot."""

    def __init__(self, layout: Layout, tiers: dict[str, Tier]) -> None:
        self.layout = layout
        self.tiers = tiers
        self.gpus = {name: cycle(visible_gpus(tier.pilots)) for name, tier in tiers.items()}
        self.started: list[submitit.Job[object]] = []  # our own children, to be reaped

    def submit(self, tier: str, names: Sequence[str]) -> dict[str, Json]:
        """Raises CampaignError if processes cannot be started or files not written."""
        try:
            with signals_kept_from_children(), environment(scrubbed(self.layout)):
                return {name: self._start(tier, name) for name in names}
        except OSError as error:
            raise CampaignError(
                f"pilots should start under {self.layout.pilots}, but: {error.strerror}"
            ) from error

    def _start(self, tier: str, name: str) -> Json:
        python = shlex.join(["setsid", sys.executable])
        executor = submitit.LocalExecutor(folder=self.layout.pilots / name, python=python)
        executor.update_parameters(timeout_min=FOREVER_MINUTES, stderr_to_stdout=True)
        command = pilot_command(self.layout, tier, name)
        if self.tiers[tier].gpus:
            command = ["env", f"CUDA_VISIBLE_DEVICES={next(self.gpus[tier])}", *command]
        job = executor.submit(CommandFunction(command))
        self.started.append(job)
        identity = Identity.of(int(job.job_id))
        return {"id": job.job_id, "process": asdict(identity) if identity else None}

    def gone(self, jobs: dict[str, Json]) -> Collection[str]:
        """A pilot is gone when the process that named itself in pilots/<name>.json is.

        Before it has done so: when no process of this machine has the pilot's folder in its
        command line, as those have that are starting it.
        """
        self.started = [job for job in self.started if not job.done()]  # asking also reaps it
        return {name for name in jobs if self._is_gone(name)}

    def _is_gone(self, name: str) -> bool:
        if self._identity(name) is None and is_mentioned(str(self.layout.pilots / name)):
            return False
        identity = self._identity(name)  # again: it may have named itself in between
        return identity is None or (identity.is_here and not identity.is_alive)

    def cancel(self, jobs: dict[str, Json]) -> None:
        for name, job in jobs.items():
            starter = Identity(**job["process"]) if job.get("process") else None
            identity = self._identity(name) or starter
            if identity is not None and identity.is_alive:
                os.kill(identity.pid, signal.SIGTERM)

    def _identity(self, name: str) -> Identity | None:
        try:
            record = json.loads(self.layout.pilot(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return Identity(**{key: record[key] for key in Identity.__dataclass_fields__})


def pilot_command(layout: Layout, tier: str, name: str) -> list[str]:
    """How a pilot is started: a path and two names cross to the node, nothing else."""
    return [sys.executable, "-P", "-m", "autoresearch.node.pilot", str(layout.root), tier, name]


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


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Run with exactly these variables, then put the old ones back: submitit passes ours on."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
