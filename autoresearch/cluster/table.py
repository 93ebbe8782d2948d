"""The one table of clusters."""

from collections.abc import Callable

from autoresearch.cluster.interface import Cluster
from autoresearch.cluster.local import LocalCluster
from autoresearch.cluster.slurm import SlurmCluster
from autoresearch.errors import ConfigError, nearest
from autoresearch.layout import Layout
from autoresearch.settings import Cluster as ClusterSettings

CLUSTERS: dict[str, Callable[[Layout, ClusterSettings], Cluster]] = {
    "local": LocalCluster,
    "slurm": SlurmCluster,
}


def connect(layout: Layout, settings: ClusterSettings) -> Cluster:
    """The cluster a campaign runs on. Raises ConfigError if there is no such kind."""
    if settings.kind not in CLUSTERS:
        hint = nearest(settings.kind, CLUSTERS)
        raise ConfigError(f"there is no cluster.kind '{settings.kind}'; {hint}")
    return CLUSTERS[settings.kind](layout, settings)
