"""`Settings` ↔ the text of a campaign's `config.yaml`, exactly."""

import yaml

from autoresearch import __version__
from autoresearch.config.grammar import one_line
from autoresearch.config.reader import plain, read
from autoresearch.errors import ConfigError
from autoresearch.settings import Settings

HEADER = f"""\
# The settings of one campaign, complete. Written by autoresearch {__version__}.
# A campaign keeps the settings of its start: `autoresearch resume DIR key=value` records a change
# in the journal. Domains are in Hydra's sweep grammar.
"""


def to_yaml(settings: Settings) -> str:
    values = plain(settings)
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    if yaml.safe_load(body) != values:  # PyYAML loses a few control characters unless escaped
        body = yaml.safe_dump(values, sort_keys=False)
    return f"{HEADER}{body}"


def from_yaml(text: str | bytes) -> Settings:
    """The inverse of `to_yaml`, also of the bytes in a file. Raises ConfigError."""
    try:
        return read(Settings, yaml.safe_load(text))
    except RecursionError:
        raise ConfigError("config.yaml should hold settings, but is nested too deeply") from None
    except (yaml.YAMLError, ValueError, AttributeError) as error:  # 2026-13-01 is a ValueError
        raise ConfigError(f"config.yaml should be YAML, but: {one_line(error)}") from None
