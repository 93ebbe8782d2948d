"""Help texts fit a terminal, and speak of verbs that exist."""

import re

import pytest

from autoresearch.words import HELP, VERBS, WAVE

WIDTH = 100  # columns
COLUMN = 12  # where argparse puts a verb's line


@pytest.mark.parametrize("name", HELP)
def test_a_help_text_fits_a_terminal(name: str) -> None:
    assert max(map(len, HELP[name].splitlines())) <= WIDTH


@pytest.mark.parametrize(("name", "line"), [*VERBS.items(), *WAVE.items()])
def test_a_verbs_line_is_one_line(name: str, line: str) -> None:
    assert len(line) + COLUMN <= WIDTH
    assert not line.endswith(".")


def test_every_verb_that_a_help_text_names_exists() -> None:
    named = {word for text in HELP.values() for word in re.findall(r"`(\w+)[ `]", text)}
    assert named & set(VERBS)
    assert named - set(VERBS) <= {"autoresearch", "champion", "baseline", "source"}
