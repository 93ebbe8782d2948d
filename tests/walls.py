"""Tests that put programs behind bubblewrap are skipped where it cannot be had."""

import pytest

from autoresearch.node import sandbox


def needs_bubblewrap(kind: str = sandbox.BUBBLEWRAP) -> None:
    """Skip, unless `kind` of sandbox is none at all."""
    if kind != sandbox.NONE and (problem := sandbox.problem()):
        pytest.skip(f"needs bubblewrap, but {problem}: ./scripts/test --slurm")
