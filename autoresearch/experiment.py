"""The nouns of a campaign, frozen: candidate, cell, experiment, wave, attempt, result.

They cross every boundary (journal, `experiment.json`, `result.json`) as plain JSON, so each has
`to_json` and `from_json`. An experiment's id is a hash of everything that identifies it: asking
for the same experiment twice is a no-op. Runs on the login node and on compute nodes: standard
library only.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import cached_property
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

SCHEMA = 1  # of experiment.json and result.json; see docs/formats.md

Scalar = bool | int | float | str
Json = dict[str, Any]


class Split(StrEnum):
    """Which held-out text scores an experiment. Only certification ever reads `test`."""

    validation = "validation"
    test = "test"


class State(IntEnum):
    """Where an experiment stands. It only ever moves to a larger state, except that a lost
    attempt takes a running experiment back to `queued`."""

    proposed = 0
    queued = 1
    running = 2
    finished = 3


class Failure(StrEnum):
    """Why an experiment has no score. A failure is a name, never a number."""

    crashed = "crashed"
    out_of_memory = "out_of_memory"
    diverged = "diverged"
    setup_timeout = "setup_timeout"
    overran = "overran"
    disqualified = "disqualified"
    node_failed = "node_failed"
    preempted = "preempted"
    cancelled = "cancelled"

    @property
    def is_infrastructure(self) -> bool:
        """Whether the machine failed rather than the candidate, so that another attempt is due."""
        return self in (Failure.node_failed, Failure.preempted)


ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """JSON with one spelling for equal values: what every hash here is taken of."""
    return ENCODER.encode(value)


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Budget:
    """What one experiment may spend on training: seconds on the referee's clock, or tokens.

    Exactly one is set. A budget in tokens is deterministic: the same program, seed and machine
    give the same score.
    """

    seconds: float | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        return f"{self.tokens} tokens" if self.seconds is None else f"{self.seconds:g} s"


@dataclass(frozen=True)
class Cell:
    """What makes two numbers comparable. Numbers of different cells never meet in one ranking."""

    device: str  # "h100", "cpu-1" (one core): what the tier's nodes have
    budget: Budget
    data: str  # SHA-256 of the data manifest
    software: str  # "python 3.11 torch 2.13.0"
    ruler: str  # hash of the node's own code and the scoring settings

    @cached_property
    def key(self) -> str:
        return digest(asdict(self))

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Json) -> Self:
        return cls(**{**record, "budget": Budget(**record["budget"])})


@dataclass(frozen=True)
class Candidate:
    """A concrete program: one version of train.py (by its SHA-256) and parameter overrides."""

    program: str
    overrides: Mapping[str, Scalar] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        return digest({"program": self.program, "overrides": dict(self.overrides)}, 10)


@dataclass(frozen=True)
class Experiment:
    """One evaluation of one candidate with one seed in one cell, scored on one split."""

    candidate: Candidate
    seed: int
    cell: Cell
    split: Split = Split.validation

    @cached_property
    def id(self) -> str:
        return digest(
            {
                "candidate": self.candidate.key,
                "seed": self.seed,
                "cell": self.cell.key,
                "split": self.split,
            }
        )

    def to_json(self) -> Json:
        return {"schema": SCHEMA, "id": self.id, **asdict(self)}

    @classmethod
    def from_json(cls, record: Json) -> Self:
        experiment = cls(
            Candidate(**record["candidate"]),
            record["seed"],
            Cell.from_json(record["cell"]),
            Split(record["split"]),
        )
        if experiment.id != record["id"]:
            raise ValueError(f"id should be {experiment.id}, but was {record['id']}")
        return experiment


@dataclass(frozen=True)
class Version:
    """A program that somebody wrote for a wave: whose changes it holds, and why."""

    program: str  # SHA-256 of its text
    parents: tuple[str, ...]  # programs; two where it combines what two have won by
    message: str  # the hypothesis: its commit's
    space: Mapping[str, Json] = field(default_factory=dict)  # domains of fields it has brought
    text: str = ""  # left out once the program is kept
    remarks: tuple[str, ...] = ()  # what its text does against the rules, where that may be


@dataclass(frozen=True)
class Proposal:
    """What a planner asks for: overrides of a program, and why in a few words."""

    overrides: Mapping[str, Scalar]
    description: str = ""
    program: str = ""  # "": the champion's
    planner: str = ""  # who had the idea, if not the wave's planner
    promote: bool = False  # have it meet the champion, whatever screening says
    expected: float | None = None  # the change in bits per byte that is hoped for


@dataclass(frozen=True)
class Wave:
    """Proposals a planner made together, with one stated hypothesis.

    `exhausted` says that the planner has nothing more to propose, now or later.
    """

    planner: str
    hypothesis: str
    proposals: tuple[Proposal, ...]
    exhausted: bool = False
    versions: tuple[Version, ...] = ()  # programs that are new with this wave
    notes: tuple[str, ...] = ()  # for the notebook
    problem: str = ""  # why somebody else had to fill in, if so

    def kept(self) -> Self:
        """The same without the texts of its programs, which are kept elsewhere."""
        return replace(self, versions=tuple(replace(v, text="") for v in self.versions))

    def to_json(self) -> Json:
        return asdict(self) | {
            "proposals": [asdict(p) for p in self.proposals],
            "versions": [
                asdict(v) | {"parents": list(v.parents), "remarks": list(v.remarks)}
                for v in self.versions
            ],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, record: Json) -> Self:
        """Raises ValueError, TypeError or KeyError for anything that is no wave."""
        versions = [
            {**v, "parents": tuple(v["parents"]), "remarks": tuple(v.get("remarks", ()))}
            for v in record.get("versions", ())
        ]
        return cls(
            **{
                **record,
                "proposals": tuple(Proposal(**p) for p in record["proposals"]),
                "versions": tuple(Version(**v) for v in versions),
                "notes": tuple(record.get("notes", ())),
            }
        )


@dataclass(frozen=True, order=True)
class Attempt:
    """One claim of one experiment by one pilot. `number` counts from 1."""

    experiment: str
    number: int


@dataclass(frozen=True)
class Seconds:
    """Where an attempt's time went, on the referee's monotonic clock.

    `queue` is the wait before the claim (wall clock); `setup` runs from the claim to `ready`,
    `train` from the start signal to the delivered weights, `score` from there to the result.
    """

    queue: float = 0.0
    setup: float = 0.0
    train: float = 0.0
    score: float = 0.0

    @property
    def occupied(self) -> float:
        """Seconds during which the pilot's device belonged to this attempt."""
        return self.setup + self.train + self.score


