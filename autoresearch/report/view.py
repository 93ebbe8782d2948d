"""A campaign as every report shows it: plain values, no files, no decisions.

Numbers of different cells never meet here: whoever ranks or averages does it per cell (`ranked`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from autoresearch.experiment import Scalar, Seconds, one_line

FINISHED = ("keep", "discard", "crash")
BRIEF = 42  # characters: two lines of a column in a narrow terminal
FREE = ("replay", "smoke")  # not counted by the budget's bound on experiments
TESTS = ("crown", "certify", "replay")  # their descriptions say what was tested, not what changed


@dataclass(frozen=True)
class Row:
    """One experiment. `bpb` is bits per byte on `split`, None if it failed or is not finished."""

    experiment: str
    candidate: str  # the candidate's key
    program: str  # SHA-256 of its train.py
    commit: str  # the first 7 digits of the git commit of that version
    wave: int
    purpose: str
    tier: str
    cell: str  # the cell's key
    seed: int
    state: str
    bpb: float | None
    status: str  # keep, discard, crash, running or queued
    split: str = "validation"
    failure: str | None = None
    reason: str = ""
    description: str = ""
    overrides: Mapping[str, Scalar] = field(default_factory=dict)
    memory_gb: float = 0.0
    seconds: Seconds = field(default_factory=Seconds)
    ended: float = 0.0  # Unix time
    protected: bool = False
    planner: str = ""  # whose idea it was

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED


@dataclass(frozen=True)
class CellView:
    """One cell and its noise, from the baseline's replicates. All numbers are bits per byte."""

    key: str
    tier: str
    device: str
    budget: str
    baseline_mean: float | None = None
    baseline_n: int = 0
    sigma: float | None = None
    detectable: float | None = None  # the smallest effect a crown test would probably see

    @property
    def title(self) -> str:
        return f"{self.tier} · {self.device} · {self.budget} · cell {self.key}"


@dataclass(frozen=True)
class ChampionView:
    """Whom the last crown went to. `mean` is on validation text, in the last tier's cell."""

    candidate: str
    program: str
    commit: str
    overrides: Mapping[str, Scalar]  # what differs from the baseline
    mean: float | None
    description: str
    wave: int
    is_rewritten: bool = False  # more than values of parameters differs


@dataclass(frozen=True)
class CertificationView:
    """Champion minus baseline on the test split, `n` fresh seeds each; negative is better."""

    difference: float
    low: float
    high: float
    confidence: float
    n: int
    baseline_mean: float
    champion_mean: float
    significant: bool


@dataclass(frozen=True)
class CrownView:
    """One closed test of a challenger against the champion of its day."""

    candidate: str
    number: int
    difference: float | None  # None if one side has no score
    p: float
    alpha: float
    crowned: bool
    description: str


@dataclass(frozen=True)
class AgentView:
    """What Claude has been asked for, and what it cost."""

    spent: float  # dollars, of answers that are there
    limit: float  # dollars
    waves: int
    requests: int
    cache_share: float  # of all prompt tokens: those that the API still had
    is_asked: bool  # it is at work on a wave now
    problem: str = ""  # why its share of the last wave had to be filled, if so


