"""How long is waited, and when it is given up."""

import time
from threading import Event, Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.client import Unanswered
from autoresearch.claude.patience import ANSWER_SECONDS, LONGEST_SECONDS, GivenUp, Patience


def patience(seconds: float = 100.0, waiting: float = 60.0) -> Patience:
    return Patience(seconds, waiting, Event())


def busy(wait: float | None = None) -> Unanswered:
    return Unanswered("overloaded (529)", is_passing=True, wait=wait)


def test_waits_grow_and_stay_within_patience() -> None:
    mine = patience(waiting=1000)
    waits = []
    for failures in range(1, 12):
        mine.failures = failures
        waits.append(mine.pause(busy()))
    assert waits[0] <= 0.5
    assert waits[5] >= 8.0
    assert max(waits) <= LONGEST_SECONDS
    mine.waited = 999.5
    assert mine.pause(busy()) <= 0.5


@given(st.floats(0, 60))
def test_what_the_server_asks_for_is_obeyed_within_patience(wait: float) -> None:
    assert patience().pause(busy(wait)) == wait


@pytest.mark.parametrize("wait", [60.1, 86400.0, float("inf")])
def test_what_it_asks_for_beyond_patience_ends_it_at_once(wait: float) -> None:
    mine = patience()
    begin = time.monotonic()
    with pytest.raises(GivenUp, match=r"\(529\); it asks to wait .* claude.patience leaves 60 s"):
        mine.fail(busy(wait), 0.0)
    assert time.monotonic() - begin < 30


def fail_often(mine: Patience) -> None:
    for _ in range(100):
        mine.fail(busy(), 0.0)


def test_patience_ends() -> None:
    mine = patience(waiting=0.05)
    with pytest.raises(GivenUp, match=r"overloaded \(529\); waited 0.05 s for it"):
        fail_often(mine)
    assert 0.05 <= mine.waited < 30
    assert mine.failures > 1


def test_no_patience_is_one_try() -> None:
    with pytest.raises(GivenUp, match="waited 0 s"):
        patience(waiting=0).fail(busy(), 0.0)


def test_the_time_of_a_connection_that_was_not_made_is_waiting_too() -> None:
    mine = patience(waiting=5)
    with pytest.raises(GivenUp, match="waited 5 s"):
        mine.fail(busy(), 5.0)
    mine = patience(waiting=0.2)
    mine.fail(Unanswered("no answer", is_passing=True, may_be_billed=True), 5.0)
    assert mine.waited < 5


def test_what_will_not_pass_is_not_waited_for() -> None:
    mine = patience()
    with pytest.raises(GivenUp, match=r"^the key was refused$"):
        mine.fail(Unanswered("the key was refused"), 0.0)
    assert mine.waited == 0


def test_success_begins_anew() -> None:
    mine = patience(waiting=1)
    mine.failures = 9
    mine.succeed()
    mine.failures += 1
    assert mine.pause(busy()) <= 0.5


def test_an_answer_may_take_what_is_left() -> None:
    assert 99 < patience().answer_seconds() <= 100
    assert patience(10_000).answer_seconds() == ANSWER_SECONDS
    late = patience()
    late.begun -= 101
    with pytest.raises(GivenUp, match=r"claude\.seconds: the 100 s for this wave are over"):
        late.answer_seconds()


def test_a_stop_ends_waiting_and_asking() -> None:
    mine = patience()
    Timer(0.05, mine.stop.set).start()
    mine.wait(50)
    assert mine.waited < 40
    with pytest.raises(GivenUp, match="stopped"):
        mine.answer_seconds()


def test_a_wait_ends_with_the_time_for_everything() -> None:
    mine = patience(seconds=0.05)
    mine.wait(50)
    assert mine.waited < 40
