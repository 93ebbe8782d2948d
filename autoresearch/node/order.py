"""Which rows of the training tokens come when."""

import numpy as np
from numpy.typing import NDArray

from autoresearch.errors import ConfigError


class Order:
    """Rows of training tokens in an order that depends on the seed alone, epoch after epoch."""

    def __init__(self, tokens: NDArray[np.uint16], context: int, seed: int) -> None:
        self.tokens = tokens
        self.context = context
        self.rows = (len(tokens) - 1) // context
        if self.rows < 1:
            raise ConfigError(
                f"the training split should hold more than {context} tokens, but has {len(tokens)}"
            )
        self.seed = seed
        self.epoch = 0
        self.ahead = np.empty(0, dtype=np.intp)

    def take(self, count: int) -> NDArray[np.int64]:
        """(count, context + 1) the next rows."""
        while len(self.ahead) < count:
            shuffled = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)
            self.ahead = np.concatenate([self.ahead, shuffled])
            self.epoch += 1
        rows, self.ahead = self.ahead[:count], self.ahead[count:]
        places = rows[:, None] * self.context + np.arange(self.context + 1)
        taken: NDArray[np.int64] = self.tokens[places].astype(np.int64)
        return taken
