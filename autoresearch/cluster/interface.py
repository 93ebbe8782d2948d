"""What every cluster can do. A cluster knows pilots by name and nothing about experiments."""

from collections.abc import Collection, Sequence
from typing import Protocol

from autoresearch.experiment import Json


class Cluster(Protocol):
    """Starts pilots, says which of them are gone, and ends them."""

    def submit(self, tier: str, names: Sequence[str]) -> dict[str, Json]:
        """Start one pilot per name; return by name what is needed to find it again.

        Raises UserError if the cluster refuses.
        """
        ...

    def gone(self, jobs: dict[str, Json]) -> Collection[str]:
        """Which of these pilots are certainly over: they will never write anything again."""
        ...

    def cancel(self, jobs: dict[str, Json]) -> None:
        """Tell pilots to end now; what they run is recorded as preempted."""
        ...
