"""Results that come by way of W&B, where anybody with a login may have edited them."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import Attempt, Failure, Result
from autoresearch.layout import Layout
from autoresearch.mirror.receipt import Receipts
from autoresearch.mirror.seen import Seen
from autoresearch.node.signature import make_key, read_key, sign
from autoresearch.tracking.naming import run_id

CAMPAIGN = "night"
MINE, OTHER = Attempt("a" * 12, 1), Attempt("b" * 12, 1)
UNSIGNED = "its result does not carry the referee's signature"
ANYTHING = st.characters() | st.sampled_from("\ud800\x00")  # JSON can hold half a pair
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANYTHING),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class Desk:
    """A campaign with two claimed attempts, and what takes in their results."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.key.parent.mkdir(parents=True)
        make_key(self.layout.key)
        for attempt in (MINE, OTHER):
            self.layout.attempt(attempt).mkdir(parents=True)
            self.layout.claim(attempt).touch()
        self.receipts = Receipts(self.layout, CAMPAIGN)

    def carried(self, attempt: Attempt = MINE, bpb: float = 1.25) -> dict[str, Any]:
        """What the referee puts into the summary."""
        result = Result(attempt.experiment, attempt.number, "pilot", bpb, reason="größer")
        text = json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n"
        return {"bpb": bpb, "result": text, "signature": sign(read_key(self.layout.key), text)}

    def take(self, summary: dict[str, Any], state: str = "finished", id: str = "") -> None:
        self.receipts.take(Seen(id or mine(), state=state, summary=summary))

    @property
    def text(self) -> str | None:
        path = self.layout.result(MINE)
        return path.read_text() if path.exists() else None

    @property
    def is_lost(self) -> bool:
        """Whether the attempt counts as lost, with the reason in words."""
        record = json.loads(self.text or "{}")
        result = Result.from_json({k: v for k, v in record.items() if k != "wandb"})
        return (
            (result.experiment, result.attempt) == (MINE.experiment, MINE.number)
            and (result.bpb, result.failure) == (None, Failure.node_failed)
            and result.reason == f"{UNSIGNED} at W&B"
            and result.ended > 0
            and self.receipts.refused == {mine(): UNSIGNED}
        )


def mine() -> str:
    return run_id(CAMPAIGN, MINE.experiment, MINE.number)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    yield Desk(tmp_path / "campaign")
    assert not list((tmp_path / "campaign").rglob(".result*")), "nothing half written is left"


# ---- what is believed ------------------------------------------------------------------------


def test_a_signed_result_is_written_byte_for_byte_and_once(desk: Desk) -> None:
    summary = desk.carried()
    desk.take(summary)
    path = desk.layout.result(MINE)
    assert path.read_bytes() == summary["result"].encode()
    assert desk.receipts.refused == {}
    before = path.stat().st_ino
    desk.take(summary)
    assert path.stat().st_ino == before, "it is not written again"
    assert not desk.layout.result(OTHER).exists()


def test_a_signed_result_counts_while_the_run_is_open(desk: Desk) -> None:
    """Its end may be on its way yet, or never come."""
    summary = desk.carried()
    for state in ("running", "crashed"):
        desk.take(summary, state)
        assert desk.text == summary["result"]


def test_a_run_without_a_result_is_none(desk: Desk) -> None:
    for state in ("running", "finished", "crashed", "failed"):
        desk.take({"bpb": 0.1, "loss": 2.0}, state)
    assert (desk.text, desk.receipts.refused) == (None, {})


@pytest.mark.parametrize("state", ["running", "pending", "preempting"])
def test_nothing_is_refused_while_the_run_is_open(desk: Desk, state: str) -> None:
    summary = desk.carried()
    desk.take(summary | {"result": "{}"}, state)
    desk.take({"result": summary["result"]}, state)
    assert (desk.text, desk.receipts.refused) == (None, {})
    desk.take(summary)
    assert desk.text == summary["result"]


