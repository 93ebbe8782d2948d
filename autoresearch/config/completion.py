"""What may come next on a command line; `autoresearch completion` prints the scripts that ask.

An empty answer leaves the word to the shell, which then completes file names.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from autoresearch.config.amendment import GROUPS, flat, is_amendable
from autoresearch.config.composition import DATA, Groups, compose_plain, conf_folders, in_full
from autoresearch.config.reader import plain, read
from autoresearch.config.text import from_yaml
from autoresearch.errors import ConfigError
from autoresearch.experiment import Json
from autoresearch.layout import Layout
from autoresearch.settings import Settings

VERBS: dict[str, tuple[str, ...]] = {  # and what may follow that is no setting
    "run": ("--cfg", "--continue", "--json", "--leave"),
    "prepare": ("--download", "--force", "--json", "--partition", "--slurm"),
    "probe": ("--force", "--json", "--print"),
    "doctor": ("--json", "--minutes"),
    "resume": ("--json",),
    "status": ("--json",),
    "show": ("--json",),
    "diff": ("--json",),
    "source": ("--json", "--output", "-o"),
    "effects": ("--json", "--program"),
    "notebook": ("--add", "--json"),
    "report": ("--json", "--wandb"),
    "verify": ("--json",),
    "step": ("--json",),
    "stop": ("--json", "--now"),
    "replay": ("--json", "--score-only"),
    "promote": ("--json",),
    "wave": ("done", "submit", "template"),
    "sync": ("--json",),
    "completion": ("bash", "zsh", "fish"),
}

WAVE: dict[str, tuple[str, ...]] = {  # the same of its words
    "done": ("--json",),
    "submit": ("--check", "--json"),
    "template": ("--json",),
}

SIMPLE = r"[\w./:-]+"  # what needs no quotes in any shell


def complete(words: Sequence[str]) -> list[str]:
    """Candidates for the last of `words`, which follow the program's name."""
    *before, word = joined(words) or [""]
    return sorted(found for found in candidates(before, word) if found.startswith(word))


def joined(words: Sequence[str]) -> list[str]:
    """The words as the user sees them: bash takes `planner=ba` for three."""
    whole: list[str] = []
    for word in words:
        if whole and (word.startswith("=") or whole[-1].endswith("=")) and word:
            whole[-1] += word
        else:
            whole.append(word)
    return whole


def candidates(before: Sequence[str], word: str) -> list[str]:
    if not before:
        return list(VERBS)
    verb, *rest = before
    if rest and rest[-1] == "--cfg":
        return ["job"]
    if verb in ("completion", "wave") or word.startswith("-"):
        return own_words(verb, rest, word)
    if verb == "resume" and rest:
        return overrides(word, list(GROUPS), amendable(rest[0]))
    if verb in ("run", "prepare", "doctor"):
        known = with_short_names(rest) if verb == "prepare" else settable(rest)
        return overrides(word, Groups(conf_folders()).names, known)
    return []


def own_words(verb: str, rest: Sequence[str], word: str) -> list[str]:
    """Options of a verb, or the words that it is followed by."""
    if verb == "wave" and rest:
        return list(WAVE.get(rest[0], ())) if word.startswith("-") else []
    return list(VERBS.get(verb, ()))


def with_short_names(chosen: Sequence[str]) -> Json:
    """All settings, those of task.data without their prefix too."""
    known = settable(in_full(chosen))
    return known | {k.removeprefix(DATA): v for k, v in known.items() if k.startswith(DATA)}


def amendable(directory: str) -> Json:
    """The settings of a campaign that may change, by their dotted names."""
    try:
        text = Layout(Path(directory)).config.read_text(encoding="utf-8")
        settings = flat(plain(from_yaml(text)))
    except (OSError, UnicodeDecodeError, ConfigError):
        return {}
    return {key: value for key, value in settings.items() if is_amendable(key)}


def settable(chosen: Sequence[str]) -> Json:
    """All settings by their dotted names, as what has been typed so far would make them."""
    for overrides_so_far in (chosen, []):  # a mistake in them is none in what follows
        try:
            settings = read(Settings, compose_plain(overrides_so_far, conf_folders()))
        except ConfigError:
            continue
        searched = {f"task.params.{name}": "" for name in settings.search.space}
        return flat(plain(settings)) | searched
    return {}


def overrides(word: str, groups: list[str], settings: Json) -> list[str]:
    """Groups and keys up to their next dot; after `=` a group's options or the present value."""
    sign = word[:1] if word[:1] in ("+", "~") else ""
    word = word.removeprefix(sign)
    key, equals, _ = word.partition("=")
    if equals and key in groups:
        options = Groups(conf_folders()).options(key)
        return [f"{sign}{key}={option}" for option in options]
    if equals:
        value = str(settings.get(key))
        return [f"{sign}{key}={value}"] if key in settings and re.fullmatch(SIMPLE, value) else []
    return [
        *(f"{sign}{group}=" for group in groups),
        *{f"{sign}{next_part(name, word)}" for name in settings if name.startswith(word)},
    ]


def next_part(key: str, word: str) -> str:
    end = key.find(".", len(word))
    return f"{key}=" if end < 0 else key[: end + 1]
