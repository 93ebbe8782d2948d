"""Money that was sent is counted, whenever its writer was killed."""

import json
import math
from pathlib import Path

import pytest
from claude_cache import Json
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.ledger import SPEND, Ledger, OutOfMoney, Spent, spent
from autoresearch.claude.prices import Usage
from autoresearch.errors import RecordError

DOLLARS = st.floats(0, 10)
# A request: what it may cost at most, how it ended, and which share of that it did cost.
REQUESTS = st.lists(
    st.tuples(DOLLARS, st.sampled_from(["paid", "failed", "killed"]), st.floats(0, 1)), max_size=8
)


def test_money_is_set_aside_before_and_settled_after(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / SPEND, 1.0) as ledger:
        first = ledger.reserve(0.6)
        assert ledger.spent.usd == 0.6
        ledger.pay(first, 0.1, Usage(input=7, output=2))
        assert ledger.spent == Spent(0.1, 1, Usage(input=7, output=2))
        assert not ledger.is_interrupted
        second = ledger.reserve(0.9)
        ledger.fail(second, 0.0)
        assert ledger.left == pytest.approx(0.9)
    lines = [json.loads(line) for line in (tmp_path / SPEND).read_text().splitlines()]
    assert lines == [
        {"sent": 1, "usd_at_most": 0.6},
        {"paid": 1, "usd": 0.1, "usage": Usage(input=7, output=2).to_json()},
        {"sent": 2, "usd_at_most": 0.9},
        {"failed": 2, "usd": 0.0},
    ]
    assert spent(tmp_path) == Spent(0.1, 2, Usage(input=7, output=2))


def test_what_may_cost_too_much_is_not_sent(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / SPEND, 1.0) as ledger:
        ledger.pay(ledger.reserve(1.0), 0.75, Usage())
        with pytest.raises(OutOfMoney, match=r"usd_agent leaves \$0.25 .* may cost \$0.30"):
            ledger.reserve(0.3)
        ledger.reserve(0.25)
    assert spent(tmp_path).requests == 2


def test_an_answer_may_turn_out_dearer_than_thought(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / SPEND, 1.0) as ledger:
        ledger.pay(ledger.reserve(0.5), 1.5, Usage())
        with pytest.raises(OutOfMoney, match=r"leaves \$0\.00"):
            ledger.reserve(0.01)


def test_a_killed_request_counts_at_its_worst_case(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / SPEND, 1.0) as ledger:
        ledger.reserve(0.4)
    with Ledger.open(tmp_path / SPEND, 1.0) as ledger:
        assert ledger.is_interrupted
        assert ledger.spent.unended == {1: 0.4}
        assert ledger.left == pytest.approx(0.6)


def test_no_conversation_has_spent_nothing(tmp_path: Path) -> None:
    assert spent(tmp_path) == Spent()
    assert spent(tmp_path).usd == 0.0


def test_a_torn_line_was_never_sent(tmp_path: Path) -> None:
    (tmp_path / SPEND).write_text('{"sent": 1, "usd_at_most": 0.4}')
    assert spent(tmp_path).requests == 0


@pytest.mark.parametrize(
    "lines",
    [
        [{"paid": 1, "usd": 0.1, "usage": {}}],
        [{"sent": 2, "usd_at_most": 0.1}],
        [{"sent": 1, "usd_at_most": 0.1}, {"sent": 1, "usd_at_most": 0.1}],
        [{"sent": 1, "usd_at_most": -0.1}],
        [{"sent": 1, "usd_at_most": "0.1"}],
        [{"sent": 1, "usd_at_most": True}],
        [{"sent": 1}],
        [{"earned": 1}],
        [{"sent": 1, "usd_at_most": 0.1}, {"failed": 1, "usd": 0}, {"failed": 1, "usd": 0}],
        [{"sent": 1, "usd_at_most": 0.1}, {"paid": 1, "usd": 0, "usage": {"gold": 1}}],
    ],
)
def test_lines_that_contradict_each_other_are_told(tmp_path: Path, lines: list[Json]) -> None:
    (tmp_path / SPEND).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(RecordError, match=rf"line {len(lines)} should follow"):
        spent(tmp_path)


@given(requests=REQUESTS, data=st.data())
def test_no_prefix_counts_less_than_was_sent(
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[tuple[float, str, float]],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / SPEND
    path.unlink(missing_ok=True)
    true_cost = []  # of each request, what the server charges in the end
    for at_most, end, share in requests:
        with Ledger.open(path, math.inf) as ledger:
            number = ledger.reserve(at_most)
            true_cost.append(at_most * share)
            if end == "paid":
                ledger.pay(number, at_most * share, Usage(output=1))
            elif end == "failed":
                ledger.fail(number, at_most * share)
    whole = path.read_bytes() if requests else b""
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(cut)
    found = spent(folder)
    assert found.requests == cut.count(b'"sent"') - (b'"sent"' in cut.rpartition(b"\n")[2])
    assert found.usd >= sum(true_cost[: found.requests]) - 1e-9
    with Ledger.open(path, math.inf) as ledger:  # and it can be gone on with
        ledger.fail(ledger.reserve(0.5), 0.5)
    assert spent(folder).usd == pytest.approx(found.usd + 0.5)
