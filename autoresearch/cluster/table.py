"""The one table of clusters."""

from autoresearch.cluster.interface import Cluster
from autoresearch.cluster.local import LocalCluster
from autoresearch.errors import ConfigError, nearest
from autoresearch.layout import Layout
from autoresearch.settings import Cluster as ClusterSettings

CLUSTERS = {"local": LocalCluster}


def connect(layout: Layout, settings: ClusterSettings) -> Cluster:
    """The cluster a campaign runs on. Raises ConfigError if there is no such kind."""
    if settings.kind not in CLUSTERS:
        hint = nearest(settings.kind, CLUSTERS)
        raise ConfigError(f"there is no cluster.kind '{settings.kind}'; {hint}")
    return CLUSTERS[settings.kind](layout, settings.tiers)
