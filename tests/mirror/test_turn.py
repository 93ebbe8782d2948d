"""Whose turn it is to send: real processes, some of them killed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from autoresearch.mirror.turn import Busy, turn
from autoresearch.process import Identity

HOLD = """
import sys, time
from pathlib import Path
from autoresearch.mirror.turn import Busy, turn
try:
    with turn(Path(sys.argv[1])):
        print("mine", flush=True)
        sys.stdin.read()
except Busy:
    print("busy", flush=True)
"""


def hold(path: Path) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control" / "sending.json"


@pytest.fixture
def other(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the turn."""
    process = hold(path)
    assert process.stdout
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_is_at_it(path: Path, other: "subprocess.Popen[str]") -> None:
    who = rf"one process at a time .* process {other.pid} on .* is at it"
    with pytest.raises(Busy, match=who), turn(path):
        pytest.fail("two at once")


def test_the_turn_passes_on(path: Path, other: "subprocess.Popen[str]") -> None:
    other.communicate("", timeout=30)
    assert not path.exists()
    with turn(path):
        assert json.loads(path.read_text()) == asdict(Identity.mine())
    assert not list(path.parent.iterdir())


def test_who_was_killed_holds_up_nobody(path: Path, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait()
    assert path.exists()
    with turn(path):
        assert json.loads(path.read_text()) == asdict(Identity.mine())


def test_of_many_that_find_it_left_behind_one_takes_it(path: Path) -> None:
    gone = subprocess.Popen(["true"])
    left = Identity.of(gone.pid) or Identity.mine()
    gone.wait()
    path.parent.mkdir()
    path.write_text(json.dumps(asdict(left) | {"pid": gone.pid, "start_ticks": 1}))
    all_at_once = [hold(path) for _ in range(4)]
    said = [process.stdout.readline() for process in all_at_once if process.stdout]
    for process in all_at_once:
        process.communicate("", timeout=30)
    assert said.count("mine\n") == 1, said
    assert said.count("busy\n") == 3


def test_who_has_been_taken_over_stops(path: Path) -> None:
    with turn(path) as mine:
        mine.hold()
        path.write_text(json.dumps(asdict(Identity.mine()) | {"host": "elsewhere"}))
        mine.hold()  # not due: it does not look each time
        mine.renewed = time.monotonic() - 60
        with pytest.raises(Busy, match="on elsewhere is at it"):
            mine.hold()
    assert path.exists(), "it is another's"
