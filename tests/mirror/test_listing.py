"""What W&B's server is asked, how often, and what comes of it: the real client, a local server."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from wandb_runs import Run, utc
from wandb_server import WandbServer

from autoresearch.errors import CampaignError
from autoresearch.mirror import courier
from autoresearch.mirror import listing as listing_module
from autoresearch.mirror.listing import Listing
from autoresearch.mirror.seen import Seen
from autoresearch.settings import Tracker

CAMPAIGN = "night"
UNREACHABLE = "http://127.0.0.1:9"


def tracker_of(server: WandbServer) -> Tracker:
    return Tracker(kind="wandb", project="p", url=server.url)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that take seconds, not minutes."""
    monkeypatch.setitem(courier.PATIENCE, "WANDB_X_GRAPHQL_RETRY_MAX", "1")
    for name in courier.PATIENCE:
        monkeypatch.setenv(name, "0")  # so that what a listing sets is undone


@pytest.fixture
def listing(server: WandbServer) -> Iterator[Listing]:
    listing = Listing(tracker_of(server), CAMPAIGN)
    yield listing
    listing.close()


def seed(server: WandbServer, *ids: str, state: str = "finished", **facts: Any) -> None:
    runs = [Run("", "", id, group=CAMPAIGN, state=state, **facts) for id in ids]
    server.seed("researcher", "p", runs)


def end(server: WandbServer, id: str, *, quietly: bool = False) -> None:
    """A run finishes; `quietly`: without a new heartbeat."""
    run = server.run(id)
    run.state, run.summary["bpb"] = "finished", 1.25
    if not quietly:
        run.heartbeat = utc()


def requests(server: WandbServer) -> int:
    return server.count("Runs")


def newest(seen: dict[str, Seen]) -> list[str]:
    return sorted(seen)


# ---- few requests ----------------------------------------------------------------------------


def test_a_poll_is_one_request_however_many_runs_there_are(
    server: WandbServer, listing: Listing
) -> None:
    asked: dict[int, list[int]] = {}
    for count in (10, 100, 1000):
        for n in range(len(listing.seen), count):
            when = utc() - timedelta(seconds=2000 - n)
            seed(server, f"r{n}", created=when, heartbeat=when)
        assert len(listing.all()) == count
        asked[count] = []
        for _ in range(3):
            since = requests(server)
            listing.poll()
            asked[count].append(requests(server) - since)
    assert asked == {10: [1, 1, 1], 100: [1, 1, 1], 1000: [1, 1, 1]}


def test_the_first_poll_lists_everything_page_by_page(
    server: WandbServer, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "PAGE", 5)
    ids = [f"r{n}" for n in range(12, 24)]
    seed(server, *ids)
    server.seed("researcher", "p", [Run("", "", "other", group="another")])
    assert newest(listing.poll()) == ids
    assert newest(listing.seen) == ids
    assert requests(server) == 3


def test_requests_are_a_second_apart(
    server: WandbServer, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "SPACING", 1.0)
    monkeypatch.setattr(listing_module, "PAGE", 2)
    seed(server, "a", "b", "c")
    listing.poll()
    listing.poll()
    listing.count()
    times = [request.time for request in server.requests if request.operation == "Runs"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) >= 3
    assert min(gaps) > 0.9


# ---- what a poll finds -----------------------------------------------------------------------


def test_a_run_is_listed_as_it_is(server: WandbServer, listing: Listing) -> None:
    assert listing.poll() == {}, "a project that is not there yet has no runs"
    made = utc().replace(microsecond=0)
    facts: dict[str, Any] = {"name": "a-1", "config": {"lr": 0.5}, "summary": {"bpb": 1.5}}
    seed(server, "a", history=[{"_step": 0}], created=made, heartbeat=made, **facts)
    stamp = made.strftime("%Y-%m-%dT%H:%M:%SZ")
    [seen] = listing.poll().values()
    assert replace(seen, config={}) == Seen(
        "a", "a-1", "finished", {}, {"bpb": 1.5}, stamp, stamp, rows=1
    )
    assert seen.config == {"lr": 0.5}


@pytest.mark.parametrize("honours", [True, False])
def test_nothing_that_happens_between_two_polls_is_missed(
    server: WandbServer, listing: Listing, honours: bool
) -> None:
    """Also where the server does not filter by heartbeat, as its documentation never promised."""
    server.honours_heartbeat_filter = honours
    old = utc() - timedelta(hours=1)
    seed(server, "old", created=old, heartbeat=old)
    seed(server, "ends", "goes on", state="running")
    listing.poll()
    end(server, "ends")
    seed(server, "both")
    seed(server, "begins", state="running")
    found = listing.poll()
    assert {"ends", "goes on", "both", "begins"} <= set(found)
    assert (found["ends"].state, found["ends"].summary["bpb"]) == ("finished", 1.25)
    assert {id: seen.state for id, seen in listing.seen.items()} == {
        "old": "finished",
        "ends": "finished",
        "goes on": "running",
        "both": "finished",
        "begins": "running",
    }


