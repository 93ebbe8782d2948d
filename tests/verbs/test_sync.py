"""`autoresearch sync` as a user has it: real processes, a server, kills and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracked import ROWS, Tracked, autoresearch, make, netrc
from wandb_server import WandbServer

from autoresearch import config
from autoresearch.mirror.sync import pending
from autoresearch.process import start_ticks

Start = Callable[[], "subprocess.Popen[str]"]

KEYLESS = {"WANDB_API_KEY": "", "NETRC": "/proc/nowhere"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer() as server:
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("NETRC", str(netrc(tmp_path, server)))
        yield server


@pytest.fixture
def tracked(tmp_path: Path, server: WandbServer) -> Tracked:
    """Three finished experiments, whose runs are in the campaign."""
    tracked = make(tmp_path / "campaign", server.url)
    tracked.write_runs(tracked.entries)
    return tracked


def sync(tracked: Tracked, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return autoresearch("sync", str(tracked.layout.root), *words, **variables)


@pytest.fixture
def start(tracked: Tracked, tmp_path: Path) -> Iterator[Start]:
    """Begin, on a login node with a folder for temporary files of its own."""
    (tmp_path / "login").mkdir()
    begun: list[subprocess.Popen[str]] = []

    def now() -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", "-m", "autoresearch", "sync", str(tracked.layout.root)]
        variables = {**os.environ, "TMPDIR": str(tmp_path / "login")}
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(command, env=variables, stdout=pipe, stderr=pipe, text=True))
        return begun[-1]

    yield now
    for process in begun:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def is_mirrored(tracked: Tracked, server: WandbServer) -> bool:
    """Every attempt has one run, with each of its rows once."""
    ids = sorted(id for _, _, id in server.runs)
    rows = [[row["_step"] for row in run.history] for run in server.runs.values()]
    whole = [n * 10 for n in range(ROWS)]
    states = sorted(run.state for run in server.runs.values())
    return (
        ids == sorted(tracked.entries)
        and all(each == whole for each in rows)
        and states == ["failed", "finished", "finished"]
        and not pending(tracked.layout)
    )


def test_once_sent_there_is_nothing_to_do(tracked: Tracked, server: WandbServer) -> None:
    first, second = sync(tracked), sync(tracked)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "3 runs sent, 0 sent again, 0 there already, 0 differed\n"
    assert is_mirrored(tracked, server)
    assert second.stdout == "0 runs sent, 0 sent again, 3 there already, 0 differed\n"
    assert is_mirrored(tracked, server)
    assert [run.creations for run in server.runs.values()] == [1, 1, 1]


def test_what_differs_is_shown_and_sent_again(tracked: Tracked, server: WandbServer) -> None:
    sync(tracked)
    edited, lost, doubled = tracked.entries
    server.tamper(edited, bpb=0.25)
    server.forget(lost)
    server.duplicate(doubled, "twin")
    done = sync(tracked)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{lost} is missing at W&B",
        f"{edited} has bpb 0.25 at W&B, but 1.101 here",
        f"{doubled} and twin are one attempt; delete all but one at W&B",
        "0 runs sent, 2 sent again, 1 there already, 1 differed, 1 should not be there",
    ]
    again = json.loads(sync(tracked, "--json").stdout)
    assert again["schema"] == 1
    assert again["findings"]["doubled"] == [sorted([doubled, "twin"])]
    assert (again["sent"], again["again"], again["failed"]) == ([], [], {})
    assert len(again["there"]) == 3
    assert server.run(edited).summary["bpb"] == 1.101
    assert len(server.run(lost).history) == ROWS, "its file knows more than its result"


def test_a_run_whose_file_is_gone_is_rebuilt(tracked: Tracked, server: WandbServer) -> None:
    gone, *_ = tracked.entries
    tracked.file(gone).unlink()
    done = sync(tracked)
    assert done.stdout.splitlines() == [
        f"{gone} is missing at W&B",
        "2 runs sent, 1 sent again, 0 there already, 0 differed",
    ]
    assert server.run(gone).summary["bpb"] == 1.101
    assert server.run(gone).state == "finished"


def test_a_torn_run_whose_result_is_known_becomes_whole(
    tracked: Tracked, server: WandbServer
) -> None:
    """Its logger was killed; the referee was not."""
    torn, *_ = tracked.entries
    path = tracked.file(torn)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    os.utime(path, (0, 0))
    done = sync(tracked)
    assert done.stdout.splitlines() == [
        f"{torn} has bpb none at W&B, but 1.101 here",
        "3 runs sent, 1 sent again, 0 there already, 1 differed",
    ]
    run = server.run(torn)
    steps = [row["_step"] for row in run.history]
    assert (run.state, run.summary["bpb"]) == ("finished", 1.101)
    assert steps == sorted(set(steps))


# ---- interrupted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "requests"),
    [
        (signal.SIGKILL, 1),
        (signal.SIGKILL, 3),
        (signal.SIGKILL, 5),
        (signal.SIGTERM, 4),
        (signal.SIGINT, 2),
        (signal.SIGINT, 4),
    ],
)
def test_interrupted_anywhere_it_goes_on(
    tracked: Tracked, server: WandbServer, start: Start, number: signal.Signals, requests: int
) -> None:
    server.slow(0.3, "UpsertBucket")
    server.slow(0.3, "file_stream")
    first = start()
    wait_until(lambda: server.count("UpsertBucket", "file_stream") >= requests)
    children = courier_of(first.pid)
    first.send_signal(number)
    _, said = first.communicate(timeout=60)
    assert first.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert said == f"left the rest; `autoresearch sync {tracked.layout.root}` goes on\n"
    wait_until(lambda: not any(start_ticks(pid) for pid in children))
    server.heal()
    second = start()
    said = second.communicate(timeout=120)[1]
    assert (second.returncode, said) == (0, "")
    assert is_mirrored(tracked, server)
    login = tracked.layout.root.parent / "login"
    assert not list(login.glob("autoresearch-sync-*")), "what the dead left is gone"


def courier_of(parent: int) -> list[int]:
    """W&B's processes below one."""
    found, ahead = [], [parent]
    while ahead:
        children = Path(f"/proc/{ahead[0]}/task/{ahead[0]}/children")
        below = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        ahead = ahead[1:] + below
        found += below
    return found


