"""Asking a planner for the next wave, beside everything else.

A planner is a short-lived process, JSON in and JSON out (`python -m autoresearch.planners`): the
controller stays small, and waits for nobody. A question and its answer lie in a folder of their
own, so that a planner outlives the controller that asked, and nobody is asked twice: whoever comes
next waits for the same process, reads its answer, or has it go on from what it has written down.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

from autoresearch.claude.ledger import Spent, spent
from autoresearch.entry import Entry
from autoresearch.errors import UserError
from autoresearch.experiment import Json, Scalar, Wave, plain
from autoresearch.history import History
from autoresearch.layout import read_json, write_atomically
from autoresearch.lease import holder, silent_seconds
from autoresearch.planners.protocol import FAILED, OWNER
from autoresearch.process import Identity
from autoresearch.programs import Programs, space_of
from autoresearch.settings import Settings
from autoresearch.space import Space, space_to_json

TARGETS = 2  # families besides the champion's whose parameters are worth a search
ANSWER_SECONDS = 480.0  # that a planner may take which asks nobody else
SPARE_SECONDS = 120.0  # beyond what a planner may take: it is gone, or hangs
LIVES = 3  # processes for one question: one that is killed is followed by another


class PlannerFailed(UserError):  # noqa: N818 - it reports a fact
    """A planner that ended without a wave."""


# ---- the question ----------------------------------------------------------------------------


def request(history: History, settings: Settings, capacity: int, programs: Programs) -> Json:
    """Everything a planner may know, in plain JSON."""
    champion = history.champion.program
    return {
        "schema": 1,
        "planner": settings.planner.kind,
        "settings": dict(settings.planner.options),
        "seed": settings.seed,
        "wave": len(history.waves) + 1,
        "capacity": capacity,
        **target(history, settings, programs, champion),
        "targets": [
            {"program": program, **target(history, settings, programs, program)}
            for program in promising(history, programs)
        ],
        "claude": asdict(settings.claude),
    }


def target(history: History, settings: Settings, programs: Programs, program: str) -> Json:
    """What can be searched of a program, and what its family has taught so far."""
    space = space_of(history, programs, settings.search.space, program)
    groups = family(history, programs, program)
    return {
        "space": space_to_json(space),
        "defaults": within(space, programs.parameters(program)),
        "trials": [trial(space, entries, programs) for entries in groups],
    }


def within(space: Space, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {name: values[name] for name in space}


def family(history: History, programs: Programs, program: str) -> Iterable[list[Entry]]:
    """The baseline and every candidate of a program's family, as they did on the screen tier."""
    baseline = list(history.of_candidate(history.baseline, history.screen))
    for entries in [baseline, *history.screened().values()]:
        if entries and is_kin(programs, entries[0].experiment.candidate.program, program):
            yield entries


def is_kin(programs: Programs, one: str, other: str) -> bool:
    return one == other or programs.family(one) == programs.family(other)


def trial(space: Space, entries: list[Entry], programs: Programs) -> Json:
    """A candidate with its mean on the screen tier."""
    scores = [entry.bpb for entry in entries if entry.bpb is not None]
    failure = next((e.result.failure for e in entries if e.result and e.has_failed), None)
    return {
        "parameters": within(space, programs.values(entries[0].experiment.candidate)),
        "state": "failed" if failure else "finished" if scores else "pending",
        "value": fmean(scores) if scores and not failure else None,
        "seeds": len(scores),
        "failure": failure,
        "wave": entries[0].wave,
    }


def promising(history: History, programs: Programs) -> list[str]:
    """The newest programs of the best other families: those that ran and have a score."""
    own = programs.family(history.champion.program) if history.versions else ""
    newest: dict[str, str] = {}
    for version in history.versions.values():
        newest[programs.family(version.program)] = version.program
    best: dict[str, float] = {}
    for entries in history.screened().values() if newest else ():
        kin = programs.family(entries[0].experiment.candidate.program)
        scores = [entry.bpb for entry in entries if entry.bpb is not None]
        if kin in newest and kin != own and len(scores) == len(entries):
            best[kin] = min(best.get(kin, fmean(scores)), fmean(scores))
    return [newest[kin] for kin in sorted(best, key=lambda kin: (best[kin], kin))[:TARGETS]]


# ---- the process -----------------------------------------------------------------------------


