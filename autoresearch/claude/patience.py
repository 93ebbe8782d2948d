"""How long a conversation may take, and how long it may wait for a server that does not answer.

Waits grow and are blurred; a server that names its own is obeyed as far as patience goes.
"""

import random
import time
from dataclasses import dataclass, field
from threading import Event

from autoresearch.claude.client import Unanswered
from autoresearch.errors import UserError

FIRST_SECONDS = 0.5  # of waiting after a first failure; twice as long after each further one
LONGEST_SECONDS = 30.0
ANSWER_SECONDS = 600.0  # an answer may take


class GivenUp(UserError):  # noqa: N818 - it reports a fact
    """Why a conversation ends without what it was for, in one line."""


@dataclass
class Patience:
    """What is left of both, in seconds. `stop` ends every wait."""

    seconds: float  # for everything
    waiting: float  # of them for a server that does not answer
    stop: Event
    failures: int = 0  # in a row
    waited: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.seconds - (time.monotonic() - self.begun)

    def answer_seconds(self) -> float:
        """How long the next answer may take. Raises GivenUp if there is no time for one."""
        if self.stop.is_set():
            raise GivenUp("stopped")
        if self.left <= 0:
            raise GivenUp(f"claude.seconds: the {self.seconds:g} s for this wave are over")
        return min(ANSWER_SECONDS, self.left)

    def succeed(self) -> None:
        self.failures = 0

    def fail(self, failure: Unanswered, seconds: float) -> None:
        """Wait before another try, after one that took so long. Raises GivenUp if none is due."""
        if not failure.is_passing:
            raise GivenUp(str(failure))
        if not failure.may_be_billed:  # nobody was thinking about an answer
            self.waited += seconds
        self.failures += 1
        self.wait(self.pause(failure))

    def pause(self, failure: Unanswered) -> float:
        """How long to wait now."""
        left = self.waiting - self.waited
        if failure.wait is not None and failure.wait > left:
            raise GivenUp(
                f"{failure}; it asks to wait {failure.wait:g} s, and claude.patience leaves "
                f"{max(0.0, left):.0f} s"
            )
        if left <= 0:
            raise GivenUp(f"{failure}; waited {self.waiting:g} s for it (claude.patience)")
        if failure.wait is not None:
            return failure.wait
        grown = FIRST_SECONDS * 2.0 ** min(self.failures - 1, 10)
        return min(left, LONGEST_SECONDS, grown) * random.uniform(0.5, 1.0)

    def wait(self, seconds: float) -> None:
        begin = time.monotonic()
        self.stop.wait(max(0.0, min(seconds, self.left)))
        self.waited += time.monotonic() - begin
