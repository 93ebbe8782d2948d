"""Promise 1, under fire: SIGKILL of anything at any moment, then resume; nothing is lost."""

from pathlib import Path

import pytest
from bigram import write_task
from chaos import Siege, violations

SLOW = pytest.mark.slow


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=SLOW), pytest.param(3, marks=SLOW)])
def test_a_campaign_survives_the_kill_of_anything_at_any_moment(tmp_path: Path, seed: int) -> None:
    write_task(tmp_path)
    siege = Siege(tmp_path, seed, experiments=48)  # more than a fast machine runs meanwhile
    siege.attack(kills=20, pause=1.0)
    history = siege.finish()
    assert siege.kills.total() >= 20, siege.kills
    assert not siege.complaints
    assert list(violations(siege.layout, siege.experiments)) == []
    assert history.ended
    assert len(history.waves) >= 2
    assert any(entry.bpb is not None for entry in history.entries.values())
