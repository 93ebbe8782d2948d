"""What lies in a campaign's directory, read once and in an order that lets a controller work on.

What follows its journal event (a folder, a branch that moves) is looked at before the journal is
read; what precedes it (a result), afterwards. So nothing is amiss with a campaign under way.
"""

import ast
import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from autoresearch.config import amend
from autoresearch.errors import RecordError, SourceError
from autoresearch.experiment import Attempt, Experiment, Json, Result
from autoresearch.history import History
from autoresearch.journal import accepted, replay, segments
from autoresearch.layout import Layout
from autoresearch.node.freeze import node_hash
from autoresearch.opening import read_settings
from autoresearch.settings import Settings
from autoresearch.sources import Sources


@dataclass(frozen=True)
class Evidence:
    """`history` is None if the journal cannot be replayed; `problem` says why."""

    layout: Layout
    lives: tuple[Settings, ...]  # as config.yaml has them, and after each amendment
    events: list[Json]
    places: list[str]  # where each of them stands, for people
    history: History | None
    problem: str
    sources: Sources
    branch: str | None  # the program that branch `champion` is at
    folders: tuple[str, ...]  # of experiments
    code: str | None  # hash of the node's code; None: it is gone

    @property
    def start(self) -> Settings:
        """What no amendment can change: what numbers mean."""
        return self.lives[0]

    def name(self, path: Path) -> str:
        """A file of the campaign, as complaints name it."""
        return os.path.relpath(path, self.layout.root)


def gather(layout: Layout) -> Evidence:
    """Raises UserError for a config.yaml that cannot be read, or where there is no git."""
    start = read_settings(layout)
    sources = Sources(layout.sources)
    folders: tuple[str, ...] = ()
    with contextlib.suppress(FileNotFoundError):
        folders = tuple(sorted(n for n in os.listdir(layout.experiments) if n[0] != "."))
    branch = branch_of(sources)
    events, places, history, problem = replayed(layout)
    if history and not history.started and folders:
        history = None  # its beginning is gone
    changes = [e["overrides"] for e in events if e["type"] == "amended"] if history else []
    return Evidence(
        layout,
        tuple(accumulate(changes, lambda before, some: amend(before, some)[0], initial=start)),
        events,
        places,
        history,
        problem,
        sources,
        branch,
        folders,
        code_hash(layout),
    )


def branch_of(sources: Sources) -> str | None:
    """None if there is none, or none that can be read. Raises SourceError without git."""
    try:
        return sources.champion()
    except SourceError:
        if shutil.which("git") is None:
            raise
        return None


def replayed(layout: Layout) -> tuple[list[Json], list[str], History | None, str]:
    """The events, where they stand, what they amount to, and why they amount to nothing."""
    events: list[Json] = []
    places: list[str] = []
    try:
        events = replay(layout.journal).events
        names = [path.name for path, _ in accepted(segments(layout.journal))]
        places = list(placed(events, names))
        return events, places, History.of(events), ""
    except RecordError as error:
        return events, places, None, str(error)
    except (KeyError, TypeError) as error:  # whoever wrote it has made its chain fit
        return [], [], None, f"{layout.journal} should hold events, but: {error!r}"


def placed(events: list[Json], names: list[str]) -> Iterator[str]:
    """Each event's segment and number. `names` are those of the segments, newest first."""
    name, left = "", list(names)
    for event in events:
        if event["type"] == "segment" and left:
            name = left.pop()
        yield f"journal/{name} event {event['n']} ({event['type']})"


# ---- node code -------------------------------------------------------------------------------


def frozen_names(package: Path) -> list[str]:
    """The modules that decide a number, by the campaign's own list. Read, never run."""
    try:
        tree = ast.parse((package / "node" / "__init__.py").read_bytes())
        (value,) = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FROZEN"
        ]
        return [str(name) for name in ast.literal_eval(value)]
    except (OSError, ValueError, TypeError, SyntaxError):
        return []


def code_hash(layout: Layout) -> str | None:
    """`node_hash` of the copy beside the campaign; "" where a module is missing."""
    package = layout.node / "autoresearch"
    if not package.is_dir():
        return None
    names = frozen_names(package)
    try:
        return node_hash(package, names) if names else ""
    except OSError:
        return ""


# ---- experiments and results -----------------------------------------------------------------


@dataclass(frozen=True)
class Filed:
    """A result.json as it lies there, and the experiment whose folder it lies in."""

    where: str
    attempt: Attempt
    experiment: Experiment
    result: Result


def read_experiment(layout: Layout, id: str) -> Experiment:
    """Raises ValueError, in words, for what is none."""
    try:
        record = json.loads(layout.experiment_json(id).read_text(encoding="utf-8"))
        return Experiment.from_json(record)
    except OSError as error:
        raise ValueError(str(error.strerror)) from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error!r:.200}") from error


def read_result(path: Path) -> Result:
    """Raises ValueError, in words, for what is none; OSError."""
    try:
        return Result.from_json(json.loads(path.read_bytes()))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error!r:.200}") from error


def attempts(layout: Layout, id: str) -> Iterator[Attempt]:
    """Those of an experiment that left a result."""
    for path in layout.experiment(id).glob("attempt-*/result.json"):
        number = path.parent.name.removeprefix("attempt-")
        if number.isdecimal():
            yield Attempt(id, int(number))
