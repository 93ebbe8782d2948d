"""Runs that nodes left in a campaign, sent with W&B's own tool to a server that has its moods."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tracked import ROWS, Tracked, netrc, start_logger
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.errors import CampaignError
from autoresearch.experiment import State
from autoresearch.mirror import courier, post
from autoresearch.mirror.listing import Listing
from autoresearch.mirror.records import HEADER
from autoresearch.mirror.sync import Outcome, being_made, forget, id_of, mark, pending, upload
from autoresearch.process import Identity

Upload = Callable[..., Outcome]


@pytest.fixture
def upload_now(tracked: Tracked, listing: Listing) -> Upload:
    def now(**options: Any) -> Outcome:
        options = {"live": False} | options
        return upload(tracked.layout, tracked.settings.tracker, listing, **options)

    return now


@pytest.fixture
def left(tracked: Tracked) -> list[str]:
    """The runs of the campaign, complete in its folder."""
    tracked.write_runs(tracked.entries)
    return list(tracked.entries)


@pytest.fixture
def one(tracked: Tracked) -> str:
    """A single run there."""
    id = next(iter(tracked.entries))
    tracked.write_runs([id])
    return id


def steps(run: Run) -> list[int]:
    return [row["_step"] for row in run.history]


def is_whole(run: Run, *, failed: bool = False) -> bool:
    """Every row is there, once, in order, and the end."""
    ended = (run.state, run.exit_code) == (("failed", 1) if failed else ("finished", 0))
    return ended and steps(run) == [n * 10 for n in range(ROWS)]


def cut(path: Path, share: float, *, age: float = 3600.0) -> bytes:
    """Leave the beginning of a file, last written so many seconds ago; the whole as it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    os.utime(path, (time.time() - age, time.time() - age))
    return whole


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Something else that happens; what goes wrong there fails the test."""
    with ThreadPoolExecutor(1) as other:
        happening = other.submit(action)
        yield
        happening.result()


# ---- what is sent ----------------------------------------------------------------------------


def test_every_run_is_sent_once(
    tracked: Tracked, server: WandbServer, left: list[str], upload_now: Upload
) -> None:
    told: list[tuple[int, int]] = []
    assert len(pending(tracked.layout)) == 3
    outcome = upload_now(told=lambda done, total: told.append((done, total)))
    assert (sorted(outcome.sent), outcome.there, outcome.left) == (sorted(left), [], [])
    assert (outcome.failed, outcome.complaint) == ({}, "")
    *good, bad = (server.run(id) for id in left)
    assert all(is_whole(run) for run in good)
    assert is_whole(bad, failed=True)
    assert bad.summary["failure"] == "diverged"
    assert [run.creations for run in server.runs.values()] == [1, 1, 1]
    assert told[-1] == (3, 3)
    assert told == sorted(told)

    assert pending(tracked.layout) == []
    before = server.count()
    assert upload_now() == Outcome()
    assert server.count() == before, "nothing to ask"


def test_a_folder_without_runs_is_done(tracked: Tracked, upload_now: Upload) -> None:
    assert pending(tracked.layout) == []
    assert upload_now() == Outcome()
    assert not tracked.layout.sending.parent.exists()


def test_marks_of_others_are_not_believed(
    tracked: Tracked, server: WandbServer, left: list[str], upload_now: Upload
) -> None:
    """W&B's own tools leave them empty, whether the server took the run or not."""
    for id in left:
        mark(tracked.file(id)).touch()
    upload_now()
    assert sorted(id for _, _, id in server.runs) == sorted(left)
    for id in left:
        mark(tracked.file(id)).write_text("")
    outcome = upload_now()
    assert (sorted(outcome.there), outcome.sent) == (sorted(left), [])
    assert all(len(run.history) == ROWS for run in server.runs.values())


def test_what_the_server_has_lost_can_be_pending_again(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload
) -> None:
    upload_now()
    server.forget(one)
    assert not forget(tracked.layout, ["nothing-1-abcdef"])
    assert forget(tracked.layout, [one])
    assert upload_now().sent == [one]
    assert is_whole(server.run(one))


def test_nothing_secret_is_written(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload, tmp_path: Path
) -> None:
    upload_now()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if server.key.encode() in path.read_bytes()]


