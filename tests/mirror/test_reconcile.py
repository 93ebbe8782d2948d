"""The journal against what W&B lists: every kind of fault is found, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracked import ask, draw
from worlds import World

from autoresearch.history import History
from autoresearch.mirror.reconcile import (
    Difference,
    Findings,
    explained,
    finished,
    reconcile,
    sentences,
)
from autoresearch.mirror.seen import Seen

FAILED = 9.0  # the rate with which an experiment diverges
RATES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0, FAILED]), unique=True, max_size=6)
OPEN = st.sampled_from(["running", "pending", "preempting", "crashed"])


def played(rates: list[float]) -> History:
    world = World(draw)
    ask(world, rates)
    return world.history


def mirror(history: History) -> dict[str, Seen]:
    """W&B as it should be."""
    return {
        id: Seen(
            id,
            state="finished" if entry.bpb is not None else "failed",
            config={"experiment": entry.experiment.id, "attempt": entry.attempt},
            summary={"bpb": entry.bpb, "failure": entry.result and entry.result.failure},
        )
        for id, entry in finished(history).items()
    }


@given(RATES)
def test_what_agrees_needs_nothing(rates: list[float]) -> None:
    history = played(rates)
    assert reconcile(history, mirror(history)) == Findings()
    assert list(sentences(Findings())) == []
    assert reconcile(history, mirror(history)).to_send == ()


@given(RATES, st.data())
def test_every_fault_is_found_and_no_other(rates: list[float], data: st.DataObject) -> None:
    history = played(rates)
    listed = mirror(history)
    fates = {id: data.draw(st.sampled_from(["well", "gone", "open", "edited"])) for id in listed}
    for id, fate in fates.items():
        if fate == "gone":
            del listed[id]
        elif fate == "open":
            listed[id] = replace(listed[id], state=data.draw(OPEN))
        elif fate == "edited":
            wrong = data.draw(st.sampled_from([0.5, None, "0.5", True, [1]]))
            failure = history_failure(listed[id])
            wrong_one = {"failure": "crashed"} if failure else {"bpb": wrong}
            listed[id] = replace(listed[id], summary={**listed[id].summary, **wrong_one})
    strange = data.draw(st.sets(st.from_regex(r"\A[xyz]{1,9}\Z"), max_size=3))
    listed |= {id: Seen(id, state="finished") for id in strange}

    found = reconcile(history, listed)
    assert set(found.missing) == {id for id, fate in fates.items() if fate == "gone"}
    assert set(found.unfinished) == {id for id, fate in fates.items() if fate == "open"}
    assert {d.id for d in found.different} == {i for i, fate in fates.items() if fate == "edited"}
    assert set(found.strangers) == strange
    assert set(found.to_send) == {id for id, fate in fates.items() if fate != "well"}
    assert len(found.to_send) == len(set(found.to_send))
    assert len(list(sentences(found))) == len(found.to_send) + len(strange)


def history_failure(seen: Seen) -> object:
    return seen.summary["failure"]


@given(RATES.filter(bool), st.data())
def test_one_attempt_under_two_ids_is_no_stranger(rates: list[float], data: st.DataObject) -> None:
    history = played(rates)
    listed = mirror(history)
    doubled = data.draw(st.sampled_from(sorted(listed)))
    listed["twin"] = replace(listed[doubled], id="twin")
    found = reconcile(history, listed)
    assert found == Findings(doubled=(tuple(sorted((doubled, "twin"))),))
    assert [line for line in sentences(found) if "are one attempt" in line]


@given(
    st.dictionaries(
        st.sampled_from(["experiment", "attempt", "bpb"]),
        st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.lists(st.integers())),
    )
)
def test_whatever_anybody_writes_there_is_only_read(values: Mapping[str, object]) -> None:
    history = played([1.0])
    [(id, seen)] = mirror(history).items()
    listed = {id: replace(seen, config=values, summary=values), "x": Seen("x", config=values)}
    assert "x" in reconcile(history, listed).strangers or reconcile(history, listed).doubled


def test_what_has_just_ended_may_be_on_its_way() -> None:
    history = played([1.0])
    [entry] = history.entries.values()
    assert entry.result
    entry.result = replace(entry.result, ended=1000.0)
    assert reconcile(history, {}, before=1000.0) == Findings()
    assert len(reconcile(history, {}, before=1000.1).missing) == 1


def test_the_runs_of_lost_attempts_are_explained() -> None:
    history = played([1.0])
    [entry] = history.entries.values()
    entry.attempt = 3
    ids = explained(history)
    assert len(ids) == 3
    listed = {id: Seen(id, state="failed") for id in ids}
    found = reconcile(history, listed)
    assert not found.strangers
    assert [difference.key for difference in found.different] == ["bpb"], "only the last counts"


@pytest.mark.parametrize(
    ("theirs", "is_same"), [(1.101, True), (1.101 + 1e-12, True), (1.1011, False), (1, False)]
)
def test_numbers_that_were_written_and_read_are_the_same(theirs: float, is_same: bool) -> None:
    history = played([1.0])
    [(id, seen)] = mirror(history).items()
    found = reconcile(history, {id: replace(seen, summary={"bpb": theirs})})
    assert found.different == (() if is_same else (Difference(id, "bpb", 1.101, theirs),))


def test_sentences_say_both_values() -> None:
    findings = Findings(
        missing=("a",),
        unfinished=("b",),
        different=(Difference("c", "bpb", 1.25, None), Difference("d", "failure", "diverged", "x")),
        doubled=(("e", "f"),),
        strangers=("g",),
    )
    assert list(sentences(findings)) == [
        "a is missing at W&B",
        "b has no end at W&B",
        "c has bpb none at W&B, but 1.25 here",
        "d has failure x at W&B, but diverged here",
        "e and f are one attempt; delete all but one at W&B",
        "g is of no attempt of this campaign",
    ]
