"""From `conf/` and a command line to frozen `Settings`, and to the campaign's `config.yaml`.

    grammar      Hydra's override grammar; parameter domains, read and written in it
    composition  conf/ files and overrides → plain values
    reader       plain values → dataclasses; an unknown key or a wrong type is one clear line
    machine      what depends on where we are: paths, cores, GPUs
    checks       ranges, and whether a space fits train.py
    text         Settings ↔ config.yaml, exactly
    amendment    what `resume DIR key=value` may change
    completion   what may come next on a command line

The only importer of hydra and omegaconf. Writes no files; starts nothing but `nvidia-smi -L`.
"""

from collections.abc import Sequence
from pathlib import Path

from autoresearch.config.amendment import amend, as_overrides
from autoresearch.config.checks import check, check_ranges
from autoresearch.config.completion import complete
from autoresearch.config.composition import compose_plain, conf_folders, in_full
from autoresearch.config.machine import resolve
from autoresearch.config.reader import plain, read
from autoresearch.config.text import from_yaml, to_yaml
from autoresearch.experiment import Json
from autoresearch.settings import Settings

__all__ = [
    "amend",
    "as_overrides",
    "check",
    "complete",
    "compose",
    "from_yaml",
    "in_full",
    "preview",
    "preview_json",
    "to_yaml",
]


def compose(overrides: Sequence[str], folders: Sequence[Path] | None = None) -> Settings:
    """The settings that `conf/` and Hydra overrides make, complete for this machine.

    `folders` are searched in order; by default the user's own ./conf, then ours. Raises
    ConfigError, always in one line.
    """
    return resolve(composed(overrides, folders))


def preview(overrides: Sequence[str], folders: Sequence[Path] | None = None) -> str:
    """The same as YAML, before anything is looked up on this machine. Raises ConfigError."""
    return to_yaml(composed(overrides, folders))


def preview_json(overrides: Sequence[str], folders: Sequence[Path] | None = None) -> Json:
    """The same as `preview`, for programs. Raises ConfigError."""
    values: Json = plain(composed(overrides, folders))
    return values


def composed(overrides: Sequence[str], folders: Sequence[Path] | None) -> Settings:
    settings = read(Settings, compose_plain(overrides, folders or conf_folders()))
    check_ranges(settings)
    return settings
