"""The result in the making: time goes to one stage each, curves stay short, failures keep facts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import Attempt, Failure
from autoresearch.node.failure import AttemptFailed
from autoresearch.node.progress import CURVE_LIMIT, Claim, Curve, Progress, loss_of, numbers
from autoresearch.node.wire import Message


def make_claim() -> Claim:
    return Claim(Attempt("e1", 2), time.time(), time.monotonic(), 1.5)


def test_a_claim_crosses_the_wire() -> None:
    claim = make_claim()
    assert Claim.from_message(claim.to_message()) == claim


@given(st.lists(st.floats(allow_nan=False), max_size=2000))
def test_a_curve_is_short_in_order_and_keeps_its_ends(losses: list[float]) -> None:
    curve = Curve()
    points = [(float(i), i, loss) for i, loss in enumerate(losses)]
    for point in points:
        curve.add(point)
    thinned = curve.thinned()
    assert len(thinned) <= CURVE_LIMIT
    assert set(thinned) <= set(points)
    assert list(thinned) == sorted(thinned, key=lambda point: point[1])
    assert len(set(thinned)) == len(thinned)
    if points:
        assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    if len(points) < CURVE_LIMIT:
        assert len(thinned) == len(points)


def test_time_goes_to_the_stage_it_was_spent_in() -> None:
    claim = make_claim()
    progress = Progress.begin(claim, "p", "none")
    time.sleep(0.02)
    started = progress.enter("train")
    time.sleep(0.03)
    progress.enter("score")
    result = progress.finished(1.5)
    seconds = result.seconds
    assert seconds.queue == 1.5
    assert seconds.setup == pytest.approx(started - claim.clock)
    assert seconds.train >= 0.03
    assert seconds.occupied == pytest.approx(time.monotonic() - claim.clock, abs=0.02)
    assert result.ended >= result.started == claim.claimed


def test_a_failure_keeps_what_was_known() -> None:
    progress = Progress.begin(make_claim(), "p", "none")
    progress.enter("train")
    progress.log(3, 300, 4.5)
    progress.note(weights=10)
    result = progress.failed(AttemptFailed(Failure.diverged, "the loss\nis \x1b[31mnan"))
    assert (result.bpb, result.failure) == (None, Failure.diverged)
    assert result.reason == "the loss is [31mnan"
    assert (result.steps, result.tokens, result.weights) == (3, 300, 10)
    assert [point[1:] for point in result.curve] == [(3, 4.5)]


def test_losses_before_the_start_are_no_part_of_the_curve() -> None:
    progress = Progress.begin(make_claim(), "p", "none")
    progress.log(0, 0, 9.0)
    assert progress.finished(1.0).curve == ()


def test_a_score_is_a_number() -> None:
    progress = Progress.begin(make_claim(), "p", "none")
    with pytest.raises(AttemptFailed, match="not finite"):
        progress.finished(float("nan"))


def test_what_a_program_logs_is_read_as_numbers() -> None:
    values = Message("log", {"v": {"loss": 2, "word": "x", "ok": True}}).scalars("v")
    assert loss_of(values) == 2.0
    assert loss_of({"loss": "x"}) is None
    assert numbers(values) == {"loss": 2.0, "ok": 1.0}


def test_an_attempt_nobody_made_has_a_result_as_well() -> None:
    claim = make_claim()
    result = claim.failed("p", Failure.preempted, "told to end")
    assert (result.experiment, result.attempt, result.failure) == ("e1", 2, Failure.preempted)
    assert result.seconds.setup >= 0
