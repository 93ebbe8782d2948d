"""How people end a campaign: Ctrl-C once, twice, SIGTERM; and a second controller must wait."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from bigram import write_task
from chaos import Siege
from rich.console import Console

from autoresearch.experiment import State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.report.live import Progress
from autoresearch.verbs.attend import Screen

PILOTS = 2  # of a siege


@pytest.fixture
def siege(tmp_path: Path) -> Iterator[Siege]:
    """A campaign under way: at least one experiment is running."""
    write_task(tmp_path)
    siege = Siege(tmp_path, 0, experiments=60)
    siege.start()
    wait_for(lambda: running(siege))
    yield siege
    for pid, name in list(siege.processes()):
        siege.kill(pid, name)
    if siege.controller is not None:
        siege.controller.wait()


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def history(siege: Siege) -> History:
    return History.of(replay(siege.layout.journal).events)


def running(siege: Siege) -> list[str]:
    entries = history(siege).active.values()
    return [entry.experiment.id for entry in entries if entry.state is State.running]


def end(siege: Siege) -> int:
    assert siege.controller is not None
    return siege.controller.wait(timeout=120)


def interrupt(siege: Siege) -> None:
    assert siege.controller is not None
    siege.controller.send_signal(signal.SIGINT)


def log(siege: Siege) -> str:
    return (siege.root / "controller.log").read_text(encoding="utf-8")


def said(siege: Siege, *words: str) -> str:
    command = [sys.executable, "-P", "-m", "autoresearch", *words]
    return subprocess.run(
        command, cwd=siege.root, capture_output=True, text=True, check=True
    ).stdout


def test_ctrl_c_once_finishes_what_runs_and_resume_goes_on(siege: Siege) -> None:
    wait_for(lambda: running(siege) and history(siege).waiting("cpu") > PILOTS)
    interrupt(siege)
    wait_for(lambda: "Ctrl-C again ends them now" in log(siege))
    assert end(siege) == 0
    stopped = history(siege)
    assert stopped.ended == "stopped by Ctrl-C"
    assert not running(siege)
    assert not stopped.retries  # nothing that ran was cut short
    assert stopped.active  # and what waited still waits
    siege.start()
    wait_for(lambda: running(siege))
    assert not history(siege).ended


def test_stop_says_what_follows_and_status_that_it_is_under_way(siege: Siege) -> None:
    root = str(siege.layout.root)
    assert "stopping" not in said(siege, "status", root)
    assert siege.controller is not None
    siege.controller.send_signal(signal.SIGSTOP)  # alive, but too slow to end before we look
    assert re.search(r"finish what runs \(\d experiments?\).*--now", said(siege, "stop", root))
    assert "stopping: nothing more is started" in said(siege, "status", root)
    assert "runs again on resume" in said(siege, "stop", root, "--now")
    siege.controller.send_signal(signal.SIGCONT)
    assert end(siege) == 0
    assert "stopping" not in said(siege, "status", root)


def test_a_notice_waits_until_what_is_being_drawn_is_whole() -> None:
    out = StringIO()
    progress = Progress(Console(file=out, width=80))
    screen = Screen(progress)

    def draw(_: object) -> None:
        out.write("first half, ")
        screen.notify("a notice")
        out.write("second half\n")

    progress.show = draw  # type: ignore[method-assign,assignment]
    screen.show(None)  # type: ignore[arg-type]
    screen.notify("another")
    assert out.getvalue() == "first half, second half\na notice\nanother\n"


def test_ctrl_c_twice_ends_at_once_and_nothing_is_lost(siege: Siege) -> None:
    interrupt(siege)
    time.sleep(0.5)
    interrupt(siege)
    assert end(siege) == 0
    stopped = history(siege)
    assert stopped.ended == "stopped by Ctrl-C"
    assert set(stopped.retries) <= {"preempted"}
    assert all(entry.state < State.running for entry in stopped.active.values())


def test_sigterm_leaves_the_pilots_at_work(siege: Siege) -> None:
    assert siege.controller is not None
    siege.controller.terminate()
    assert end(siege) == 0
    assert not history(siege).ended
    parts = {name for _, name in siege.processes()}
    assert "pilot" in parts


def test_a_second_controller_is_refused_in_one_line(siege: Siege) -> None:
    first = siege.controller
    siege.start()
    assert siege.controller is not None
    assert siege.controller.wait(timeout=60) == 1
    siege.controller = first
    complaint = log(siege).splitlines()[-1]
    assert "should have no other controller" in complaint
    assert isinstance(first, subprocess.Popen)
    assert first.poll() is None
