"""Every error this project raises on purpose, drawn as a tree.

    AutoresearchError
    ├── UserError             what a user can cause and mend: one clear line, exit code 1
    │   ├── ConfigError       an unknown key, a wrong type, a value out of range, an empty space
    │   ├── DataError         missing, damaged or too little data
    │   ├── ClusterError      a cluster that is not there, or refuses what we ask of it
    │   ├── CampaignError     a directory that is no campaign, is in use, or cannot be written
    │   └── SourceError       a train.py that cannot be read, or an edit that does not apply
    ├── RecordError           a journal or result that contradicts itself (never a torn tail)
    └── TakenOver             another controller has taken this campaign over; this one must stop

Facts that one module tells another have a class beside who tells them, and are caught there: in
`claude`, `cluster`, `drafts`, `planning`, and on a compute node in `node`.

A message says what should be, what was, and what to do.
"""

import difflib
from collections.abc import Iterable


class AutoresearchError(Exception):
    """The root of the tree: never raised itself."""


class UserError(AutoresearchError):
    """Something the user can mend. Shown as one line, without a traceback."""


class ConfigError(UserError):
    """Settings that cannot be used."""


class DataError(UserError):
    """Prepared data that is missing, damaged or too small."""


class ClusterError(UserError):
    """A cluster that is not there, or that refuses what we ask of it."""


class CampaignError(UserError):
    """A campaign directory that cannot be used as asked."""


class SourceError(UserError):
    """A program text that cannot be used."""


class RecordError(AutoresearchError):
    """A record that contradicts itself."""


class TakenOver(AutoresearchError):  # noqa: N818 - it reports a fact, not a fault
    """A newer controller owns the campaign: stop without writing anything more."""


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """How a message ends that names an unknown word: the closest valid one, or all of them."""
    choices = sorted(valid)
    close = difflib.get_close_matches(wrong, choices, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"choose one of: {', '.join(choices)}" if choices else "there is nothing to choose from"