@dataclass(frozen=True)
class View:
    """A whole campaign at one moment."""

    name: str
    directory: str
    rows: tuple[Row, ...] = ()  # in the order of proposal
    cells: tuple[CellView, ...] = ()  # in the order of tiers
    champion: ChampionView | None = None
    certification: CertificationView | None = None
    crowns: tuple[CrownView, ...] = ()
    detectable: float | None = None  # on the last tier
    spent: Mapping[str, float] = field(default_factory=dict)  # experiments, gpu_hours, wall_hours
    limits: Mapping[str, float] = field(default_factory=dict)  # the same names; 0: no bound
    allowance: float = 0.0  # seconds of set-up an experiment may take without a word
    failures: Mapping[str, int] = field(default_factory=dict)
    planner: str = ""
    agent: AgentView | None = None  # None: Claude was never asked
    notes: tuple[str, ...] = ()  # the notebook, newest last
    state: str = "running"  # or "ended"
    end_reason: str = ""
    pilots_busy: int = 0
    pilots: int = 0
    notices: tuple[str, ...] = ()  # what the cluster and W&B let people know
    remarks: tuple[str, ...] = ()  # on programs that ran although their texts break rules
    training: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # as W&B shows it
    lost: Mapping[str, int] = field(default_factory=dict)  # attempts, by the machine's failures
    avoided: Mapping[str, int] = field(default_factory=dict)  # nodes that failed too often

    @property
    def is_unprotected(self) -> bool:
        """Whether some number here rests on trust in the program."""
        return any(row.bpb is not None and not row.protected for row in self.rows)

    @property
    def long_setups(self) -> list[float]:
        """Seconds beyond the allowance, of every experiment whose set-up took longer."""
        beyond = [row.seconds.setup - self.allowance for row in self.rows]
        return [seconds for seconds in beyond if self.allowance and seconds > 0]

    @property
    def has_tested(self) -> bool:
        """Whether some crown test has compared scores of both its sides."""
        return any(test.difference is not None for test in self.crowns)

    @property
    def finished(self) -> int:
        """How many of the experiments in `spent` have a result."""
        return sum(row.is_finished and row.purpose not in FREE for row in self.rows)

    @property
    def is_on_cpus(self) -> bool:
        """Whether no pilot holds a GPU."""
        return bool(self.cells) and all(cell.device.startswith("cpu") for cell in self.cells)

    @property
    def places(self) -> tuple[CellView, ...]:
        """Every cell once, even where tiers share one."""
        return tuple({cell.key: cell for cell in reversed(self.cells)}.values())[::-1]

    def rows_in(self, cell: CellView) -> list[Row]:
        """What was scored, or failed, on validation text in a cell."""
        return [row for row in self.rows if row.cell == cell.key and row.split == "validation"]


@dataclass(frozen=True)
class Standing:
    """One candidate in one cell. `error` is one standard error, from the cell's noise."""

    candidate: str
    description: str
    brief: str  # the description, in little room
    mean: float
    n: int
    error: float | None
    delta: float | None  # mean minus the baseline's mean in this cell; None for the baseline
    failures: int
    role: str  # "baseline", "champion" or ""


def ranked(view: View, cell: CellView) -> list[Standing]:
    """The candidates with a score in a cell, best mean first."""
    groups: dict[str, list[Row]] = {}
    for row in view.rows_in(cell):
        groups.setdefault(row.candidate, []).append(row)
    standings = [standing(view, cell, rows) for rows in groups.values() if scores(rows)]
    return sorted(standings, key=lambda s: (s.mean, s.candidate))


def standing(view: View, cell: CellView, rows: list[Row]) -> Standing:
    values = scores(rows)
    mean = fmean(values)
    role = role_of(view, rows)
    reference = None if role == "baseline" else cell.baseline_mean
    return Standing(
        candidate=rows[0].candidate,
        description=describe(rows),
        brief=brief(rows),
        mean=mean,
        n=len(values),
        error=None if cell.sigma is None else cell.sigma / math.sqrt(len(values)),
        delta=None if reference is None else mean - reference,
        failures=sum(row.failure is not None for row in rows),
        role=role,
    )


def scores(rows: list[Row]) -> list[float]:
    return [row.bpb for row in rows if row.bpb is not None]


def role_of(view: View, rows: list[Row]) -> str:
    if any(row.purpose == "baseline" for row in rows):
        return "baseline"
    is_champion = view.champion is not None and view.champion.candidate == rows[0].candidate
    return "champion" if is_champion else ""


def describe(rows: list[Row]) -> str:
    """What a candidate changes, in the words of the one who proposed it."""
    said = [row.description for row in rows if row.purpose not in TESTS and row.description]
    return one_line(said[0]) if said else assignments(rows[0].overrides)


def brief(rows: list[Row], limit: int = BRIEF) -> str:
    """What tells a candidate from its like: a point of the space by its values alone."""
    said, overrides = describe(rows), rows[0].overrides
    is_point = "→" in said or said == assignments(overrides)
    return values(overrides, limit) if overrides and is_point else one_line(said, limit)


def values(overrides: Mapping[str, Scalar], limit: int) -> str:
    """`depth=6 matrix_lr=0.0936 …`: three digits each, and none cut in two."""
    parts = [f"{name}={rounded(value)}" for name, value in overrides.items()]
    line = " ".join(parts)
    while len(line) > limit and len(parts) > 1:
        parts.pop()
        line = " ".join([*parts, "…"])
    return one_line(line, limit)


def rounded(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def assignments(overrides: Mapping[str, Scalar]) -> str:
    return one_line(", ".join(f"{name}={value}" for name, value in overrides.items()))
