"""What the logger refuses before W&B sees it. Runs that are written: see test_logger."""

from pathlib import Path
from typing import Any

import pytest

from autoresearch.errors import ConfigError, RecordError
from autoresearch.tracking.runs import Logger
from autoresearch.tracking.scratch import Scratch


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": "log", "step": 0, "values": {}},
        {"event": "finish", "summary": {}, "exit_code": 0},
        {"event": "start", "run": {"campaign": "night"}, "dir": "/c", "tracker": {"kind": "wandb"}},
        {"event": "start", "run": {}, "dir": "/c", "tracker": {"colour": "blue"}},
    ],
)
def test_an_event_that_is_incomplete_or_out_of_order_is_refused(
    event: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match="should be complete and in order"):
        Logger(Scratch(tmp_path, -1)).take(event)


def test_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="event 'begin' should be start, log or finish"):
        Logger(Scratch(tmp_path, -1)).take({"event": "begin"})


def test_only_wandb_is_a_tracker_of_runs(tmp_path: Path) -> None:
    start = {"event": "start", "run": {}, "dir": "/c", "tracker": {"kind": "files"}}
    with pytest.raises(ConfigError, match="should get tracker 'wandb', but got files"):
        Logger(Scratch(tmp_path, -1)).take(start)
