"""Asking a planner for the next wave, beside everything else.

A planner is a short-lived process, JSON in and JSON out (`python -m autoresearch.planners`): the
controller stays small, and waits for nobody.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import IO

from autoresearch.entry import Entry
from autoresearch.errors import UserError
from autoresearch.experiment import Json, Scalar, Wave, plain
from autoresearch.history import History
from autoresearch.settings import Settings
from autoresearch.space import space_to_json

Parameters = Callable[[str], Mapping[str, Scalar]]  # program -> the defaults of its Config


class PlannerFailed(UserError):  # noqa: N818 - it reports a fact
    """A planner that ended without a wave."""


def request(history: History, settings: Settings, capacity: int, parameters: Parameters) -> Json:
    """Everything a planner may know, in plain JSON."""
    return {
        "schema": 1,
        "planner": settings.planner.kind,
        "settings": dict(settings.planner.options),
        "seed": settings.seed,
        "wave": len(history.waves) + 1,
        "capacity": capacity,
        "space": space_to_json(settings.search.space),
        "defaults": in_space(settings, parameters(history.champion.program)),
        "trials": trials(history, settings, parameters),
    }


def in_space(settings: Settings, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {name: values[name] for name in settings.search.space}


def trials(history: History, settings: Settings, parameters: Parameters) -> list[Json]:
    """The baseline and every candidate so far, with its mean on the screen tier."""
    baseline = list(history.of_candidate(history.baseline, history.screen))
    return [
        trial(settings, entries, parameters)
        for entries in [baseline, *history.screened().values()]
        if entries
    ]


def trial(settings: Settings, entries: list[Entry], parameters: Parameters) -> Json:
    candidate = entries[0].experiment.candidate
    values = {**parameters(candidate.program), **candidate.overrides}
    scores = [entry.bpb for entry in entries if entry.bpb is not None]
    failure = next((e.result.failure for e in entries if e.result and e.has_failed), None)
    return {
        "parameters": in_space(settings, values),
        "state": "failed" if failure else "finished" if scores else "pending",
        "value": fmean(scores) if scores and not failure else None,
        "seeds": len(scores),
        "failure": failure,
        "wave": entries[0].wave,
    }


@dataclass
class Planning:
    """A planner at work."""

    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    errors: IO[bytes]
    asked: int  # number of results known when it was asked
    capacity: int  # proposals it may make

    @classmethod
    def start(cls, question: Json, asked: int) -> "Planning":
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(question).encode())
            stdin.seek(0)
            output = tempfile.TemporaryFile()  # noqa: SIM115 - both live as long as the process
            errors = tempfile.TemporaryFile()  # noqa: SIM115
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "autoresearch.planners"],
                stdin=stdin,
                stdout=output,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the controller
            )
        return cls(process, output, errors, asked, question["capacity"])

    @property
    def is_done(self) -> bool:
        """Whether `poll` has something to say."""
        return self.process.poll() is not None

    def poll(self) -> Wave | None:
        """The wave, or None while the planner is at work. Raises PlannerFailed."""
        if self.process.poll() is None:
            return None
        self.output.seek(0)
        self.errors.seek(0)
        text, complaint = self.output.read(), self.errors.read().decode(errors="replace")
        self.close()
        try:
            if self.process.returncode == 0:
                return Wave.from_json(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            complaint = f"it answered {plain(text.decode(errors='replace'), 200)!r}: {error!r}"
        raise PlannerFailed(f"the planner failed: {plain(complaint, 300) or 'without a word'}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.errors.close()
