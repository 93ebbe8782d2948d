"""What was tried, condensed: candidates as rows, one table per cell, and what stands above it.

Pure: a History in, text out. Numbers of different cells never meet in one table.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from autoresearch.claude.quoting import line
from autoresearch.drafts import hoped
from autoresearch.entry import Crown, Entry, Purpose
from autoresearch.experiment import Candidate, Cell, Failure, Split
from autoresearch.history import History
from autoresearch.settings import Judge
from autoresearch.statistics import Noise, alpha_spent, detectable_effect, noise

GIB = 1 << 30
WORDS = 90  # characters of a description in a table
NAMED = 12  # candidates in a list of names
NOTHING = "–"  # in a cell
TESTS = (Purpose.crown, Purpose.certify)  # they describe the test, not the candidate
HEADINGS = (
    *("candidate", "wave", "planner", "seeds", "mean", "error", "vs baseline", "vs champion"),
    *("hoped", "seconds", "GB", "what"),
)


@dataclass(frozen=True)
class Standing:
    """One candidate in one cell: everything that was run of it there, and whose idea it was."""

    candidate: Candidate  # as it was first proposed
    entries: tuple[Entry, ...]
    role: str  # "baseline", "champion", "crowned" or ""
    planner: str
    hoped: float | None  # the change in bits per byte that its planner expected

    @property
    def key(self) -> str:
        return self.candidate.key

    @property
    def wave(self) -> int:
        return next((entry.wave for entry in self.entries if entry.wave), 0)

    @property
    def scores(self) -> list[float]:
        return [entry.bpb for entry in self.entries if entry.bpb is not None]

    @property
    def mean(self) -> float | None:
        return fmean(self.scores) if self.scores else None

    @property
    def failures(self) -> list[Failure]:
        results = [entry.result for entry in self.entries if entry.result]
        return [result.failure for result in results if result.failure]

    @property
    def is_pending(self) -> bool:
        return any(entry.result is None for entry in self.entries)

    @property
    def seconds(self) -> float:
        """Of a device, for one run."""
        spent = [e.result.seconds.occupied for e in self.entries if e.result and e.bpb is not None]
        return fmean(spent) if spent else math.inf

    @property
    def memory(self) -> float:
        """GiB, of the run that took most."""
        return max((e.result.peak_memory for e in self.entries if e.result), default=0) / GIB

    @property
    def words(self) -> str:
        """What is changed, after what became of it."""
        said = [e.description for e in self.entries if e.purpose not in TESTS and e.description]
        state = dict.fromkeys(failure.value for failure in self.failures)
        marks = [self.role, *state, "pending" if self.is_pending else ""]
        what = said[0] if said else settings_of(self.candidate)
        return line(" ".join([*(f"[{mark}]" for mark in marks if mark), what]), WORDS)


def settings_of(candidate: Candidate) -> str:
    return " ".join(f"{name}={value}" for name, value in candidate.overrides.items())


@dataclass(frozen=True)
class Board:
    """One cell: its candidates in the order of proposal, and what they are measured by."""

    tier: str
    cell: Cell
    noise: Noise | None  # from the baseline's replicates
    baseline: float | None
    champion: float | None
    standings: tuple[Standing, ...]

    @classmethod
    def of(cls, history: History, tier: str) -> "Board":
        baseline, champion = (
            list(history.scores(candidate, tier).values())
            for candidate in (history.baseline, history.champion)
        )
        return cls(
            tier,
            history.tiers[tier],
            noise([baseline]),
            fmean(baseline) if baseline else None,
            fmean(champion) if champion else None,
            tuple(standings(history, tier)),
        )

    @property
    def title(self) -> str:
        cell = self.cell
        return f"tier {self.tier}: {cell.device}, {cell.budget}, cell {cell.key}"


def standings(history: History, tier: str) -> Iterator[Standing]:
    """Every candidate that was run, or waits, in a tier's cell, on validation text."""
    cell = history.tiers[tier].key
    groups: dict[str, list[Entry]] = {}
    for entry in history.entries.values():
        experiment = entry.experiment
        if experiment.cell.key == cell and experiment.split is Split.validation:
            groups.setdefault(original(history, experiment.candidate), []).append(entry)
    won = {test.challenger.key for test in history.crowns if test.crowned}
    roles = dict.fromkeys(won, "crowned") | {history.baseline.key: "baseline"}
    roles[original(history, history.champion)] = "champion"
    for key, entries in groups.items():
        proposed = next((entry for entry in entries if entry.wave), entries[0])
        candidate = proposed.experiment.candidate
        role = roles.get(key, "")
        yield Standing(candidate, tuple(entries), role, *idea(history, proposed))


def original(history: History, candidate: Candidate) -> str:
    """The key a candidate was proposed under: a champion gets another when it is baked."""
    key = candidate.key
    while key in history.born:
        key = history.born[key]
    return key


