"""The parts of a history: experiments and where they stand, pilots, crown tests.

Changed by `History.apply` alone.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from autoresearch.experiment import (
    Attempt,
    Candidate,
    Experiment,
    Failure,
    Json,
    Result,
    Seconds,
    State,
)


class Purpose(StrEnum):
    """Why an experiment was asked for. The order is the order in which pilots claim them."""

    smoke = "smoke"  # does a new program run at all? short, in a cell of its own
    crown = "crown"
    certify = "certify"
    baseline = "baseline"
    replay = "replay"
    climb = "climb"
    screen = "screen"

    @property
    def priority(self) -> int:
        return list(Purpose).index(self)


@dataclass
class Entry:
    """One experiment and where it stands. Changed by `History.apply` alone."""

    experiment: Experiment
    purpose: Purpose
    tier: str
    wave: int  # 0: not a planner's
    description: str
    order: int  # experiments are numbered as they are proposed
    state: State = State.proposed
    attempt: int = 0  # the current attempt's number; 0: none yet
    pilot: str = ""
    result: Result | None = None
    since: float = 0.0  # when it was first seen to run (Unix time)
    lost: Counter[str] = field(default_factory=Counter)  # attempts, by the machine's failures
    losses: list[str] = field(default_factory=list)  # why each of them was lost
    planner: str = ""  # who had the idea, if not the wave's planner

    @property
    def current(self) -> Attempt:
        return Attempt(self.experiment.id, self.attempt)

    @property
    def bpb(self) -> float | None:
        return self.result.bpb if self.result else None

    @property
    def has_failed(self) -> bool:
        return self.result is not None and self.result.failure is not None


# How a pilot ends whom nobody has ended.
ITS_OWN_FAULT = (Failure.node_failed, Failure.out_of_memory)


@dataclass
class PilotRecord:
    """One pilot: when it was asked for and when it was seen to be gone (Unix time)."""

    name: str
    tier: str
    submitted: float
    job: Json = field(default_factory=dict)  # what the cluster needs to find it again
    minutes: float = 0.0  # that it may live; 0: no bound
    started: float | None = None
    node: str = ""
    ended: float | None = None
    failure: Failure | None = None  # how it ended; None: it went home by itself
    reason: str = ""  # the same in words
    was_of_use: bool = False  # it claimed something, or is forgiven that it did not

    @property
    def is_useless(self) -> bool:
        """Whether it failed without having claimed anything, and nobody ended it."""
        return self.failure in ITS_OWN_FAULT and not self.was_of_use

    def hours(self, now: float) -> float:
        """How long it has held its device."""
        return 0.0 if self.started is None else max(0.0, (self.ended or now) - self.started) / 3600


@dataclass
class Ask:
    """One question to a planner. Until it has ended it counts with all it was allowed to spend."""

    name: str
    planner: str
    capacity: int  # proposals it may make
    usd: float  # dollars it may spend
    since: float  # Unix time
    ended: float | None = None
    spent: float = 0.0  # dollars
    requests: int = 0
    tokens: Json = field(default_factory=dict)
    problem: str = ""  # why its share had to be filled by another planner

    @property
    def counted(self) -> float:
        """Dollars that nothing else may spend any more."""
        return self.usd if self.ended is None else self.spent


@dataclass(frozen=True)
class Note:
    """An entry of the lab notebook."""

    wave: int  # it came with
    planner: str
    text: str
    time: float


@dataclass(frozen=True)
class Crown:
    """A test of a challenger against the champion, open until `closed`."""

    number: int
    challenger: Candidate
    champion: Candidate
    tier: str
    seeds: tuple[int, ...]
    alpha: float
    final: bool  # opened after the search ended
    verdict: Json | None = None  # crowned, difference, p, program; see docs/formats.md

    @property
    def crowned(self) -> bool:
        return bool(self.verdict and self.verdict["crowned"])


def brief(result: Result) -> Json:
    """What the journal keeps of a result; the rest stays in result.json."""
    record = result.to_json()
    for bulky in ("curve", "parameters", "device", "probes", "hashes", "experiment", "attempt"):
        del record[bulky]
    return record


def from_brief(experiment: str, attempt: int, record: Json) -> Result:
    """The inverse of `brief`, with the bulky parts left empty."""
    return Result(
        experiment=experiment,
        attempt=attempt,
        **{
            **record,
            "failure": Failure(record["failure"]) if record["failure"] else None,
            "seconds": Seconds(**record["seconds"]),
        },
    )
