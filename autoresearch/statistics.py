"""What a difference between scores means: summaries, noise, tests, and how often to test.

Lower is better throughout. Pure functions of plain numbers; scipy.special gives the t
distribution. With too few values nothing is significant: p is 1 and the interval unknown.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy import special

T = TypeVar("T")

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Replicates of one candidate. No variance below two values, no mean below one."""

    n: int
    mean: float | None
    variance: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Summary":
        """Raises ValueError for a value that is no finite number."""
        found = list(values)
        for value in found:
            if not math.isfinite(value):
                raise ValueError(f"scores should be finite numbers, but one was {value}")
        n = len(found)
        if n == 0:
            return cls(0, None, None)
        if min(found) == max(found):  # exact where rounding would leave a trace of variance
            return cls(n, found[0], 0.0 if n > 1 else None)
        mean = math.fsum(found) / n
        return cls(n, mean, math.fsum((value - mean) ** 2 for value in found) / (n - 1))


@dataclass(frozen=True)
class Noise:
    """Standard deviation between replicates that differ in nothing but the seed."""

    sigma: float
    degrees: int


def noise(groups: Iterable[Iterable[float]]) -> Noise | None:
    """The standard deviation pooled over groups of replicates; None without a pair of them."""
    summaries = [Summary.of(group) for group in groups]
    parts = [(s.variance, s.n - 1) for s in summaries if s.variance is not None]
    degrees = sum(d for _, d in parts)
    if degrees == 0:
        return None
    return Noise(math.sqrt(math.fsum(v * d for v, d in parts) / degrees), degrees)


@dataclass(frozen=True)
class Comparison:
    """Mean of a minus mean of b. `error` is its standard error, None if it cannot be known;
    `p` is the one-sided probability of so low a difference if a is not lower than b."""

    difference: float | None
    error: float | None
    degrees: float | None
    p: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
        """Two-sided bounds on the true difference; (None, None) where they cannot be known."""
        return interval(self.difference, self.error, self.degrees, confidence)


def welch(a: Iterable[float], b: Iterable[float]) -> Comparison:
    """Welch's unequal-variance t test (1947) of whether `a` is lower than `b`.

    Without any variance, as of deterministic programs, the difference is exact: p is 0 or 1.
    """
    first, second = Summary.of(a), Summary.of(b)
    if first.mean is None or second.mean is None:
        return Comparison(None, None, None, 1.0)
    difference = first.mean - second.mean
    if first.variance is None or second.variance is None:
        return Comparison(difference, None, None, 1.0)
    ours, theirs = first.variance / first.n, second.variance / second.n
    if ours + theirs == 0:
        return Comparison(difference, 0.0, math.inf, 0.0 if difference < 0 else 1.0)
    error, share = math.sqrt(ours + theirs), ours / (ours + theirs)
    degrees = 1 / (share**2 / (first.n - 1) + (1 - share) ** 2 / (second.n - 1))
    return Comparison(difference, error, degrees, float(special.stdtr(degrees, difference / error)))


def interval(
    difference: float | None, error: float | None, degrees: float | None, confidence: float
) -> tuple[float | None, float | None]:
    """The t interval of a difference with this standard error."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence should lie between 0 and 1, but was {confidence}")
    if difference is None or error is None or degrees is None:
        return None, None
    reach = error * quantile((1 + confidence) / 2, degrees) if error > 0 else 0.0
    return difference - reach, difference + reach


def quantile(share: float, degrees: float) -> float:
    """The `share` quantile of Student's t distribution."""
    return float(special.stdtrit(degrees, share))


def detectable_effect(
    sigma: float, n_a: int, n_b: int, alpha: float, power: float = 0.8
) -> float | None:
    """The smallest true difference that a one-sided t test at `alpha` finds with probability
    `power`, from the noncentral t distribution; None below two values a side: nothing is found."""
    if min(n_a, n_b) < 2:
        return None
    degrees = n_a + n_b - 2
    critical = quantile(1 - alpha, degrees)
    shift = float(special.nctdtrinc(degrees, 1 - power, critical))
    return shift * sigma * math.sqrt(1 / n_a + 1 / n_b)


def alpha_spent(k: int, alpha: float) -> float:
    """The level of the k-th crown test of a campaign, k from 1: alpha * 6 / (pi^2 k^2).

    Alpha spending by the union bound: over all k the levels sum to alpha, so that the probability
    of even one false crown stays below it, whatever the number of tests and their dependence.
    """
    if k < 1:
        raise ValueError(f"tests count from 1, but k was {k}")
    return alpha * 6 / (math.pi * k) ** 2


def climbers(ranked: Sequence[T], eta: int) -> Sequence[T]:
    """Who may climb to the next rung, of all that completed this one, best first.

    The best floor(n / eta) of them: the promotion rule of asynchronous successive halving (ASHA,
    Li et al. 2018), which waits for nobody.
    """
    if eta < 2:
        raise ValueError(f"eta should be at least 2, but was {eta}")
    return ranked[: len(ranked) // eta]
