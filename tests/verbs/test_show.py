"""Everything about one experiment, as people read it."""

from pathlib import Path

import pytest
from outside import begin, say


def test_what_is_not_there_is_a_dash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = begin(tmp_path / "c")
    said = say(capsys, "show", campaign.root, "baseline")[0].splitlines()
    shown = {name: rest for name, *rest in map(str.split, filter(None, said))}
    assert shown["expected"] == ["-"]
    assert shown["state"] == ["finished"]