@dataclass(frozen=True)
class Result:
    """What `result.json` says: a score in bits per byte, or a named failure with its reason."""

    experiment: str
    attempt: int
    pilot: str
    bpb: float | None = None
    failure: Failure | None = None
    reason: str = ""
    seconds: Seconds = field(default_factory=Seconds)
    started: float = 0.0  # Unix time of the claim
    ended: float = 0.0  # Unix time at which the result was complete
    steps: int = 0  # optimiser steps are the program's business: batches handed out
    tokens: int = 0  # training tokens handed out
    weights: int = 0  # number of parameters of the model
    peak_memory: int = 0  # bytes: of the device on a GPU, resident on a CPU
    parameters: Mapping[str, Scalar] = field(default_factory=dict)  # the Config that ran, complete
    curve: tuple[tuple[float, int, float], ...] = ()  # (seconds, step, training loss), thinned
    device: Mapping[str, Scalar] = field(default_factory=dict)  # name, host, driver, torch, ...
    sandbox: str = "none"
    probes: Mapping[str, Scalar] = field(default_factory=dict)  # what each integrity check measured
    hashes: Mapping[str, str] = field(default_factory=dict)  # program, node, manifest, experiment
    schema: int = SCHEMA

    @property
    def protected(self) -> bool:
        """Whether a sandbox held the program, so that the number needs no trust in it."""
        return self.sandbox != "none"

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Json) -> Self:
        schema = record.get("schema") if isinstance(record, dict) else None
        if schema != SCHEMA:
            raise ValueError(f"schema should be {SCHEMA}, but was {schema!r}")
        result = cls(
            **{
                **record,
                "failure": None if record["failure"] is None else Failure(record["failure"]),
                "seconds": Seconds(**record["seconds"]),
                "curve": tuple((t, s, v) for t, s, v in record["curve"]),
            }
        )
        check_types(result)
        check_types(result.seconds)
        if (result.bpb is None) == (result.failure is None):
            raise ValueError("a result should have either bpb or failure")
        return result


def check_types(record: Result | Seconds) -> None:
    """Raises ValueError unless each field holds what its type says; containers by their own."""
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        kinds = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        kinds += (int,) if float in kinds else ()
        is_finite = not isinstance(value, (int, float)) or abs(value) <= sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, kinds) or not is_finite:
            raise ValueError(f"{name} should be {hint}, numbers finite, but was {value!r:.100}")


def plain(text: str, limit: int = 2000) -> str:
    """Untrusted text made fit to show: the end kept, bounded, and all of it to be seen.

    What goes: control characters, marks of direction and of no width, halves of surrogates.
    """
    text = "".join(c if c.isprintable() or c in "\n\t" else " " * c.isspace() for c in text).strip()
    return text if len(text) <= limit else "…" + text[-limit:]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def one_line(text: str, limit: int = 200) -> str:
    """Untrusted text fit for a table cell: plain, on one line, the beginning kept."""
    line = " ".join(plain(text[: limit * 10], limit * 10).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
