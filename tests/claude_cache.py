"""What a prompt costs: its tokens (a quarter of its characters), and what a cache keeps of it.

The cache knows prefixes, in the order tools, system, messages. It writes one at each breakpoint
(a block's `cache_control`) and finds one there or at one of the LOOKBACK blocks before.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

SECONDS = {"5m": 300.0, "1h": 3600.0}
SMALLEST = 1024  # tokens of a prefix that is kept
LOOKBACK = 20  # blocks before a breakpoint where a prefix is looked for


def serialised(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def tokens(part: object) -> int:
    return math.ceil(len(serialised(part)) / 4)


@dataclass(frozen=True)
class Part:
    """One block of a prompt. `about`: what else decides whether its prefix is the same."""

    content: Json
    about: str
    ttl: str = ""  # of the breakpoint here; "": none

    @property
    def tokens(self) -> int:
        return tokens(self.content)


def blocks(content: str | Sequence[Json]) -> list[Json]:
    """Text is short for one block of text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def parts(body: Mapping[str, Any]) -> list[Part]:
    """A prompt in the order of its caching. Other settings of thinking end what messages share."""
    model = str(body["model"])
    found = [part(tool, model) for tool in body.get("tools") or ()]
    found += [part(block, model) for block in blocks(body.get("system") or ())]
    how = serialised([body.get(name) for name in ("thinking", "output_config", "tool_choice")])
    for message in body["messages"]:
        about = f"{model} {how} {message['role']}"
        found += [part(block, about) for block in blocks(message["content"])]
    return found


def part(block: Json, about: str) -> Part:
    content = {name: value for name, value in block.items() if name != "cache_control"}
    control = block.get("cache_control")
    return Part(content, about, control.get("ttl", "5m") if control else "")


def prompt_tokens(body: Mapping[str, Any]) -> int:
    return sum(part.tokens for part in parts(body))


@dataclass(frozen=True)
class Prefix:
    """The prompt up to a block: a hash of all of it, and its tokens."""

    key: str
    tokens: int


def prefixes(prompt: Sequence[Part]) -> list[Prefix]:
    """Of every length, the empty one too."""
    found = [Prefix("", 0)]
    for part in prompt:
        text = f"{found[-1].key} {part.about} {serialised(part.content)}"
        key = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        found.append(Prefix(key, found[-1].tokens + part.tokens))
    return found


@dataclass
class Cache:
    """Prefixes kept, each until some time. Reading one keeps it for as long again."""

    until: dict[str, float] = field(default_factory=dict)
    life: dict[str, float] = field(default_factory=dict)

    def take(self, body: Mapping[str, Any], now: float) -> Json:
        """The input side of a request's usage; what it writes is kept from now on."""
        prompt = parts(body)
        known = prefixes(prompt)
        breakpoints = [
            (end, part.ttl)
            for end, part in enumerate(prompt, 1)
            if part.ttl and known[end].tokens >= SMALLEST
        ]
        read = max((self.found(known, end, now) for end, _ in breakpoints), default=0)
        written = dict.fromkeys(SECONDS, 0)
        for (begin, _), (end, ttl) in pairwise([(0, ""), *breakpoints]):
            written[ttl] += max(0, known[end].tokens - max(known[begin].tokens, read))
            self.keep(known[end].key, SECONDS[ttl], now)
        return usage(known[-1].tokens, read, written)

    def found(self, known: Sequence[Prefix], end: int, now: float) -> int:
        """Tokens of the longest prefix that is kept near a breakpoint."""
        for length in range(end, max(0, end - LOOKBACK - 1), -1):
            key = known[length].key
            if self.until.get(key, -math.inf) > now:
                self.keep(key, self.life[key], now)
                return known[length].tokens
        return 0

    def keep(self, key: str, seconds: float, now: float) -> None:
        self.life[key] = max(seconds, self.life.get(key, 0.0))
        self.until[key] = now + self.life[key]


def usage(whole: int, read: int, written: Mapping[str, int]) -> Json:
    return {
        "input_tokens": whole - read - sum(written.values()),
        "cache_creation_input_tokens": sum(written.values()),
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written["5m"],
            "ephemeral_1h_input_tokens": written["1h"],
        },
        "service_tier": "standard",
    }
