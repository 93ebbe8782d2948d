"""Slurm sites as text: `testbed` as its own Slurm 22.05 printed it; `campus` composed, in 24.05's
forms, of everything that is hard to read.
"""

from pathlib import Path

from autoresearch.cluster.site import Site
from autoresearch.cluster.survey import Answers, site_of

FOLDER = Path(__file__).parent / "cluster" / "recorded"
PARTS = ("config", "partitions", "nodes", "user", "associations", "accounts", "qos")


def answers(name: str) -> dict[str, str]:
    return {part: (FOLDER / name / f"{part}.txt").read_text() for part in PARTS}


def recorded(name: str, **changed: str) -> Site:
    """The site, with some of its answers changed."""
    return site_of(Answers(**answers(name) | changed), "ada")