def test_a_run_that_ends_without_a_heartbeat_is_asked_for_by_name(
    server: WandbServer, listing: Listing
) -> None:
    old = utc() - timedelta(seconds=100)
    seed(server, "silent", state="running", created=old, heartbeat=old)
    seed(server, "newer")
    listing.poll()
    end(server, "silent", quietly=True)
    since = requests(server)
    assert listing.poll()["silent"].state == "finished"
    assert requests(server) - since == 2


def test_a_run_that_the_server_has_lost_is_forgotten(
    server: WandbServer, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "COUNT_EVERY", 3)
    old = utc() - timedelta(seconds=100)
    seed(server, "open", state="running", created=old, heartbeat=old)
    seed(server, "ended", created=old, heartbeat=old)
    seed(server, "stays")
    listing.poll()
    server.forget("open")
    listing.poll()
    assert newest(listing.seen) == ["ended", "stays"]
    server.forget("ended")
    listing.poll()
    assert newest(listing.seen) == ["stays"]
    server.forget("stays")
    listing.poll()
    listing.poll()
    listing.poll()
    assert listing.seen == {}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_server_whose_clock_jumps_hides_nothing(
    server: WandbServer, listing: Listing, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(listing_module, "COUNT_EVERY", 3)
    seed(server, "first")
    seed(server, "runs", state="running")
    listing.poll()
    server.skew(hours * 3600)
    now = utc() + timedelta(hours=hours)
    end(server, "runs")
    server.run("runs").heartbeat = now
    seed(server, "second", created=now, heartbeat=now)
    assert listing.poll()["runs"].state == "finished"
    listing.poll()
    assert newest(listing.seen) == ["first", "runs", "second"]


# ---- a server with moods ---------------------------------------------------------------------


def test_a_server_that_asks_for_patience_gets_it(server: WandbServer, listing: Listing) -> None:
    seed(server, "a")
    limits = {"RateLimit-Limit": "1000", "RateLimit-Remaining": "0", "RateLimit-Reset": "3"}
    server.fail("Runs", status=429, headers={"Retry-After": "3", **limits})
    assert newest(listing.poll()) == ["a"]
    server.fail("Runs", status=429, headers=limits)
    assert newest(listing.poll()) == ["a"], "where nobody says when, it is tried again all the same"
    asked = [request for request in server.requests if request.operation == "Runs"]
    assert [request.status for request in asked] == [429, 200, 429, 200]
    assert asked[1].time - asked[0].time > 2.8


def test_an_error_of_the_server_is_tried_again(server: WandbServer, listing: Listing) -> None:
    seed(server, "a")
    server.fail("Runs", status=500)
    assert newest(listing.poll()) == ["a"]


@pytest.mark.parametrize("mood", ["down", "fails"])
def test_a_server_that_does_not_answer_is_one_line_and_the_next_listing_works(
    server: WandbServer, mood: str
) -> None:
    listing = Listing(tracker_of(server), CAMPAIGN)
    seed(server, "a")
    listing.poll()
    if mood == "down":
        server.down()
    else:
        server.fail("Runs", status=500, times=99)
    for ask in (listing.poll, listing.all, listing.count):
        with pytest.raises(CampaignError, match=r"^W&B should list researcher/p, but: ") as told:
            ask()
        assert "\n" not in str(told.value)
    assert newest(listing.seen) == ["a"]
    listing.close()
    server.up()
    server.heal()
    again = Listing(tracker_of(server), CAMPAIGN)
    try:
        assert newest(again.poll()) == ["a"]
    finally:
        again.close()


def test_a_server_that_is_not_there_is_one_line(server: WandbServer) -> None:
    with pytest.raises(CampaignError, match=r"^W&B should answer, but .* cannot be reached"):
        Listing(replace(tracker_of(server), url=UNREACHABLE), CAMPAIGN)


def test_a_key_that_is_wrong_or_missing_is_one_line(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "w" * 40)
    with pytest.raises(CampaignError, match=r"does not accept the key \(`wandb login --relogin -"):
        Listing(tracker_of(server), CAMPAIGN)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "nothing"))
    with pytest.raises(CampaignError, match=r"there is no key for 127.* in .*nothing \(`wandb lo"):
        Listing(tracker_of(server), CAMPAIGN)


def test_a_key_that_is_withdrawn_is_one_line(server: WandbServer, listing: Listing) -> None:
    seed(server, "a")
    listing.poll()
    server.key = "n" * 40
    with pytest.raises(CampaignError, match=r"^W&B should list researcher/p, but: invalid API key"):
        listing.poll()
