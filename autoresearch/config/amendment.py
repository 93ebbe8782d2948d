"""What `resume DIR key=value` may change: how much is spent, not what numbers mean."""

from collections.abc import Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from types import NoneType
from typing import Any

from autoresearch.config.checks import check_ranges
from autoresearch.config.composition import apply, compose_plain, conf_folders
from autoresearch.config.grammar import parse_override, scalar_text
from autoresearch.config.machine import resolve_cluster
from autoresearch.config.reader import plain, read, suggestion
from autoresearch.errors import ConfigError
from autoresearch.experiment import Json
from autoresearch.settings import Settings

AMENDABLE = (
    "budget.*",
    "planner.*",
    "claude.*",
    "tracker.*",
    "pilot.*",
    "search.wave",
    "task.limits.*",
    "task.inspection",
    "cluster.tiers.*.pilots",
    "cluster.tiers.*.price",
    "cluster.tiers.*.partitions",
    "cluster.tiers.*.memory_gb",
    "cluster.tiers.*.qos",
    "cluster.tiers.*.constraint",
    "cluster.account",
    "cluster.qos",
    "cluster.constraint",
    "cluster.exclude",
    "cluster.exclude_after",
    "cluster.setup",
    "cluster.python",
    "cluster.options.*",
    "cluster.max_jobs",
    "cluster.max_array",
    "cluster.poll_seconds",
    "cluster.poll_limit",
    "cluster.file_seconds",
)
GROUPS = ("budget", "planner", "claude", "tracker")  # may be chosen anew as a whole: planner=greedy

REASONS = {
    "judge": "the error rate and its seeds were promised at the start",
    "task": "numbers from before and after would not be comparable, or their record of one kind",
    "search": "what has been proposed and promoted so far rests on it",
    "cluster": "numbers from before and after would not be of one cell, or not equally protected",
    "seed": "all seeds of the campaign derive from it",
    "name": "it names the campaign",
    "dir": "it is where the campaign lies",
}

Changes = dict[str, tuple[object, object]]  # key: (old, new); None where there is no value


def amend(settings: Settings, overrides: Sequence[str]) -> tuple[Settings, Changes]:
    """Changed settings of a campaign under way, and what changed. Raises ConfigError."""
    values: Json = plain(settings)
    for text in overrides:
        override = parse_override(text.lstrip("+"))  # nothing can be added
        key = override.key_or_group
        check_amendable(key)
        if key in GROUPS and isinstance(override.value(), str):
            values[key] = compose_plain([text], conf_folders())[key]
        else:
            apply(values, override)
    amended = read(Settings, values)
    check_ranges(amended)
    amended = replace(amended, cluster=resolve_cluster(amended.cluster, amended.task.limits))
    return amended, changes(settings, amended)


def is_amendable(key: str) -> bool:
    return key in GROUPS or any(fnmatchcase(key, pattern) for pattern in AMENDABLE)


def check_amendable(key: str) -> None:
    """Raises ConfigError, which says why not."""
    top = key.partition(".")[0]
    names = [field.name for field in fields(Settings)]
    if top not in names:
        raise ConfigError(f"there is no key '{key}'; {suggestion('', top, names)}")
    if not is_amendable(key):
        reason = REASONS.get(top, "it holds several values; change one of them")
        raise ConfigError(
            f"{key} should stay as it was at the start: {reason}. Start another campaign, or "
            f"change what may change: {', '.join(shown())}"
        )


def shown() -> list[str]:
    """What may change, short enough for a message."""
    outside = [pattern for pattern in AMENDABLE if not pattern.startswith("cluster.")]
    return [*outside, "cluster.* where it decides no number (partitions, pilots, account, …)"]


def as_overrides(changes: Changes) -> list[str]:
    """Changes as overrides of single values: a record that no later edit of conf/ can alter."""
    return [
        f"~{key}" if new is None else f"{key}={value_text(new)}"
        for key, (_, new) in changes.items()
        if isinstance(new, (bool, int, float, str, list, NoneType))
    ]


def value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(scalar_text, value))}]"
    return scalar_text(value)


def changes(old: Settings, new: Settings) -> Changes:
    before, after = flat(plain(old)), flat(plain(new))
    return {
        key: (before.get(key), after.get(key))
        for key in before | after
        if before.get(key) != after.get(key)
    }


def flat(values: Json, prefix: str = "") -> Json:
    """Nested names with values → dotted names with values."""
    leaves: Json = {}
    for name, value in values.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        leaves |= {f"{prefix}{name}": value} if inner is None else inner
    return leaves