# ---- what was cut short ----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_torn_run_is_a_failed_one_until_there_is_more_of_it(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload, share: float
) -> None:
    whole = cut(tracked.file(one), share)
    assert upload_now().sent == [one]
    run = server.run(one)
    assert (run.state, run.exit_code) == ("failed", 1)
    assert 0 < len(run.history) <= ROWS
    assert pending(tracked.layout) == []
    tracked.file(one).write_bytes(whole)
    assert upload_now().sent == [one]
    assert is_whole(server.run(one))
    assert server.run(one).summary["bpb"] == 1.101


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.integers(0, ROWS), state=st.sampled_from(["running", "crashed", "finished"]))
def test_however_much_the_server_has_it_gets_the_rest(
    tracked: Tracked, server: WandbServer, upload_now: Upload, there: int, state: str
) -> None:
    """A node's connection, or a sync before this one, may have ended anywhere."""
    id = next(iter(tracked.entries))
    shutil.rmtree(tracked.layout.wandb, ignore_errors=True)
    tracked.write_runs([id])
    rows = [{"_step": n * 10, "loss": 1 / (n + 1)} for n in range(there)]
    server.seed("researcher", "p", [Run("", "", id, group="test", state=state, history=rows)])
    assert upload_now().sent == [id]
    assert is_whole(server.run(id))
    assert server.run(id).summary["bpb"] == 1.101


def test_a_file_without_a_run_is_nothing_to_send(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload
) -> None:
    """wandb's tool would give up the others because of it, or wait for it for ever."""
    path = tracked.layout.wandb / "offline-run-20261101_000000-b" / "run-b.wandb"
    path.parent.mkdir()
    path.write_bytes(HEADER)
    os.utime(path, (0, 0))
    outcome = upload_now(live=True)
    assert (outcome.sent, outcome.there, outcome.left) == ([one], ["b"], [])
    assert pending(tracked.layout) == []


# ---- runs that are being made ----------------------------------------------------------------