@dataclass
class Planning:
    """A planner at work, or just done: everything it needs and says lies in its folder."""

    folder: Path
    capacity: int  # proposals it may make
    asked: int  # number of results known when it was asked; -1: by a controller before us
    process: "subprocess.Popen[bytes] | None" = None  # None: the child of a controller before us
    patience: float = ANSWER_SECONDS  # seconds that it may take
    lives: int = 1
    began: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def start(
        cls, folder: Path, question: Json, asked: int, patience: float = ANSWER_SECONDS
    ) -> "Planning":
        """Ask. The question is on disk before the process exists."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "request.json", json.dumps(question | {"folder": str(folder)}))
        return cls(folder, question["capacity"], asked, launch(folder), patience)

    @classmethod
    def take_up(cls, folder: Path, patience: float) -> "Planning | None":
        """Go on with a question of a controller before us; None if it was never written down.

        A planner elsewhere is given `patience` seconds from its start: it may still be at work.
        """
        question = read_json(folder / "request.json")
        if question is None:
            return None
        planning = cls(folder, question["capacity"], -1, patience=patience)
        if planning.answer() is None and not planning.has_failed and not planning.may_live():
            planning.process = launch(folder)
        return planning

    @property
    def has_failed(self) -> bool:
        """Whether it has ended in its own words; others may stand beside them."""
        return any(line.startswith(FAILED) for line in self.complaint().splitlines())

    def may_live(self) -> bool:
        """Whether another controller's planner may be at work, here or on another host."""
        owner = holder(self.folder / OWNER)
        if owner is None:
            return False
        if owner.is_here:
            return owner.is_alive
        return silent_seconds(self.folder / OWNER) < self.patience + SPARE_SECONDS

    @property
    def is_overdue(self) -> bool:
        """Whether it has had all its time, and more: it hangs."""
        return time.monotonic() - self.began > self.patience + SPARE_SECONDS

    @property
    def is_done(self) -> bool:
        """Whether `poll` has something to say."""
        if self.process:
            return self.process.poll() is not None
        return self.answer() is not None or not self.may_live()

    def answer(self) -> Wave | None:
        """The wave, if it has been written whole."""
        try:
            return Wave.from_json(json.loads((self.folder / "wave.json").read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def complaint(self) -> str:
        """What it said was wrong."""
        try:
            return (self.folder / "problem.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def poll(self) -> Wave | None:
        """The wave, or None while the planner is at work. Raises PlannerFailed.

        One that was killed is followed by another, which goes on from what is written down.
        """
        if not self.is_done:
            if self.is_overdue:
                self.kill()
                raise PlannerFailed(
                    f"the planner should answer within {self.patience:.0f} s, but did not"
                )
            return None
        wave = self.answer()
        if wave is None and self.was_killed and self.lives < LIVES:
            self.process, self.lives = launch(self.folder), self.lives + 1
            self.began = time.monotonic()
            return None
        if wave is None or (self.process and self.process.returncode):
            said = self.complaint() or self.misfit()
            raise PlannerFailed(f"the planner failed: {plain(said, 300) or 'without a word'}")
        return wave

    @property
    def was_killed(self) -> bool:
        """Whether it came to its end from outside: here by a signal, elsewhere with its host."""
        if self.process:
            return self.process.returncode < 0
        return not self.has_failed and not self.misfit()

    def misfit(self) -> str:
        try:
            text = (self.folder / "wave.json").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return f"it answered {plain(text, 200)!r}, which is no wave" if text else ""

    def spent(self) -> Spent:
        """What it has cost so far, as it has written down itself."""
        return spent(self.folder)

    def kill(self) -> None:
        """End it, if it is on this host. What it has written down stays."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        owner = None if self.process else holder(self.folder / OWNER)
        if owner and owner.is_alive:
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGKILL)

    def discard(self) -> None:
        """Forget the question and the answer, which are recorded. A conversation is kept."""
        self.kill()
        talks = [path for path in self.folder.glob("*.jsonl") if path.stat().st_size]
        for path in self.folder.iterdir() if talks else ():
            if path not in talks and path.is_file():
                path.unlink(missing_ok=True)
        if not talks:
            shutil.rmtree(self.folder, ignore_errors=True)


def launch(folder: Path) -> "subprocess.Popen[bytes]":
    """The planner of a folder's question, in a session of its own: Ctrl-C is for the controller."""
    with (
        (folder / "request.json").open("rb") as stdin,
        (folder / "wave.json").open("wb") as output,
        (folder / "problem.txt").open("wb") as errors,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autoresearch.planners"],
            stdin=stdin,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    if owner := Identity.of(process.pid):  # at once: it may take seconds to say so itself
        write_atomically(folder / OWNER, json.dumps(asdict(owner)))
    return process
