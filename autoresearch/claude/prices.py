"""What Claude costs: tokens by how they are charged, and dollars."""

from dataclasses import asdict, dataclass, fields
from typing import Self

from autoresearch.experiment import Json
from autoresearch.settings import Price

PER = 1_000_000  # tokens that a price is for


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer, or of many. The prompt is what is read in whatever way."""

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0  # thinking included

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} should be a whole number of tokens, but was {value!r}")

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def prompt(self) -> int:
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read

    @property
    def cache_share(self) -> float:
        """What share of all prompts came from the cache."""
        return self.cache_read / self.prompt if self.prompt else 0.0

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Json) -> Self:
        """Raises TypeError or ValueError if `record` is none of ours."""
        return cls(**record)

    @classmethod
    def from_api(cls, record: Json, ttl: str) -> Self:
        """Of an answer's `usage`. What was written without saying for how long, was for `ttl`.

        Raises TypeError or ValueError if there is no usage in it.
        """
        parts: Json = record.get("cache_creation") or {}
        written: int = record.get("cache_creation_input_tokens") or 0
        hour: int = parts.get("ephemeral_1h_input_tokens", written if ttl == "1h" else 0)
        return cls(
            input=record.get("input_tokens", -1),
            cache_write_5m=parts.get("ephemeral_5m_input_tokens", written - hour),
            cache_write_1h=hour,
            cache_read=record.get("cache_read_input_tokens") or 0,
            output=record.get("output_tokens", -1),
        )


def cost(usage: Usage, price: Price) -> float:
    """Dollars."""
    prompt = (
        usage.input
        + usage.cache_write_5m * price.cache_write
        + usage.cache_write_1h * price.cache_write_1h
        + usage.cache_read * price.cache_read
    )
    return (prompt * price.input + usage.output * price.output) / PER


def worst_case(prompt_tokens: int, max_tokens: int, price: Price, ttl: str) -> float:
    """Dollars, at most: nothing is in the cache, all of it is written there, all is said."""
    writing = price.cache_write_1h if ttl == "1h" else price.cache_write
    return (prompt_tokens * price.input * max(1.0, writing) + max_tokens * price.output) / PER
