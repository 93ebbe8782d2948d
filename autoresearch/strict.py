"""JSON that others have written, its numbers such that every reader can hold them.

Python reads more than JSON has (NaN, infinities) and more than others can read (4,000 digits).
"""

import json
import math

BEYOND = 2**64  # no whole number reaches it
LONGEST = len(str(-BEYOND))  # characters of a whole number


def loads(text: str | bytes) -> object:
    """Raises ValueError for what is no JSON, or holds such a number; RecursionError if nested too
    deeply."""
    found: object = json.loads(text, parse_constant=no_number, parse_float=finite, parse_int=whole)
    return found


def no_number(word: str) -> float:
    raise ValueError(f"{word:.40} is no finite number")


def finite(word: str) -> float:
    return value if math.isfinite(value := float(word)) else no_number(word)


def whole(word: str) -> int:
    if len(word) > LONGEST or abs(value := int(word)) >= BEYOND:
        raise ValueError(f"{word[:LONGEST]}… is too large: a whole number should be below 2**64")
    return value
