"""Putting rows to a scorer, call after call of one shape, and taking its answers at their size."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoresearch.experiment import Failure
from autoresearch.node import scoring
from autoresearch.node.children import Child, Children
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.wire import Message, WireError


@dataclass(frozen=True)
class Questions:
    """What all questions of one attempt have in common. `deadline` is monotonic, of all answers."""

    children: Children
    vocabulary: int
    load_seconds: float
    deadline: float
    late: AttemptFailed

    def await_first(self, scorer: Child, kind: str, more: float = 0.0) -> Message:
        """What comes before a scorer is at work: it has no time to train on something."""
        seconds = self.load_seconds + more
        reason = f"{scorer.name} should load and begin within {seconds:.3g} s each, but did not"
        slow = AttemptFailed(Failure.overran, reason)
        return self.children.expect(scorer, kind, time.monotonic() + seconds, slow)

    def nats(self, scorer: Child, plan: scoring.Plan) -> scoring.Nats:
        """(places, length) claimed nats of every row of a plan."""
        rows, length = plan.sent.shape[1], plan.sent.shape[2] - 1
        questions = (Message("score", data=call.tobytes()) for call in plan.sent)
        answers = self.ask(scorer, questions)
        return np.concatenate([floats(scorer, answer, (rows, length)) for answer in answers])

    def logits(self, scorer: Child, asked: scoring.Challenge) -> NDArray[np.float32]:
        """(places, vocabulary) logits at the asked position of every row."""
        shape = (asked.sent.shape[1], self.vocabulary)
        questions = (
            Message("logits", {"positions": positions.tolist()}, rows.tobytes())
            for rows, positions in zip(asked.sent, asked.position, strict=True)
        )
        answers = self.ask(scorer, questions)
        return np.concatenate([floats(scorer, answer, shape) for answer in answers])

    def ask(self, scorer: Child, questions: Iterator[Message]) -> Iterator[Message]:
        """The answers, one after the other."""
        for number, question in enumerate(questions):
            self.children.tell(scorer, question)
            if number:
                yield self.children.expect(scorer, "answer", self.deadline, self.late)
            else:
                yield self.await_first(scorer, "answer")


def floats(scorer: Child, answer: Message, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Raises WireError unless the answer has exactly the expected size."""
    wanted = 4 * shape[0] * shape[1]
    if len(answer.data) != wanted:
        raise WireError(f"{scorer.name} should answer {wanted} bytes, but sent {len(answer.data)}")
    return np.frombuffer(answer.data, dtype="<f4").reshape(shape)
