"""Events → W&B runs: on the server, or in files where it does not answer.

wandb makes folders and reads the environment as it is imported: `scratch.isolate` comes first.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb

from autoresearch.errors import ConfigError, RecordError
from autoresearch.experiment import Json
from autoresearch.settings import Tracker
from autoresearch.tracking import server
from autoresearch.tracking.naming import logged, run_id, run_name, shown
from autoresearch.tracking.scratch import Scratch

KILLED = 128 + signal.SIGTERM  # the exit code of a run nobody finished
FLUSH_SECONDS = 1.0  # wandb's own 15 s would lose that much of a run that is killed
INIT_SECONDS = 15.0  # wandb's own 90 s would hold up the next run
FINISH_SECONDS = 10.0  # wandb's finish() can wait for days
CARRY_SECONDS = 10.0  # between two looks at what goes home of a run that is being written
ASK_SECONDS = 60.0  # before a server that did not answer is asked again
TRUST_SECONDS = 600.0  # ... or one that did
RETRY_SECONDS = 10.0  # between two tries to hand over a result that has no other way home


@dataclass
class Opening:
    """What a run was opened with."""

    run: Json
    home: str  # "": none but the server's; what it does not take must be sent later
    tracker: Tracker
    is_online: bool = False
    carried: float = field(default_factory=time.monotonic)


@dataclass
class Undelivered:
    """A result that nothing but the server takes, and that it has not taken yet."""

    opening: Opening
    summary: Json
    exit_code: int


class Logger:
    """Takes events; at most one run is open.

    wandb's own process may die before us: Slurm's signals go to every process of a job. What it
    had written stays, and the run has no end. A result that has no other way home is told again,
    until the server has it.
    """

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.opened: Opening | None = None
        self.run: Any = None  # None while `opened`: wandb's process has died
        self.asked: dict[str, tuple[float, str]] = {}  # by server: when, and its problem
        self.undelivered: list[Undelivered] = []

    def take(self, event: Json) -> None:
        """Raises RecordError for an event that does not fit, ConfigError for a tracker that cannot
        be used, OSError if the run cannot be written."""
        try:
            match event["event"]:
                case "start":
                    self.end(KILLED)
                    self.deliver(patience=0.0)
                    self.start(event["run"], event["dir"], Tracker(**event["tracker"]))
                case "log":
                    self.log(event["step"], event["values"])
                case "finish":
                    self.finish(event["summary"], event["exit_code"])
                case other:
                    raise RecordError(f"event '{other}' should be start, log or finish")
        except wandb.Error as error:
            raise ConfigError(f"W&B should take the run, but: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"a W&B event should be complete and in order: {error!r}") from error

    def start(self, run: Json, home: str, tracker: Tracker) -> None:
        if tracker.kind != "wandb":
            raise ConfigError(f"the W&B logger should get tracker 'wandb', but got {tracker.kind}")
        opening = Opening(run, home, tracker)
        self.scratch.home = Path(home) if home else None
        self.run = self.open(opening)
        self.opened = opening

    def open(self, opening: Opening) -> Any:
        """A run on the server, if it answers, else in files."""
        if opening.tracker.mode != "offline" and not self.problem(opening):
            try:
                run = init(self.scratch, opening, online=True)
            except (wandb.Error, ConnectionError, TimeoutError) as error:
                tear_down()
                self.scratch.clear()
                self.note(opening, f"{opening.tracker.url} takes no run ({error})")
            else:
                opening.is_online = True
                return run
        return init(self.scratch, opening, online=False)

    def problem(self, opening: Opening) -> str:
        """Why the server cannot be used now, as far as we know; "" if it can."""
        url = opening.tracker.url
        when, problem = self.asked.get(url, (-TRUST_SECONDS, ""))
        if time.monotonic() - when > (ASK_SECONDS if problem else TRUST_SECONDS):
            problem = server.ask(url, {}).problem
            self.note(opening, problem)
        return problem

    def note(self, opening: Opening, problem: str) -> None:
        url = opening.tracker.url
        if problem and problem != self.asked.get(url, (0.0, ""))[1]:
            where = "this node until it answers"
            if opening.home:
                where = f"{opening.home}, from where `autoresearch sync` sends them"
            print(f"W&B logger: {problem}; runs are kept on {where}", file=sys.stderr)  # noqa: T201
        self.asked[url] = time.monotonic(), problem

    def log(self, step: int, values: Mapping[str, float]) -> None:
        opened = self.started()
        if self.run is not None:
            try:
                self.run.log(logged(values), step=step, commit=True)
            except ConnectionError:
                self.run = None
        if not opened.is_online:
            self.carry(opened)

    def started(self) -> Opening:
        """What the run is that an event speaks of. Raises RecordError if there is none."""
        if self.opened is None:
            raise RecordError("a W&B event should be complete and in order: 'start' comes first")
        return self.opened

    def carry(self, opened: Opening) -> None:
        """Let people follow a run from where there is a network, while it is being written."""
        if time.monotonic() - opened.carried > CARRY_SECONDS:
            opened.carried = time.monotonic()
            with contextlib.suppress(OSError):  # then at its end
                self.scratch.carry()

    def finish(self, summary: Json, exit_code: int) -> None:
        last = Undelivered(self.started(), summary, exit_code)
        try:
            if self.run is not None:
                self.run.summary.update(summary)
        except ConnectionError:
            self.run = None
        if not last.opening.home:
            self.undelivered.append(last)  # whatever happens now
        self.end(exit_code)
        if not last.opening.home and has_arrived(last):
            self.undelivered.remove(last)

    def end(self, exit_code: int) -> None:
        """Close the open run, if any; what the server has not taken goes home."""
        opened, self.opened = self.opened, None
        run, self.run = self.run, None
        if opened is None:
            return
        is_complete = False
        try:
            if run is not None:
                run.finish(exit_code=exit_code)
                is_complete = True
        except (TimeoutError, ConnectionError) as error:
            self.note(opened, f"{opened.tracker.url} does not take the end of a run ({error})")
        tear_down()  # only then is the end of the run in its file
        if opened.home and not (is_complete and opened.is_online):
            self.scratch.bring_home()
        self.scratch.clear()

    def deliver(self, patience: float) -> None:
        """Hand over what has no other way home, for so long at most, or once."""
        until = time.monotonic() + patience
        while self.undelivered:
            while self.undelivered and self.hand_over(self.undelivered[0]):
                del self.undelivered[0]
            if self.undelivered and time.monotonic() > until:
                count = len(self.undelivered)
                print(f"W&B logger: {count} results wait to be delivered", file=sys.stderr)  # noqa: T201
                return
            if self.undelivered:
                time.sleep(RETRY_SECONDS)

    def hand_over(self, last: Undelivered) -> bool:
        """Open a run once more, to say how it ended; whether it has arrived."""
        if server.ask(last.opening.tracker.url, {}).problem:
            return False
        try:
            self.run = init(self.scratch, last.opening, online=True, again=True)
            self.opened = last.opening
            self.run.summary.update(last.summary)
            self.end(last.exit_code)
        except (wandb.Error, OSError):
            self.run = self.opened = None
            tear_down()  # also where no run was opened: it would be in use for ever
        return has_arrived(last)


def tear_down() -> None:
    """End wandb's own process, if it lives, and forget what it knew."""
    try:
        wandb.teardown()
    except ConnectionError:
        wandb.teardown()  # the rest: else the next process would have no key


def has_arrived(last: Undelivered) -> bool:
    """Whether the server has the result: that wandb's client is done says little."""
    run, tracker = last.opening.run, last.opening.tracker
    id = run_id(run["campaign"], run["experiment"], run["attempt"])
    held = server.summary(tracker, id)
    return held.get("signature") == last.summary.get("signature")


def init(scratch: Scratch, opening: Opening, *, online: bool, again: bool = False) -> Any:
    """Raises wandb.Error if the server does not take the run in time."""
    name, tracker = run_name(opening.run), opening.tracker
    where: dict[str, Any] = {"base_url": tracker.url} if tracker.url else {}
    return wandb.init(
        mode="online" if online else "offline",
        dir=scratch.path,
        project=tracker.project,
        entity=tracker.entity or None,
        id=name.id,
        resume="allow" if again else None,
        name=name.name,
        group=name.group,
        job_type=name.job_type,
        tags=name.tags,
        config=shown(opening.run["config"]),
        settings=wandb.Settings(
            **where,
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,  # user, paths and command line are nobody's business
            x_disable_stats=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        ),
    )