def test_what_was_taken_is_not_replaced(desk: Desk) -> None:
    summary = desk.carried()
    desk.take(summary)
    desk.take(desk.carried(bpb=0.5))
    desk.take(summary | {"signature": "0" * 64})
    desk.take({"result": None, "signature": None})
    assert desk.text == summary["result"]
    assert desk.receipts.refused == {}


# ---- what is not -----------------------------------------------------------------------------


def flipped(signature: str) -> str:
    return ("1" if signature[0] != "1" else "2") + signature[1:]


def test_a_text_that_somebody_edited_is_refused(desk: Desk) -> None:
    summary = desk.carried()
    desk.take(summary | {"result": summary["result"].replace("1.25", "0.25")})
    assert desk.is_lost


def test_a_signature_that_somebody_edited_is_refused(desk: Desk) -> None:
    summary = desk.carried()
    desk.take(summary | {"signature": flipped(summary["signature"])})
    assert desk.is_lost
    desk.take(summary)
    assert desk.is_lost, "the attempt is lost: another one is due"


def test_the_result_of_another_attempt_is_refused(desk: Desk) -> None:
    desk.take(desk.carried(OTHER, bpb=0.5))
    assert desk.is_lost
    assert not desk.layout.result(OTHER).exists()


def test_an_earlier_attempt_of_the_experiment_is_another(desk: Desk) -> None:
    desk.take(desk.carried(Attempt(MINE.experiment, 2)))
    assert desk.is_lost


def test_a_foreign_key_is_refused(desk: Desk) -> None:
    text = desk.carried()["result"]
    desk.take({"result": text, "signature": sign(b"0" * 64, text)})
    assert desk.is_lost


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, {"result": 1}, "", "\ud800"])
@pytest.mark.parametrize("key", ["result", "signature"])
def test_what_nobody_could_sign_is_refused(desk: Desk, key: str, value: object) -> None:
    desk.take(desk.carried() | {key: value})
    assert desk.is_lost


@pytest.mark.parametrize("key", ["result", "signature"])
def test_half_of_it_is_refused(desk: Desk, key: str) -> None:
    summary = desk.carried()
    del summary[key]
    desk.take(summary)
    assert desk.is_lost


@pytest.mark.parametrize(
    "id",
    [
        run_id("evening", MINE.experiment, 1),
        run_id(CAMPAIGN, MINE.experiment, 2),
        run_id(CAMPAIGN, "c" * 12, 1),
        run_id(CAMPAIGN, MINE.experiment, 1) + "-copy",
        run_id(CAMPAIGN, MINE.experiment, 1).replace("-1-", "-01-"),
        run_id(CAMPAIGN, MINE.experiment, 1).replace("-1-", "-١-"),
        MINE.experiment,
        "..-1-000000",
        "--",
    ],
)
def test_a_run_of_no_attempt_is_refused_and_leaves_nothing(desk: Desk, id: str) -> None:
    before = sorted(desk.layout.root.rglob("*"))
    desk.take(desk.carried(), id=id)
    assert desk.receipts.refused == {id: "no attempt of this campaign has this run's name"}
    assert sorted(desk.layout.root.rglob("*")) == before


def test_a_campaign_without_a_key_takes_in_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Receipts(Layout(tmp_path), CAMPAIGN)


@given(st.data())
def test_however_it_was_edited_it_is_not_believed(data: st.DataObject) -> None:
    """Nor does it stop what takes in the others."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder) / "campaign")
        summary = desk.carried()
        text, signature = summary["result"], summary["signature"]
        edits = VALUES | cuts(text) | cuts(signature) | st.sampled_from([text, signature])
        edited = {"result": data.draw(edits), "signature": data.draw(edits)}
        desk.take(edited)
        if edited == {"result": text, "signature": signature}:
            assert desk.text == text
        else:
            assert desk.is_lost


def cuts(text: str) -> st.SearchStrategy[str]:
    """The text with a piece replaced."""
    at = st.integers(0, len(text))
    return st.builds(lambda a, b, new: text[:a] + new + text[b:], at, at, st.text(ANYTHING))
