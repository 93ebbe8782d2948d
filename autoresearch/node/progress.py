"""What is known of an attempt so far. A failure reports as much of it as a score does."""

import math
import time
from dataclasses import dataclass, field, replace

from autoresearch.experiment import Attempt, Failure, Result, Scalar, Seconds
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.wire import Message

CURVE_LIMIT = 100  # points of a training curve that a result keeps

Point = tuple[float, int, float]  # seconds since the start, step, training loss


@dataclass(frozen=True)
class Claim:
    """An attempt that a pilot has claimed, and when."""

    attempt: Attempt
    claimed: float  # Unix time
    clock: float  # the same instant on the machine's monotonic clock
    queue: float  # seconds it had waited

    def to_message(self) -> Message:
        fields = {"claimed": self.claimed, "clock": self.clock, "queue": self.queue}
        attempt = {"experiment": self.attempt.experiment, "number": self.attempt.number}
        return Message("attempt", {**attempt, **fields})

    @classmethod
    def from_message(cls, message: Message) -> "Claim":
        return cls(
            Attempt(message.text("experiment"), message.count("number")),
            message.number("claimed"),
            message.number("clock"),
            message.number("queue"),
        )

    def failed(self, pilot: str, failure: Failure, reason: str) -> Result:
        """The result of an attempt of which nothing more is known: all its time was set-up."""
        setup = time.monotonic() - self.clock
        return Result(
            self.attempt.experiment,
            self.attempt.number,
            pilot,
            failure=failure,
            reason=reason,
            seconds=Seconds(queue=self.queue, setup=setup),
            started=self.claimed,
            ended=time.time(),
        )


class Curve:
    """A training curve of bounded length: when it is full, every second point goes."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.last: Point | None = None
        self.stride = 1
        self.seen = 0

    def add(self, point: Point) -> None:
        if self.seen % self.stride == 0:
            self.points.append(point)
        self.last = point
        self.seen += 1
        if len(self.points) >= CURVE_LIMIT:
            self.points = self.points[::2]
            self.stride *= 2

    def thinned(self) -> tuple[Point, ...]:
        """At most CURVE_LIMIT points, the first and the last always among them."""
        ends = [self.last] if self.last and self.last not in self.points[-1:] else []
        return (*self.points, *ends)


@dataclass
class Progress:
    """The result in the making: a stopwatch for the three stages, and facts as they come."""

    claim: Claim
    result: Result
    curve: Curve = field(default_factory=Curve)
    stage: str = "setup"
    since: float = 0.0

    @classmethod
    def begin(cls, claim: Claim, pilot: str, sandbox: str) -> "Progress":
        result = Result(
            claim.attempt.experiment,
            claim.attempt.number,
            pilot,
            seconds=Seconds(queue=claim.queue),
            started=claim.claimed,
            sandbox=sandbox,
        )
        return cls(claim, result, since=claim.clock)

    def enter(self, stage: str) -> float:
        """The current stage ends, `stage` begins. Returns the monotonic time of the change."""
        now = time.monotonic()
        spent = getattr(self.result.seconds, self.stage) + now - self.since
        self.note(seconds=replace(self.result.seconds, **{self.stage: spent}))
        self.stage, self.since = stage, now
        return now

    def note(self, **facts: object) -> None:
        self.result = replace(self.result, **facts)  # type: ignore[arg-type]

    def note_probes(self, probes: dict[str, float]) -> None:
        self.note(probes={**self.result.probes, **probes})

    def log(self, step: int, tokens: int, loss: float | None) -> None:
        self.note(steps=step, tokens=tokens)
        if loss is not None and self.stage == "train":
            self.curve.add((round(time.monotonic() - self.since, 3), step, loss))

    def finished(self, bpb: float) -> Result:
        if not math.isfinite(bpb):
            raise AttemptFailed(Failure.diverged, "the score is not finite")
        self.note(bpb=bpb)
        return self._ended()

    def failed(self, failed: AttemptFailed) -> Result:
        self.note(bpb=None, failure=failed.failure, reason=failed.reason)
        return self._ended()

    def _ended(self) -> Result:
        self.enter(self.stage)
        self.note(curve=self.curve.thinned(), ended=time.time())
        return self.result


def loss_of(values: dict[str, Scalar]) -> float | None:
    loss = values.get("loss")
    return None if loss is None or isinstance(loss, str) else float(loss)


def numbers(values: dict[str, Scalar]) -> dict[str, float]:
    """What of a log message can be drawn."""
    return {k: float(v) for k, v in values.items() if not isinstance(v, str)}
