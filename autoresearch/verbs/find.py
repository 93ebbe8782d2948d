"""What the reading verbs share: a campaign as it stands, and what a user names in it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate, State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.opening import effective, existing
from autoresearch.settings import Settings
from autoresearch.sources import Sources

ROLES = {"baseline", "champion"}
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Campaign:
    """A campaign that is only read."""

    layout: Layout
    settings: Settings
    history: History
    sources: Sources


def read(directory: str) -> Campaign:
    """Raises CampaignError if there is no campaign, or it has not begun."""
    layout = existing(Path(directory))
    history = History.of(replay(layout.journal).events)
    if not history.started:
        raise CampaignError(
            f"{layout.root} should have begun, but was interrupted before; "
            f"`autoresearch resume {layout.root}` begins it"
        )
    return Campaign(layout, effective(layout), history, Sources(layout.sources))


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


def entry(history: History, name: str) -> Entry:
    """The experiment of this name, or the first of the candidate of this name."""
    found = named(history, name)
    return found if isinstance(found, Entry) else first(history, found)


def candidate(history: History, name: str) -> Candidate:
    """The candidate of this name, or that of the experiment of this name."""
    found = named(history, name)
    return found.experiment.candidate if isinstance(found, Entry) else found


def first(history: History, candidate: Candidate) -> Entry:
    """A candidate's first experiment in the first tier that has one; one with a score, if any has.

    Raises CampaignError if there is none yet.
    """
    for tier in history.tiers:
        if found := list(history.of_candidate(candidate, tier)):
            return min(found, key=lambda entry: (entry.bpb is None, entry.order))
    raise CampaignError(
        f"candidate {candidate.key} should have an experiment, but none has been asked for yet; "
        "wait for the controller"
    )


def is_champion(history: History, candidate: Candidate) -> bool:
    """Whether it reigns, under the key it was proposed with or the one it has since it is baked."""
    champion = history.champion.key
    return candidate.key in (champion, history.born.get(champion))


def running(history: History) -> str:
    """How many experiments run now, in words."""
    count = sum(entry.state is State.running for entry in history.active.values())
    return f"{count} experiment{'s' * (count != 1)}"
