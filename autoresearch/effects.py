"""Main effects and interactions: what each parameter did to the score, over everything tried.

Ordinary regression on coded factors (Box, Hunter and Hunter, Statistics for Experimenters; the
codes of Montgomery, Design and Analysis of Experiments): every parameter runs from -1 to 1 over its
domain, so that effects compare. It describes what was sampled; it proves nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from autoresearch.experiment import Json, Scalar, one_line
from autoresearch.space import Choice, Domain, Space, names

SCHEMA = 1
LISTED = 10  # interactions, at most
SEEN = 2.0  # standard errors from which on an interaction is listed
DEPENDENT = 1e-7  # below this share of the largest singular value columns say the same

Columns = dict[str, "np.ndarray"]


@dataclass(frozen=True)
class Row:
    """A candidate: its parameters, and its mean bits per byte over `seeds`."""

    parameters: Mapping[str, Scalar]
    value: float
    seeds: int = 1


@dataclass(frozen=True)
class Effect:
    """What moving a parameter from the low to the high end of its domain does, in bits per byte;
    of a word or truth value, what `level` does against the first of the values tried.

    `size` and `error` (a standard error) are None where `problem` says why they cannot be known.
    """

    parameter: str
    size: float | None
    error: float | None
    levels: int  # distinct values tried
    level: str = ""
    best: str = ""  # of the values tried at least twice, the one with the lowest mean
    problem: str = ""


@dataclass(frozen=True)
class Interaction:
    """How much the effect of one parameter changes as the other goes from low to high."""

    parameters: tuple[str, str]
    size: float
    error: float


@dataclass(frozen=True)
class Effects:
    """All of them, the clearest first."""

    rows: int
    outside: int  # rows left out: a value lies outside its domain
    sigma: float | None  # of one seed
    main: tuple[Effect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    pairs: int = 0  # that were looked at for interactions

    def to_json(self) -> Json:
        main = [asdict(each) for each in self.main]
        pairs = [asdict(e) | {"parameters": list(e.parameters)} for e in self.interactions]
        return {"schema": SCHEMA, **asdict(self), "main": main, "interactions": pairs}

    def text(self) -> str:
        """A table for a terminal or a prompt."""
        head = f"{self.rows} candidates, {self.outside} left out; bits per byte, lower is better"
        lines = [head, "parameter | low to high | error | levels | best tried"]
        lines += [line(effect) for effect in self.main]
        if self.pairs:
            lines.append(
                f"interactions beyond {SEEN:g} errors, of {self.pairs} pairs "
                f"(about {0.05 * self.pairs:.1f} of them by luck):"
            )
            lines += [
                f"{' x '.join(each.parameters)} | {each.size:+.4f} | {each.error:.4f}"
                for each in self.interactions
            ] or ["none"]
        lines.append(
            "These are averages over what was sampled, in a linear model: not causes, and not "
            "valid outside it. Test what you conclude."
        )
        return "\n".join(lines)


def line(effect: Effect) -> str:
    """A row of the table. Values may be anybody's words."""
    level = f"={effect.level}" if effect.level else ""
    size, error, last = "–", "–", effect.problem
    if effect.size is not None and effect.error is not None:
        size, error, last = f"{effect.size:+.4f}", f"{effect.error:.4f}", effect.best
    cells = (f"{effect.parameter}{level}", size, error, str(effect.levels), last)
    return " | ".join(map(one_line, cells))


def estimate(rows: Sequence[Row], space: Space, sigma: float | None) -> Effects:
    """Effects of the parameters of a space. `sigma` is the deviation between seeds, if known.

    The error of an estimate rests on the larger of sigma and what the model leaves unexplained.
    """
    inside = [row for row in rows if all(is_inside(space, row, name) for name in space)]
    left_out = len(rows) - len(inside)
    columns = coded(inside, space)
    fit = Fit.of(inside, columns, sigma)
    main = [effect(inside, key, fit) for key in columns]
    main += [constant(inside, name) for name in names(space) if not any_of(columns, name)]
    found, pairs = interactions(inside, space, columns, sigma)
    return Effects(len(inside), left_out, sigma, tuple(sorted(main, key=clearness)), found, pairs)


def is_inside(space: Space, row: Row, name: str) -> bool:
    return name in row.parameters and space[name].contains(row.parameters[name])


# ---- coding ----------------------------------------------------------------------------------


def is_ordered(domain: Domain) -> bool:
    """Whether values have an order: intervals, and choices of rising numbers."""
    if not isinstance(domain, Choice):
        return True
    numbers = [v for v in domain.values if isinstance(v, (int, float)) and type(v) is not bool]
    return len(numbers) == len(domain.values) > 2 and sorted(numbers) == numbers


def code(domain: Domain, value: Scalar) -> float:
    """Where a value of an ordered domain lies, from -1 to 1."""
    if isinstance(domain, Choice):
        return 2 * domain.values.index(value) / (len(domain.values) - 1) - 1
    return 2 * domain.share(float(value)) - 1


