"""The exception tree is as drawn, and an unknown word gets the nearest known one."""

import inspect
import re

import pytest

from autoresearch import errors
from autoresearch.errors import AutoresearchError, UserError, nearest


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    classes = {
        name: member
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, AutoresearchError)
    }
    drawn = re.findall(r"^    ([│ ]*)[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name in drawn} == set(classes) - {"AutoresearchError"}
    for bars, name in drawn:
        assert classes[name].__bases__ == (UserError if "│" in bars else AutoresearchError,)


@pytest.mark.parametrize(
    ("wrong", "valid", "ending"),
    [
        ("matrix_rl", ["matrix_lr", "depth"], "did you mean 'matrix_lr'?"),
        ("zzz", ["depth", "batch"], "choose one of: batch, depth"),
        ("zzz", [], "there is nothing to choose from"),
    ],
)
def test_the_nearest_word_is_offered(wrong: str, valid: list[str], ending: str) -> None:
    assert nearest(wrong, valid) == ending
    assert nearest(wrong, iter(valid)) == ending
