"""How long we ask a cluster for nothing after it has refused: longer each time."""

import time
from math import inf

BACK_OFF = (30.0, 900.0)  # seconds, the first and the longest


class Pause:
    """How long we ask for nothing after a refusal: longer each time, until one is accepted."""

    def __init__(self) -> None:
        self.reason = ""
        self.seconds = BACK_OFF[0]
        self.until = -inf

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.until

    def lengthen(self, reason: str) -> None:
        self.reason = reason
        self.until = time.monotonic() + self.seconds
        self.seconds = min(2 * self.seconds, BACK_OFF[1])

    def end(self) -> None:
        self.seconds = BACK_OFF[0]