def coded(rows: Sequence[Row], space: Space) -> Columns:
    """A column for each ordered parameter, and for each level but the first of the others; none for
    what does not vary. Keys are `name`, or `name=level`."""
    columns: Columns = {}
    for name in names(space):
        values = [row.parameters[name] for row in rows]
        if len(set(values)) < 2:
            continue
        domain = space[name]
        if is_ordered(domain):
            columns[name] = np.array([code(domain, value) for value in values])
        elif isinstance(domain, Choice):
            tried = [level for level in domain.values if level in values]
            for level in tried[1:]:
                columns[f"{name}={level}"] = np.array([float(v == level) for v in values])
    return columns


def any_of(columns: Columns, name: str) -> bool:
    return any(key.partition("=")[0] == name for key in columns)


# ---- regression ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fit:
    """A weighted least-squares fit: an effect and its error for each column that has one."""

    size: Mapping[str, float]
    error: Mapping[str, float]
    problem: str = ""

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Columns, sigma: float | None) -> "Fit":
        """All columns jointly, a candidate with more seeds weighing more."""
        design = np.column_stack([np.ones(len(rows)), *columns.values()])
        free = len(rows) - design.shape[1]
        if free < 1:
            return cls({}, {}, f"too few candidates: {len(rows)} for {len(columns)} effects")
        y = np.array([row.value for row in rows])
        weights = np.sqrt([float(row.seeds) for row in rows])
        a, b = design * weights[:, None], (y - y.mean()) * weights
        beta, _, _, singular = np.linalg.lstsq(a, b, rcond=None)
        own = determined(a, singular)
        residual = float(((b - a @ beta) ** 2).sum()) / free
        variance = max(residual, (sigma or 0.0) ** 2)
        spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(a.T @ a)), 0.0) * variance)
        keys = [key for place, key in enumerate(columns, 1) if own[place]]
        places = {key: place for place, key in enumerate(columns, 1)}
        return cls(
            {key: float(beta[places[key]]) for key in keys},
            {key: float(spread[places[key]]) for key in keys},
            "varied only together with others",
        )


def determined(a: "np.ndarray", singular: "np.ndarray") -> "np.ndarray":
    """Which coefficients the rows determine: those without a share in any null direction."""
    directions = np.linalg.svd(a, full_matrices=False)[2]  # more rows than columns
    rank = int((singular > DEPENDENT * max(singular.max(), 1e-300)).sum())
    null = directions[rank:]
    return (np.abs(null) < 1e-6).all(axis=0) if len(null) else np.ones(a.shape[1], dtype=bool)


def effect(rows: Sequence[Row], key: str, fit: Fit) -> Effect:
    name, _, level = key.partition("=")
    levels = len({row.parameters[name] for row in rows})
    if key not in fit.size:
        return Effect(name, None, None, levels, level, problem=fit.problem)
    width = 1.0 if level else 2.0  # a code runs from -1 to 1
    return Effect(
        name,
        width * fit.size[key],
        width * fit.error[key],
        levels,
        level,
        "" if level else best(rows, name),
    )


def constant(rows: Sequence[Row], name: str) -> Effect:
    count = len({row.parameters[name] for row in rows})
    return Effect(name, None, None, count, problem="never varied" if rows else "nothing was tried")


def best(rows: Sequence[Row], name: str) -> str:
    """Of the values tried at least twice, the one with the lowest mean."""
    groups: dict[Scalar, list[float]] = {}
    for row in rows:
        groups.setdefault(row.parameters[name], []).append(row.value)
    means = {value: fmean(scores) for value, scores in groups.items() if len(scores) > 1}
    if len(means) < 2:
        return ""
    value = min(means, key=lambda value: means[value])
    return f"{value} ({means[value]:.4f}, {len(groups[value])} candidates)"


def clearness(effect: Effect) -> tuple[float, str]:
    """Clearest first: by size in errors."""
    if effect.size is None or effect.error is None:
        return math.inf, effect.parameter
    return -abs(effect.size) / max(effect.error, 1e-300), effect.parameter


def interactions(
    rows: Sequence[Row], space: Space, columns: Columns, sigma: float | None
) -> tuple[tuple[Interaction, ...], int]:
    """Pairs of ordered parameters whose product explains something beside the main effects."""
    found = list[Interaction]()
    ordered = [name for name in names(space) if is_ordered(space[name]) and name in columns]
    pairs = list(combinations(ordered, 2)) if len(rows) > len(columns) + 2 else []
    for one, other in pairs:
        key = f"{one} * {other}"
        fit = Fit.of(rows, {**columns, key: columns[one] * columns[other]}, sigma)
        size, error = 4 * fit.size.get(key, 0.0), 4 * fit.error.get(key, math.inf)
        if abs(size) >= SEEN * error and size:
            found.append(Interaction((one, other), size, error))
    found.sort(key=lambda each: -abs(each.size) / max(each.error, 1e-300))
    return tuple(found[:LISTED]), len(pairs)
