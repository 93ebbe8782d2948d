"""A campaign directory of its own for every test that asks for one."""

from pathlib import Path

import pytest
from nodes import Campaign

from autoresearch.layout import Layout


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    made = Campaign(Layout(tmp_path / "campaign"))
    made.freeze()
    return made
