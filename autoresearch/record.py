"""A campaign's journal and history kept in step: what is recorded is what is known."""

from dataclasses import dataclass

from autoresearch.experiment import Json
from autoresearch.history import History
from autoresearch.journal import Journal


@dataclass(frozen=True)
class Record:
    """The one way to make something so: write it down, then know it."""

    journal: Journal
    history: History

    @property
    def events(self) -> int:
        """How many there are."""
        return self.journal.end.n

    def append(self, *events: Json) -> None:
        """Raises CampaignError on a full disk (nothing is recorded), TakenOver if superseded."""
        for event in self.journal.append(*events):
            self.history.apply(event)
