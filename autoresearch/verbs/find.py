"""What the reading verbs share: a campaign as it stands, and what a user names in it."""

from dataclasses import dataclass
from pathlib import Path

from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate, State, plural
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.names import named
from autoresearch.opening import effective, existing
from autoresearch.settings import Settings
from autoresearch.sources import Sources


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


def entry(history: History, name: str) -> Entry:
    """The experiment of this name, or the first of the candidate of this name."""
    found = named(history, name)
    return found if isinstance(found, Entry) else first(history, found)


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
    return plural(running_count(history), "experiment")


def running_count(history: History) -> int:
    return sum(entry.state is State.running for entry in history.active.values())
