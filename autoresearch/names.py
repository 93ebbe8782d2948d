"""What people, and programs that drive a campaign, call its experiments and candidates."""

import difflib
from collections.abc import Iterable

from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate
from autoresearch.history import History

ROLES = {"baseline", "champion"}
SHOWN = 5  # names in a message


def named(history: History, name: str) -> Entry | Candidate:
    """What `name` stands for: `champion`, `baseline`, or the start of an id or a candidate's key.

    Raises CampaignError unless it is one thing.
    """
    known = names(history)
    found = [name] if name in ROLES else begin_with(name, known.keys() - ROLES)
    if len(found) == 1:
        return known[found[0]]
    if found:
        some = ", ".join(found[:SHOWN]) + ", ..." * (len(found) > SHOWN)
        problem = f"{len(found)} begin so: {some}; give more of one"
    elif close := difflib.get_close_matches(name, known, n=1):
        problem = f"there is none; did you mean '{close[0]}'?"
    else:
        problem = "there is none; take one from report/results.tsv, or `champion` or `baseline`"
    raise CampaignError(f"there should be one experiment or candidate '{name}', but {problem}")


def begin_with(start: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(start))


def names(history: History) -> dict[str, Entry | Candidate]:
    """Everything that can be named, by its full name."""
    roles = {"champion": history.champion, "baseline": history.baseline}
    tried = [entry.experiment.candidate for entry in history.entries.values()]
    candidates = {candidate.key: candidate for candidate in (*roles.values(), *tried)}
    return {**roles, **candidates, **history.entries}


def candidate_named(history: History, name: str) -> Candidate:
    """The candidate of this name, or that of the experiment of this name.

    Raises CampaignError unless it is one thing.
    """
    found = named(history, name)
    return found.experiment.candidate if isinstance(found, Entry) else found
