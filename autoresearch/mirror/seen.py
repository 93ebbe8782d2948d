"""A W&B run as the server describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One run. What anybody may have edited at the server is not to be believed."""

    id: str
    name: str = ""
    state: str = ""  # running, finished, failed, crashed, killed, ...
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    heartbeat: str = ""  # as the server writes it: only so may it be sent back
    created: str = ""
    rows: int = 0  # of history

    @property
    def is_open(self) -> bool:
        """Whether more of it may come."""
        return self.state in OPEN

    @property
    def has_ended(self) -> bool:
        """Whether the server knows of its end. It calls a run crashed that fell silent."""
        return not self.is_open and self.state != "crashed"


OPEN = ("running", "pending", "preempting")