def test_a_run_that_grows_is_left_alone_or_followed_to_its_end(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload
) -> None:
    path = tracked.file(one)
    whole = cut(path, 0.5, age=0)
    assert upload_now().left == [one]
    assert not server.runs

    def grow() -> None:
        wait_until(lambda: server.count("UpsertBucket"))
        for end in range(len(whole) // 2, len(whole) + 5_000, 5_000):
            path.write_bytes(whole[:end])
            time.sleep(0.2)

    with meanwhile(grow):
        outcome = upload_now(live=True)
    assert (outcome.sent, outcome.left) == ([one], [])
    assert is_whole(server.run(one))
    assert server.run(one).creations == 1


def test_following_goes_on_where_it_was_interrupted(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload
) -> None:
    path = tracked.file(one)
    whole = cut(path, 0.4)
    upload_now()
    there = len(server.run(one).history)
    path.write_bytes(whole[: len(whole) // 2])

    def grow() -> None:
        begun = server.count("UpsertBucket")
        wait_until(lambda: server.count("UpsertBucket") > begun)
        path.write_bytes(whole)

    with meanwhile(grow):
        outcome = upload_now(live=True)
    assert 0 < there < ROWS
    assert outcome.sent == [one]
    assert is_whole(server.run(one))


def test_finished_runs_do_not_wait_for_those_that_are_being_made(
    tracked: Tracked, server: WandbServer, left: list[str], upload_now: Upload
) -> None:
    growing, done, failed = left
    path = tracked.file(growing)
    whole = cut(path, 0.5, age=0)

    def grow() -> None:
        wait_until(lambda: not set(pending(tracked.layout)) - {path})
        assert is_whole(server.run(done))
        path.write_bytes(whole)

    with meanwhile(grow):
        outcome = upload_now(live=True)
    assert sorted(outcome.sent) == sorted(left)
    assert is_whole(server.run(growing))
    assert is_whole(server.run(failed), failed=True)


def test_a_run_that_falls_silent_is_sent_as_it_is_unless_it_goes_on(
    tracked: Tracked, server: WandbServer, one: str, upload_now: Upload
) -> None:
    whole = cut(tracked.file(one), 0.5)
    outcome = upload_now(live=True, making={one}, quiet=3.0)
    assert (outcome.sent, outcome.left) == ([], [one])
    assert upload_now(making={one}).left == [one]
    os.utime(tracked.file(one))
    assert upload_now(live=True, quiet=3.0).sent == [one]
    assert server.run(one).state == "failed"
    tracked.file(one).write_bytes(whole)
    upload_now()
    assert is_whole(server.run(one))


def test_the_journal_knows_what_is_being_made(tracked: Tracked) -> None:
    assert being_made(tracked.history) == frozenset()
    (id, entry), *_ = tracked.entries.items()
    entry.state = State.running
    tracked.history.active[entry.experiment.id] = entry
    assert being_made(tracked.history) == {id}


# ---- a server with moods ---------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that take seconds, not minutes."""
    for name in courier.PATIENCE:
        monkeypatch.setitem(courier.PATIENCE, name, "2" if "TIMEOUT" in name else "1")
    monkeypatch.setattr(post, "SECOND_LOOKS", (0.1,))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_a_run_that_the_server_refuses_is_not_marked(
    tracked: Tracked, server: WandbServer, left: list[str], upload_now: Upload, status: int
) -> None:
    """wandb's tool marks it, and exits with 0."""
    refused, *others = left
    server.fail("file_stream", status=status, times=99, run=refused)
    outcome = upload_now()
    assert outcome.failed == {refused: f"the server has 0 of its {ROWS} rows"}
    assert outcome.complaint == "Fatal error while uploading data"
    assert sorted(outcome.sent) == sorted(others)
    assert [id_of(path) for path in pending(tracked.layout)] == [refused]
    server.heal()
    assert upload_now().sent == [refused]
    assert is_whole(server.run(refused))


@pytest.mark.usefixtures("hasty", "left")
def test_a_server_that_takes_no_runs_is_not_asked_for_each(
    server: WandbServer, upload_now: Upload
) -> None:
    server.fail("UpsertBucket", status=500, times=99)
    outcome = upload_now(workers=1)  # so the first batch is of two
    assert len(outcome.failed) == 2
    assert len(outcome.left) == 1
    assert set(outcome.failed.values()) == {"the server does not list it"}
    assert "HTTP 500" in outcome.complaint


@pytest.mark.parametrize("operation", ["UpsertBucket", "file_stream"])
def test_a_busy_server_is_waited_for(
    server: WandbServer, left: list[str], upload_now: Upload, operation: str
) -> None:
    server.fail(operation, status=429, headers={"Retry-After": "2"}, times=4)
    assert sorted(upload_now().sent) == sorted(left)
    assert sorted(len(run.history) for run in server.runs.values()) == [ROWS] * 3


@pytest.mark.usefixtures("hasty")
def test_a_server_that_goes_down_is_one_line_and_nothing_is_lost(
    tracked: Tracked, server: WandbServer, left: list[str], upload_now: Upload
) -> None:
    def go_down() -> None:
        wait_until(lambda: server.count("file_stream"))
        server.down()

    with (
        meanwhile(go_down),
        pytest.raises(CampaignError, match=r"W&B should list researcher/p, but: .*refused") as told,
    ):
        upload_now()
    assert "\n" not in str(told.value)
    server.up()
    outcome = upload_now()
    assert sorted(outcome.sent + outcome.there) == sorted(left)
    assert all(len(run.history) == ROWS for run in server.runs.values())
    assert pending(tracked.layout) == []


def test_what_the_server_says_late_is_waited_for(
    tracked: Tracked, listing: Listing, one: str, upload_now: Upload
) -> None:
    """It may list a run some seconds after it has taken it."""
    ask, asked = listing.ask, []

    def late(filters: dict[str, Any]) -> Any:
        asked.append(filters)
        return {} if len(asked) < 4 else ask(filters)

    listing.ask = late  # type: ignore[method-assign]
    assert upload_now().sent == [one]
    assert len(asked) == 4


def test_a_run_whose_server_died_halfway_is_completed(
    tracked: Tracked, server: WandbServer, upload_now: Upload, tmp_path: Path
) -> None:
    """It began online; what its logger could not send came home."""
    tracker = replace(tracked.settings.tracker, mode="online")
    tracked.settings = replace(tracked.settings, tracker=tracker)
    id, entry = next(iter(tracked.entries.items()))
    sent = [json.dumps(event).encode() + b"\n" for event in tracked.events(entry)]
    half = ROWS // 2
    logger = start_logger(tmp_path / "node", NETRC=str(netrc(tmp_path, server)))
    try:
        assert logger.stdin
        logger.stdin.write(b"".join(sent[:half]))
        logger.stdin.flush()
        wait_until(lambda: server.runs and server.run(id).history)
        server.down()
        _, said = logger.communicate(b"".join(sent[half:]), timeout=120)
    finally:
        logger.kill()
        logger.wait()
    assert b"does not take the end of a run" in said
    server.up()
    assert 0 < len(server.run(id).history) < ROWS
    assert upload_now().sent == [id]
    assert is_whole(server.run(id))


# ---- one at a time ---------------------------------------------------------------------------


def test_the_second_leaves_it_to_the_first(
    tracked: Tracked, one: str, upload_now: Upload, server: WandbServer
) -> None:
    parent = Identity.of(os.getppid())
    assert parent
    tracked.layout.sending.parent.mkdir()
    tracked.layout.sending.write_text(json.dumps(vars(parent)))
    with pytest.raises(CampaignError, match=f"process {parent.pid} on .* is at it; wait until"):
        upload_now()
    assert not server.runs
