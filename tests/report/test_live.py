"""What a log file gets while a campaign runs."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from desks import open_desk
from rich.console import Console
from test_collect import look

from autoresearch.campaign import Campaign
from autoresearch.report import live
from autoresearch.report.live import SILENCE, Progress


def test_a_log_file_gets_a_line_for_a_change_and_one_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, out, clock = open_desk(tmp_path), io.StringIO(), SimpleNamespace(now=0.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = Progress(Console(file=out, width=200))

    def lines_after(seconds: float) -> int:
        clock.now += seconds
        before = out.getvalue().count("\n")
        progress.show(cast(Campaign, desk))
        return out.getvalue().count("\n") - before

    (id,) = desk.ask(1)
    assert lines_after(0) == 1
    assert lines_after(SILENCE - 1) == 0, "nothing has changed"
    assert lines_after(1) == 1, "but it is still alive"
    assert lines_after(SILENCE - 1) == 0
    desk.record.append({"type": "submitting", "tier": "screen", "pilots": ["p"]})
    attempt = desk.claim(id, "p")
    look(desk)
    assert lines_after(0.1) == 1, "one runs"
    desk.answer(attempt)
    look(desk)
    assert lines_after(0.1) == 1, "one has finished"
    desk.noticed = ["3 of tier screen wait: Priority"]
    assert lines_after(0.1) == 2, "the cluster lets us know something"
    assert "Priority" in out.getvalue().splitlines()[-1]
    desk.record.append({"type": "ended", "reason": "budget"})
    assert lines_after(0.1) == 1
    assert "ended" in out.getvalue().splitlines()[-1]
    assert lines_after(0.1) == 0


def test_when_nobody_reads_any_more_the_campaign_goes_on_in_silence() -> None:
    code = """
import sys
from autoresearch.report.table import Display
display = Display(stderr=True)
sys.stdin.readline()
display.print("nobody reads this")
display.print("nor this")
print("went on")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watched:
        assert watched.stderr is not None
        watched.stderr.close()
        assert watched.stdin is not None
        watched.stdin.write("\n")
        watched.stdin.close()
        assert watched.stdout is not None
        assert watched.stdout.read() == "went on\n"
    assert watched.returncode == 0
