"""What verbs take: --json everywhere, and every example in a help text is a command."""

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from autoresearch.arguments import parser
from autoresearch.words import HELP, HIDDEN, VERBS, WAVE


def children(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [a for a in of._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def verbs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb for people, and the words of those that have words."""
    for name, verb in children(parser()).items():
        words = children(verb)
        yield from ((f"{name} {word}", inner) for word, inner in words.items())
        if not words and name not in (HIDDEN, "completion"):
            yield name, verb


@pytest.mark.parametrize(("name", "verb"), [*verbs()], ids=lambda value: str(value)[:20])
def test_every_verb_for_people_takes_json(name: str, verb: argparse.ArgumentParser) -> None:
    assert "--json" in {flag for action in verb._actions for flag in action.option_strings}


def test_every_verb_is_in_the_list_and_every_line_of_it_is_a_verb() -> None:
    assert set(children(parser())) == {*VERBS, HIDDEN}
    assert set(children(children(parser())["wave"])) == set(WAVE)


@pytest.mark.parametrize("name", HELP)
def test_the_examples_of_a_help_text_are_commands(name: str) -> None:
    examples = re.findall(r"(?m)^  (?:\S+ \* \* \* \*  )?autoresearch (.*)$", HELP[name])
    assert examples
    for example in examples:
        words = shlex.split(example.split("    ")[0])
        assert parser().parse_args(words).verb == name.split(maxsplit=1)[0]
        assert words[: len(name.split())] == name.split() or name == "wave"


def test_every_verb_for_people_has_examples() -> None:
    assert set(HELP) == {*dict(verbs()), "wave"}


def test_a_program_is_the_champions_unless_another_is_named() -> None:
    assert parser().parse_args(["source", "c"]).name == "champion"
    assert parser().parse_args(["effects", "c"]).program == "champion"
