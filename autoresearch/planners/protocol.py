"""What a planner is asked and answers: `Request` in, `experiment.Wave` out, both plain JSON.

A strategy is a module with a frozen dataclass `Settings` and a function
`propose(request: Request, settings: Settings) -> Wave`. It is pure: what it draws at random
depends on (seed, wave) alone, and it never proposes a point that is already among the trials.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from random import Random
from typing import Any, Self, TypeVar

from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Failure, Json, Proposal, Scalar, Wave
from autoresearch.planners.points import Key, Point, change, key
from autoresearch.space import Domain, names, space_from_json, space_to_json

SCHEMA = 1  # of a request
FAILED = "planner: "  # begins the one line on stderr of a planner that cannot answer
OWNER = "owner.json"  # in a question's folder: the process that answers it

S = TypeVar("S")


class Outcome(StrEnum):
    """What is known of a trial."""

    finished = "finished"
    failed = "failed"
    pending = "pending"


@dataclass(frozen=True)
class Trial:
    """One point tried before. `value` is the mean bits per byte over `seeds` replicates."""

    parameters: Point
    state: Outcome
    value: float | None = None
    seeds: int = 1
    failure: Failure | None = None
    wave: int = 0  # 0: the baseline

    def __post_init__(self) -> None:
        scored = self.value is not None and math.isfinite(self.value)
        if scored != (self.state is Outcome.finished):
            raise ConfigError(
                "a finished trial should have a finite value and no other trial one, "
                f"but a {self.state} trial has {self.value}"
            )

    @classmethod
    def from_json(cls, record: Json) -> Self:
        failure = record.get("failure")
        state = Outcome(record["state"])
        return cls(**{**record, "state": state, "failure": Failure(failure) if failure else None})


@dataclass(frozen=True)
class Target:
    """Another program whose parameters are worth a search, and what its family has taught."""

    program: str
    space: Mapping[str, Domain]
    defaults: Point
    trials: tuple[Trial, ...] = ()

    @classmethod
    def from_json(cls, record: Json) -> Self:
        space, trials = space_from_json(record["space"]), map(Trial.from_json, record["trials"])
        return cls(**{**record, "space": space, "trials": tuple(trials)})


@dataclass(frozen=True)
class Request:
    """Everything a planner may look at. Trials come in the order of their proposal.

    The last six fields are for planners that write programs or ask Claude; `folder` is where one
    that is interrupted keeps what it must not do twice.
    """

    planner: str
    seed: int
    wave: int  # counts from 1
    capacity: int  # how many proposals are wanted
    space: Mapping[str, Domain]
    defaults: Point  # the incumbent's value of every parameter of the space
    trials: tuple[Trial, ...] = ()
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    schema: int = SCHEMA
    targets: tuple[Target, ...] = ()
    claude: Json = field(default_factory=dict)  # settings.Claude
    usd: float = 0.0  # dollars that may be spent on this wave
    campaign: str = ""  # its directory
    task: str = ""  # the directory of program.md
    folder: str = ""  # of this question

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError("the space should have at least one parameter, but is empty")
        if self.capacity < 1:
            raise ConfigError(f"capacity should be at least 1, but was {self.capacity}")
        for point in (self.defaults, *(trial.parameters for trial in self.trials)):
            if set(point) != set(self.space):
                raise ConfigError(
                    f"defaults and trials should set exactly {', '.join(names(self.space))}, "
                    f"but one sets {', '.join(sorted(point)) or 'nothing'}"
                )

    @cached_property
    def tried(self) -> frozenset[Key]:
        """Points that must not be proposed: all trials and the incumbent."""
        points = (self.defaults, *(trial.parameters for trial in self.trials))
        return frozenset(key(self.space, point) for point in points)

    @property
    def pending(self) -> int:
        return sum(trial.state is Outcome.pending for trial in self.trials)

    def rng(self) -> Random:
        """Random numbers of this wave; the same on every machine and Python version."""
        return Random(f"{self.seed}/{self.wave}")

    def answer(self, hypothesis: str, points: list[Point]) -> Wave:
        """A wave of these points, each described by how it differs from the defaults."""
        proposals = tuple(Proposal(point, change(self.defaults, point)) for point in points)
        return Wave(self.planner, hypothesis, proposals)

    def nothing(self, reason: str, exhausted: bool) -> Wave:
        return Wave(self.planner, reason, (), exhausted)

    def to_json(self) -> Json:
        targets = [asdict(t) | {"space": space_to_json(t.space)} for t in self.targets]
        trials = [asdict(trial) for trial in self.trials]
        whole = asdict(self) | {"space": space_to_json(self.space), "trials": trials}
        return whole | {"targets": [t | {"trials": list(t["trials"])} for t in targets]}

    @classmethod
    def from_json(cls, record: Json) -> Self:
        """Raises ConfigError if `record` is not a request of this schema."""
        try:
            request = cls(
                **{
                    **record,
                    "space": space_from_json(record["space"]),
                    "trials": tuple(Trial.from_json(trial) for trial in record["trials"]),
                    "targets": tuple(map(Target.from_json, record.get("targets", ()))),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"a request should follow schema {SCHEMA}, but: {error!r}") from None
        if request.schema != SCHEMA:
            raise ConfigError(f"a request's schema should be {SCHEMA}, but was {request.schema!r}")
        return request


def read_settings(kind: type[S], planner: str, options: Mapping[str, Scalar]) -> S:
    """A strategy's `Settings` from loose options. Raises ConfigError for a wrong name or type."""
    defaults: dict[str, Any] = {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    values = dict[str, Scalar]()
    for name, value in options.items():
        if name not in defaults:
            raise ConfigError(
                f"planner '{planner}' has no option '{name}'; {nearest(name, defaults)}"
            )
        wanted = type(defaults[name])
        values[name] = float(value) if wanted is float and type(value) is int else value
        if type(values[name]) is not wanted:
            raise ConfigError(
                f"option '{name}' of planner '{planner}' should be of type {wanted.__name__}, "
                f"but was {value!r}"
            )
    return kind(**values)