def test_two_at_once_send_nothing_twice(
    tracked: Tracked, server: WandbServer, start: Start
) -> None:
    first = start()
    wait_until(tracked.layout.sending.exists)
    first.send_signal(signal.SIGSTOP)  # or it may be done before the second has begun
    second = sync(tracked)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"process {first.pid} on " in second.stderr
    assert second.stderr.count("\n") == 1
    assert first.communicate(timeout=60)[0].startswith("3 runs sent")
    assert is_mirrored(tracked, server)


def test_runs_that_are_being_made_are_followed(
    tracked: Tracked, server: WandbServer, start: Start
) -> None:
    *_, last = tracked.entries
    tracked.write_journal(before=-1)  # its end is not known yet
    path = tracked.file(last)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    os.utime(path, (0, 0))  # it may be silent for long
    following = start()
    assert following.stderr
    told = following.stderr.readline()
    assert told == "following 1 run to the end; Ctrl-C leaves the rest to the next time\n"
    wait_until(lambda: len(server.runs) == 3)
    path.write_bytes(whole)
    said, complaint = following.communicate(timeout=60)
    assert (following.returncode, complaint) == (0, "")
    assert said == "3 runs sent, 0 sent again, 0 there already, 0 differed\n"
    assert is_mirrored(tracked, server)


# ---- what a user can get wrong ---------------------------------------------------------------


def test_a_campaign_without_wandb_has_nothing_to_sync(tracked: Tracked) -> None:
    text = tracked.layout.config.read_text().replace("kind: wandb", "kind: files")
    text = text.replace("mode: offline", "mode: auto")
    tracked.layout.config.write_text(text)
    assert config.from_yaml(text).tracker.kind == "files"
    done = sync(tracked)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "nothing to sync: this campaign has no W&B runs (tracker=files)\n"


def test_without_a_key_or_with_a_wrong_one_it_says_what_to_do(tracked: Tracked) -> None:
    for variables, what in (
        (KEYLESS, "` adds one"),
        ({"WANDB_API_KEY": "x" * 40}, "` replaces it"),
    ):
        done = sync(tracked, **variables)
        assert (done.returncode, done.stdout) == (1, "")
        assert what in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line(tracked: Tracked, server: WandbServer) -> None:
    server.down()
    done = sync(tracked)
    assert done.returncode == 1
    assert f"W&B should answer, but {server.url} cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_could_not_be_sent_is_one_line_with_the_reason(
    tracked: Tracked, server: WandbServer
) -> None:
    refused, *_ = tracked.entries
    server.fail("file_stream", status=400, times=99, run=refused)
    done = sync(tracked)
    assert done.returncode == 1
    assert done.stdout.endswith("2 runs sent, 0 sent again, 0 there already, 0 differed\n")
    assert done.stderr == (
        f"autoresearch: every run should be at W&B, but 1 run could not be sent: {refused}: the "
        f"server has 0 of its {ROWS} rows (W&B's client: Fatal error while uploading data); try "
        f"`autoresearch sync {tracked.layout.root}` again later\n"
    )
