"""What nodes are told: frozen code reads what newer code writes, and the other way round."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from autoresearch.settings import Limits, NodeSettings, Pilot, Scoring, Tier, Tracker

SETTINGS = NodeSettings("c", "/data", {"a": Tier()}, Scoring(), Limits(), Pilot(), Tracker())


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """As a campaign has it that began before some settings existed."""
    path = tmp_path / "settings.json"
    SETTINGS.write(path)
    record = json.loads(path.read_text())
    del record["keep_checkpoint"], record["limits"]["processes"], record["tiers"]["a"]["price"]
    path.write_text(json.dumps(record))
    return path


def test_all_is_read_as_it_was_written(tmp_path: Path) -> None:
    SETTINGS.write(tmp_path / "new.json")
    read = NodeSettings.read(tmp_path / "new.json")
    assert json.dumps(asdict(read)) == json.dumps(asdict(SETTINGS))


def test_frozen_code_is_told_only_what_it_knows(older: Path, tmp_path: Path) -> None:
    known = json.loads(older.read_text())
    amended = NodeSettings(**{**vars(SETTINGS), "limits": Limits(memory_gb=3)})
    amended.write(older)
    amended.write(tmp_path / "replay.json", older)
    for path in (older, tmp_path / "replay.json"):
        record = json.loads(path.read_text())
        assert record == {**known, "limits": {**known["limits"], "memory_gb": 3}}
    assert NodeSettings.read(older).limits == Limits(memory_gb=3)
    assert asdict(NodeSettings.read(older))["keep_checkpoint"] == "none"
