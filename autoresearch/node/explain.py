"""What ended a program, in its own process: the failure's name, and one line that says where."""

import traceback
from pathlib import Path
from types import TracebackType

from autoresearch.errors import ConfigError
from autoresearch.experiment import Failure

PROGRAM = "train.py"
NO_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory")


class Diverged(ArithmeticError):  # noqa: N818 - it reports a fact, not a fault
    """The loss or the weights are no longer finite."""


def explain(error: BaseException, trace: TracebackType | None, path: Path) -> tuple[Failure, str]:
    """The failure's name and one line: where in train.py, and what."""
    text = f"{kind(error)}: {error}".split("\n")[0].rstrip(": ")
    is_memory = isinstance(error, MemoryError) or kind(error) == "OutOfMemoryError"  # torch's
    if is_memory or any(words in str(error) for words in NO_MEMORY):
        return Failure.out_of_memory, text
    if isinstance(error, (Diverged, FloatingPointError)):
        return Failure.diverged, str(error)
    if isinstance(error, ConfigError):
        return Failure.crashed, str(error)
    line = line_of(error, trace, path)
    return Failure.crashed, f"{PROGRAM} line {line}: {text}" if line else text


def line_of(error: BaseException, trace: TracebackType | None, path: Path) -> int | None:
    """The innermost line of train.py that takes part in an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(trace)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None


def kind(value: object) -> str:
    return type(value).__name__
