"""Two controllers at once are impossible; a dead one does not block the next."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autoresearch.errors import CampaignError
from autoresearch.lease import STALE_SECONDS, acquire, holder, is_held
from autoresearch.process import Identity

HOLD = """
import sys
from pathlib import Path
from autoresearch.lease import acquire
acquire(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_a_second_controller_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "control" / "controller.json"
    path.parent.mkdir()
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdin is not None
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(CampaignError, match=f"process {first.pid} on .* is at work") as refused:
        acquire(path)
    assert f"`autoresearch stop {tmp_path}`" in str(refused.value)
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    lease = acquire(path)
    assert holder(path) == Identity.mine()
    lease.release()
    assert not path.exists()


def test_a_holder_on_another_host_counts_until_it_has_been_silent(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    elsewhere = replace(Identity.mine(), host="login2")
    path.write_text(json.dumps(asdict(elsewhere)), encoding="utf-8")
    assert is_held(path)
    before = time.time() - STALE_SECONDS - 5
    os.utime(path, (before, before))
    assert not is_held(path)


def test_a_lease_from_the_future_or_gone_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    elsewhere = replace(Identity.mine(), host="login2")
    path.write_text(json.dumps(asdict(elsewhere)), encoding="utf-8")
    os.utime(path, (4e9, 4e9))
    assert not is_held(path)
    path.unlink()
    assert not is_held(path)


def test_release_leaves_another_ones_lease_alone(tmp_path: Path) -> None:
    path = tmp_path / "controller.json"
    lease = acquire(path)
    other = replace(Identity.mine(), host="login2")
    path.write_text(json.dumps(asdict(other)), encoding="utf-8")
    lease.release()
    assert holder(path) == other


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}'])
def test_an_unreadable_lease_holds_nobody_up(tmp_path: Path, text: str) -> None:
    path = tmp_path / "controller.json"
    path.write_text(text, encoding="utf-8")
    assert not is_held(path)
