"""`autoresearch wave`: experiments that somebody outside the planners proposes.

Each of the words that may follow it is a function here.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from autoresearch import strict
from autoresearch.drafts import Unusable, few
from autoresearch.errors import ConfigError
from autoresearch.experiment import Wave, plural
from autoresearch.inspection import remarked
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer
from autoresearch.verbs.submission import check, next_step, submit
from autoresearch.verbs.template import template


def main(options: argparse.Namespace) -> int:
    return WORDS[options.word](options, find.read(options.directory))


def print_template(_options: argparse.Namespace, campaign: find.Campaign) -> int:
    """With or without --json: a wave is JSON."""
    answer(template(campaign))
    return 0


def hand_in(options: argparse.Namespace, campaign: find.Campaign) -> int:
    draft = read(options.file)
    try:
        if options.check:
            return approve(options, check(campaign, draft))
        return tell(options, campaign, draft)
    except Unusable as error:
        return refuse(options, error.problems)


def finish(options: argparse.Namespace, campaign: find.Campaign) -> int:
    return tell(options, campaign, {"done": True})


WORDS: dict[str, Callable[[argparse.Namespace, find.Campaign], int]] = {
    "template": print_template,
    "submit": hand_in,
    "done": finish,
}


def read(name: str) -> object:
    """A file, or standard input. Raises ConfigError if it holds no JSON."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return strict.loads(text)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; give the file's name, or - for standard input"
        raise ConfigError(f"{name} should hold a wave, but {problem}") from None
    except (ValueError, RecursionError) as error:
        where = "standard input" if name == "-" else name
        raise ConfigError(f"{where} should hold JSON, but: {error}") from None


def tell(options: argparse.Namespace, campaign: find.Campaign, draft: object) -> int:
    """Submit, and say what comes next."""
    submitted = submit(campaign, draft)
    after = next_step(campaign)
    if options.json:
        answer({**submitted.to_json(), "next": after})
    else:
        print(submitted.text(), after, sep="\n")
    return 0


def approve(options: argparse.Namespace, wave: Wave) -> int:
    remarks = remarked(wave.versions)
    if options.json:
        answer({"ok": True, "problems": [], "remarks": remarks})
    else:
        print(*remarks, f"nothing {'else ' * bool(remarks)}is wrong with this wave", sep="\n")
    return 0


def refuse(options: argparse.Namespace, problems: list[str]) -> int:
    """All that is wrong: one line that sums it up, then a line each."""
    if options.json and options.check:
        answer({"ok": False, "problems": problems})
    count = plural(len(problems), "problem")
    lines = [f"autoresearch: {options.file} has {count}:", *few(problems)]
    print(*lines, sep="\n  ", file=sys.stderr)
    return 1
