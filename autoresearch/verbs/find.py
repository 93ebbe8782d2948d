"""What the reading verbs share: a campaign as it stands, and experiments by the start of an id."""

from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import CampaignError, nearest
from autoresearch.experiment import Candidate
from autoresearch.history import Entry, History
from autoresearch.journal import replay
from autoresearch.layout import Layout
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
    """The experiment whose id begins with `name`. Raises CampaignError if that is not one."""
    found = [key for key in history.entries if key.startswith(name)]
    if len(found) != 1:
        problem = "several begin so" if found else nearest(name, history.entries)
        raise CampaignError(f"there should be one experiment '{name}', but {problem}")
    return history.entries[found[0]]


def candidate(history: History, name: str) -> Candidate:
    """`baseline`, `champion`, or the candidate of an experiment."""
    if name in ("baseline", "champion"):
        chosen: Candidate = getattr(history, name)
        return chosen
    return entry(history, name).experiment.candidate
