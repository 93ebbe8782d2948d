"""What one conversation has spent, on disk before and after each request: `spend.jsonl`.

    {"sent": 1, "usd_at_most": 0.41}
    {"paid": 1, "usd": 0.07, "usage": {"input": 12, ...}}
    {"failed": 2, "usd": 0.0}

A request that was sent and has no end (its sender was killed) counts at its worst case.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from autoresearch.claude.lines import Lines, read
from autoresearch.claude.prices import Usage
from autoresearch.errors import RecordError, UserError
from autoresearch.experiment import Json

SPEND = "spend.jsonl"
ROUNDING = 1e-9  # dollars


class OutOfMoney(UserError):  # noqa: N818 - it reports a fact
    """The next request may cost more than is left."""


@dataclass(frozen=True)
class Spent:
    """What is known of the requests so far."""

    ended: float = 0.0  # dollars for requests that have an end
    requests: int = 0
    usage: Usage = field(default_factory=Usage)
    unended: dict[int, float] = field(default_factory=dict)  # worst cases, by number

    @property
    def usd(self) -> float:
        return self.ended + sum(self.unended.values())

    def after(self, record: Json) -> "Spent":
        """With one more line. Raises ValueError, KeyError or TypeError if it does not fit."""
        unended = dict(self.unended)
        if "sent" in record:
            if record["sent"] != self.requests + 1:
                raise ValueError("requests are numbered from 1")
            unended[self.requests + 1] = amount(record["usd_at_most"])
            return replace(self, requests=self.requests + 1, unended=unended)
        is_paid = "paid" in record
        del unended[record["paid" if is_paid else "failed"]]
        usage = Usage.from_json(record["usage"]) if is_paid else Usage()
        ended = self.ended + amount(record["usd"])
        return Spent(ended, self.requests, self.usage + usage, unended)


def amount(usd: object) -> float:
    """A sum of dollars. Raises ValueError for anything else."""
    if isinstance(usd, bool) or not isinstance(usd, int | float):
        raise ValueError("dollars should be a number")  # noqa: TRY004 - a value in a file
    if not (math.isfinite(usd) and usd >= 0):
        raise ValueError("dollars should be finite and at least 0")
    return float(usd)


def replay(records: Iterable[Json], path: Path) -> Spent:
    """What these lines add up to. Raises RecordError if they contradict each other."""
    sum_ = Spent()
    for number, record in enumerate(records, 1):
        try:
            sum_ = sum_.after(record)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{path} line {number} should follow the others: {error!r}") from None
    return sum_


def spent(folder: Path) -> Spent:
    """What the conversation in a folder has spent; nothing if there is none."""
    path = folder / SPEND
    return replay(read(path)[0], path)


class Ledger:
    """The one writer of what a conversation spends, at most `allowance` dollars."""

    def __init__(self, lines: Lines, allowance: float) -> None:
        self.allowance = allowance
        self.spent = replay(lines.records, lines.path)
        self._lines = lines

    @classmethod
    def open(cls, path: Path, allowance: float) -> Self:
        """Raises CampaignError, or RecordError if the file is damaged."""
        return cls(Lines.open(path), allowance)

    @property
    def left(self) -> float:
        return self.allowance - self.spent.usd

    @property
    def is_interrupted(self) -> bool:
        """Whether a request was sent whose end nobody has written down."""
        return bool(self.spent.unended)

    def reserve(self, usd_at_most: float) -> int:
        """Set money aside for a request; its number. Raises OutOfMoney."""
        if usd_at_most > self.left + ROUNDING:
            raise OutOfMoney(
                f"budget.usd_agent leaves ${max(0.0, self.left):.2f} for this wave, and the next "
                f"answer may cost ${usd_at_most:.2f}"
            )
        number = self.spent.requests + 1
        self._append({"sent": number, "usd_at_most": usd_at_most})
        return number

    def pay(self, number: int, usd: float, usage: Usage) -> None:
        """A request has been answered."""
        self._append({"paid": number, "usd": usd, "usage": usage.to_json()})

    def fail(self, number: int, usd: float) -> None:
        """A request has no answer; `usd` is what the server may charge for it all the same."""
        self._append({"failed": number, "usd": usd})

    def _append(self, record: Json) -> None:
        self._lines.append(record)
        self.spent = self.spent.after(record)

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()