def idea(history: History, entry: Entry) -> tuple[str, float | None]:
    """Whose idea an experiment was, and the effect that was hoped for."""
    return history.author(entry), hoped(history, entry) if entry.wave else None


# ---- a table -----------------------------------------------------------------------------------


def table(board: Board, shown: Iterable[Standing]) -> str:
    """Rows of one cell under their headings."""
    rows = [HEADINGS, *(row(board, standing) for standing in shown)]
    return "\n".join(" | ".join(cells) for cells in rows)


def row(board: Board, standing: Standing) -> tuple[str, ...]:
    mean, count = standing.mean, len(standing.scores)
    error = board.noise.sigma / math.sqrt(count) if board.noise and count else None
    return (
        standing.key,
        written(standing.wave or None, "d"),
        line(standing.planner, 12) or NOTHING,
        str(count),
        written(mean, ".5f"),
        written(error, ".5f"),
        written(difference(mean, board.baseline), "+.5f"),
        written(difference(mean, board.champion), "+.5f"),
        written(standing.hoped, "+.5f"),
        written(standing.seconds if standing.scores else None, ".0f"),
        written(standing.memory or None, ".1f"),
        standing.words,
    )


def difference(mean: float | None, reference: float | None) -> float | None:
    return None if mean is None or reference is None else mean - reference


def written(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def by_score(standing: Standing) -> tuple[bool, float, str]:
    """The best first; what has no score, last."""
    mean = standing.mean
    return mean is None or bool(standing.failures), math.inf if mean is None else mean, standing.key


# ---- what stands above it ------------------------------------------------------------------------


def heading(history: History, board: Board, judge: Judge) -> str:
    """What a reader of a table must know first: noise, tests, what waits, what failed."""
    lines = [f"{board.title}. Bits per byte, lower is better."]
    lines += [measures(board), *test_lines(history, judge)[-5:], pending(board), failed(board)]
    if any(e.result and not e.result.protected for s in board.standings for e in s.entries):
        lines.append("unprotected: no sandbox held the programs, these numbers rest on trust")
    return "\n".join(text for text in lines if text)


def measures(board: Board) -> str:
    """The noise of a cell, and the two means that candidates are compared with."""
    if board.baseline is None:
        return "the baseline has no score yet"
    champion = "" if board.champion is None else f", champion {board.champion:.5f}"
    known = "the noise is not known yet"
    if board.noise:
        sigma, degrees = board.noise.sigma, board.noise.degrees
        known = (
            f"noise between seeds: sigma {sigma:.5f} ({degrees} degrees of freedom), so two single "
            f"runs differ by {math.sqrt(2) * sigma:.5f} (one standard error) without any cause"
        )
    return f"baseline {board.baseline:.5f}{champion}; {known}"


def test_lines(history: History, judge: Judge) -> list[str]:
    """Crown tests so far, and what the next one can see."""
    lines = [test_line(test) for test in history.crowns]
    level = alpha_spent(len(history.crowns) + 1, judge.alpha)
    measured = noise([history.scores(history.baseline, history.validate).values()])
    size = measured and detectable_effect(
        measured.sigma, judge.crown_seeds, judge.crown_seeds, level
    )
    sees = f"sees differences of {size:.5f} or more, four times in five" if size else "is open"
    rules = f"tier {history.validate}, {judge.crown_seeds} fresh seeds each, level {level:.2g}"
    return [*lines, f"the next crown test ({rules}) {sees}"]


def test_line(test: Crown) -> str:
    what = f"crown test {test.number} (tier {test.tier}): {test.challenger.key}"
    if test.verdict is None:
        return f"{what} meets the champion now, level {test.alpha:.2g}"
    difference, p = test.verdict["difference"], test.verdict["p"]
    size = "no difference measured" if difference is None else f"{difference:+.5f}"
    verdict = "crowned" if test.crowned else "not crowned"
    return f"{what}: {size}, p {p:.2g} at level {test.alpha:.2g}: {verdict}"


def pending(board: Board) -> str:
    return listed("pending", [s for s in board.standings if s.is_pending])


def failed(board: Board) -> str:
    """Failures by name, each with how many candidates met it and which were the last."""
    groups: dict[str, list[Standing]] = {}
    for standing in board.standings:
        for failure in set(standing.failures):
            groups.setdefault(failure.value, []).append(standing)
    return "\n".join(listed(f"failed, {name}", groups[name]) for name in sorted(groups))


def listed(what: str, found: Sequence[Standing]) -> str:
    """How many, and the newest of them by name; "" for none."""
    if not found:
        return ""
    names = ", ".join(standing.key for standing in reversed(found[-NAMED:]))
    return f"{what}: {len(found)} ({names}{', …' * (len(found) > NAMED)})"
