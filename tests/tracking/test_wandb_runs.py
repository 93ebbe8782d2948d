"""The runs of the local W&B server: filters against a plain oracle, order, pages, states."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb_graphql import Node, Refused, Unknown, execute, parse
from wandb_runs import CRASHED_AFTER, Run, Store, arranged, matcher, stamp
from wandb_schema import Schema

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def run(id: str = "r", **given: Any) -> Run:
    return replace(Run("lab", "p", id, created=NOON, heartbeat=NOON), **given)


# ---- filters ---------------------------------------------------------------------------------

SCALARS = st.sampled_from([None, True, False, 0, 1, 2.5, "a", "ab", ""])
VALUES = SCALARS | st.lists(SCALARS, max_size=2)
PATTERNS: dict[str, Callable[[str], bool]] = {
    "a": lambda text: "a" in text,
    "^a$": lambda text: text == "a",
    "b$": lambda text: text.endswith("b"),
    "": lambda text: text is not None,
}
PATHS = ("config.x", "config.x.y", "summary_metrics.x", "tags", "group")
RUNS = st.builds(
    run,
    group=st.sampled_from([None, "a", "b"]),
    tags=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    config=st.dictionaries(st.just("x"), VALUES | st.dictionaries(st.just("y"), VALUES)),
    summary=st.dictionaries(st.just("x"), VALUES),
)
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), SCALARS),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$regex"), st.sampled_from(list(PATTERNS))),
).flatmap(lambda leaf: st.sampled_from(PATHS).map(lambda path: {path: dict([leaf])}))
QUERIES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: dict([pair])),
    max_leaves=6,
)


def looked_up(run: Run, path: str) -> Any:
    document: Any = {"config": run.config, "summary_metrics": run.summary}
    document |= {"tags": run.tags, "group": run.group}
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def holds(value: Any, sign: str, wanted: Any) -> bool:
    """One condition on one value, as MongoDB's manual tells it."""
    candidates = value if isinstance(value, list) else [value]
    alike = [x for x in candidates if kind(x) == kind(wanted)]
    ordered = [] if wanted is None else alike
    conditions: dict[str, Callable[[], bool]] = {
        "$eq": lambda: wanted in alike,
        "$ne": lambda: wanted not in alike,
        "$in": lambda: any(holds(value, "$eq", one) for one in wanted),
        "$nin": lambda: all(holds(value, "$ne", one) for one in wanted),
        "$gt": lambda: any(x > wanted for x in ordered),
        "$gte": lambda: any(x >= wanted for x in ordered),
        "$lt": lambda: any(x < wanted for x in ordered),
        "$lte": lambda: any(x <= wanted for x in ordered),
        "$exists": lambda: (value is not None) == wanted,
        "$regex": lambda: any(PATTERNS[wanted](x) for x in candidates if isinstance(x, str)),
    }
    return conditions[sign]()


def oracle(run: Run, query: dict[str, Any]) -> bool:
    ((name, inner),) = query.items()
    match name:
        case "$and":
            return all(oracle(run, one) for one in inner)
        case "$or":
            return any(oracle(run, one) for one in inner)
        case "$nor":
            return not any(oracle(run, one) for one in inner)
    ((sign, wanted),) = inner.items()
    return holds(looked_up(run, name), sign, wanted)


@given(RUNS, QUERIES)
def test_a_filter_matches_what_the_manual_says(run: Run, query: dict[str, Any]) -> None:
    assert matcher(query)(run) == oracle(run, query)


EVERYTHING = run(
    "id-1",
    name="shown",
    group="wave",
    job_type="screen",
    tags=["screen", "attempt 2"],
    config={"lr": 0.1, "deep": {"er": 3}, "dotted.key": 4},
    summary={"score": 1.5, "val/bpb": 1.1},
    state="finished",
)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"name": "id-1"},
        {"displayName": "shown", "group": "wave", "jobType": "screen", "state": "finished"},
        {"display_name": {"$regex": "^sho"}, "job_type": "screen"},
        {"tags": "attempt 2"},
        {"tags": {"$in": ["attempt 2", "else"]}},
        {"config.lr": {"$gt": 0.05, "$lt": 0.2}},
        {"config.lr.value": 0.1},
        {"config.deep.er": 3},
        {"config.deep.value.er": 3},
        {"config.dotted.key": 4},
        {"summary_metrics.score": {"$lte": 1.5}},
        {"summary_metrics.val/bpb": {"$exists": True}},
        {"createdAt": {"$gte": "2026-11-25T12:00:00Z"}},
        {"createdAt": {"$lt": "2026-11-26"}},
        {"heartbeatAt": {"$gte": "2026-11-25T12:00:00Z"}},
        {"heartbeatAt": {"$gt": "2026-11-25T11:59:59Z"}},
        {"heartbeatAt": {"$in": ["2026-11-25T12:00:00Z"]}},
        {"heartbeatAt": {"$exists": True}},
    ],
)
def test_every_field_of_a_run_can_be_asked_for(query: dict[str, Any]) -> None:
    assert matcher(query)(EVERYTHING)
    assert not matcher({"$nor": [query]})(EVERYTHING)


@pytest.mark.parametrize(
    "text", ["2026-11-25T11:00:00", "2026-11-25 11:00:00Z", "2026-11-25T11:00:00.000Z", "2026", 7]
)
@pytest.mark.parametrize("sign", ["$gt", "$lt", "$ne"])
def test_a_heartbeat_is_compared_only_with_what_the_server_wrote(sign: str, text: object) -> None:
    assert not matcher({"heartbeatAt": {sign: text}})(EVERYTHING)


def test_a_server_may_not_honour_filters_on_heartbeats() -> None:
    query = {"$or": [{"heartbeatAt": {"$gt": "2000-01-01T00:00:00Z"}}, {"name": "other"}]}
    assert matcher(query)(EVERYTHING)
    assert not matcher(query, heartbeats=False)(EVERYTHING)
    assert matcher({"group": "wave"}, heartbeats=False)(EVERYTHING)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"colour": 1}, Unknown, "field 'colour'"),
        ({"config": 1}, Unknown, "field 'config'"),
        ({"group": {"$like": "a"}}, Unknown, r"operator '\$like'"),
        ({"$not": [{}]}, Unknown, r"operator '\$not'"),
        ({"$or": []}, Refused, "not empty"),
        ({"$and": {"group": 1}}, Refused, "a list"),
        ({"group": {"$in": "a"}}, Refused, "take a list"),
        ({"group": {"$regex": "("}}, Refused, r"\$regex"),
        ({"group": {"$regex": "(?!a)"}}, Refused, "not RE2"),
        ({"createdAt": {"$gt": "yesterday"}}, Refused, "no time"),
        ([], Refused, "an object"),
    ],
)
def test_a_filter_that_is_not_known_is_an_error(
    query: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        matcher(query)(EVERYTHING)


# ---- order and pages -------------------------------------------------------------------------


def test_runs_are_arranged_by_what_they_hold() -> None:
    runs = [
        run("a", summary={"loss": 2}, heartbeat=NOON + timedelta(seconds=1)),
        run("b", summary={}, created=NOON - timedelta(hours=1)),
        run("c", summary={"loss": 1}, config={"lr": 3}),
        run("d", summary={"loss": 2}, config={"lr": 1}),
    ]

    def order(text: str) -> str:
        return "".join(run.id for run in arranged(runs, text))

    assert order("+summary_metrics.loss") == "bcad", "equal ones stay, missing ones come first"
    assert order("-summary_metrics.loss") == "adcb"
    assert order("created_at") == "bacd"
    assert order("-heartbeat_at") == "abcd"
    assert order("-summary_metrics.loss,-config.lr.value") == "dacb"
    with pytest.raises(Unknown, match="order '-colour'"):
        order("-colour")


PAGE = """query Runs($first: Int, $after: String, $filters: JSONString, $order: String) {
    project(name: "p", entityName: "lab") {
        runCount(filters: $filters)
        runs(first: $first, after: $after, filters: $filters, order: $order) {
            edges { node { name } cursor }
            pageInfo { endCursor hasNextPage }
        }
    }
}"""


def served(runs: list[Run]) -> Node:
    store = Store()
    store.project("lab", "p")
    for one in runs:
        store.add(one)
    return Schema(store, {}, "http://127.0.0.1").query


@given(st.integers(0, 12), st.integers(1, 5), st.sampled_from(["+config.n", "-config.n"]))
def test_pages_are_the_whole_in_order(count: int, first: int, order: str) -> None:
    root = served([run(f"r{n}", config={"n": n}, group="ab"[n % 2]) for n in range(count)])
    variables = {"first": first, "order": order, "filters": json.dumps({"group": "a"})}
    names, after = [], None
    for _ in range(count + 1):
        project = execute(parse(PAGE), variables | {"after": after}, root)["project"]
        names += [edge["node"]["name"] for edge in project["runs"]["edges"]]
        info = project["runs"]["pageInfo"]
        after = info["endCursor"]
        if not info["hasNextPage"]:
            break
    wanted = [f"r{n}" for n in range(0, count, 2)]
    assert names == (wanted if order[0] == "+" else wanted[::-1])
    assert project["runCount"] == len(wanted)


def test_a_page_has_a_thousand_runs_at_most_and_cursors_of_our_own() -> None:
    root = served([run(f"r{n}") for n in range(1001)])
    runs = execute(parse(PAGE), {"first": 5000}, root)["project"]["runs"]
    assert len(runs["edges"]) == 1000
    assert runs["pageInfo"]["hasNextPage"]
    with pytest.raises(Refused, match="cursor"):
        execute(parse(PAGE), {"after": "17"}, root)


# ---- a run's life ----------------------------------------------------------------------------


def lines(start: int, count: int, offset: int | None = None) -> dict[str, Any]:
    content = [json.dumps({"_step": start + n}) for n in range(count)]
    at = start if offset is None else offset
    return {"files": {"wandb-history.jsonl": {"offset": at, "content": content}}}


def begun() -> tuple[Store, Run]:
    store = Store()
    return store, store.upsert("lab", "p", "r", starts=True)[0]


def age(run: Run, by: timedelta) -> None:
    run.heartbeat -= by


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
def test_a_chunk_that_comes_again_changes_nothing(sizes: list[int], data: st.DataObject) -> None:
    store, run = begun()
    starts = [0, *itertools.accumulate(sizes)]
    for start, size in zip(starts, sizes, strict=False):
        for _ in range(data.draw(st.integers(1, 3))):
            store.stream(run, lines(start, size))
    assert [row["_step"] for row in run.history] == list(range(sum(sizes)))


def test_a_chunk_after_a_gap_is_an_error() -> None:
    store, run = begun()
    store.stream(run, lines(0, 2))
    with pytest.raises(Unknown, match="goes on at 5 after 2 lines"):
        store.stream(run, lines(5, 1))


@pytest.mark.parametrize(
    "body", [{"dropped": 1}, {"files": {"wandb-media.jsonl": {"offset": 0, "content": ["{}"]}}}]
)
def test_what_else_is_streamed_is_an_error(body: dict[str, Any]) -> None:
    store, run = begun()
    with pytest.raises(Unknown, match=r"file_stream: .*(dropped|wandb-media)"):
        store.stream(run, body)


def test_the_last_summary_counts() -> None:
    store, run = begun()
    content = ['{"loss": 2, "old": 1}', '{"loss": 1}']
    store.stream(run, {"files": {"wandb-summary.json": {"offset": 0, "content": content}}})
    assert run.summary == {"loss": 1}


def test_a_run_ends_as_its_exit_code_says() -> None:
    store, run = begun()
    assert store.stream(run, {"complete": True, "exitcode": 0})["exitcode"] == 0
    assert (run.state, run.exit_code) == ("finished", 0)
    store.stream(run, lines(0, 1))
    assert run.state == "running", "lines after the end"
    store.stream(run, {"complete": True, "exitcode": 3})
    assert (run.state, run.exit_code) == ("failed", 3)
    store.stream(run, {})
    assert run.state == "failed", "a heartbeat alone brings nobody back"


def test_a_run_that_was_asked_to_stop_hears_of_it_and_is_killed() -> None:
    store, run = begun()
    run.stop_requested = True
    assert store.stream(run, {})["stopped"] is True
    store.stream(run, {"complete": True, "exitcode": 255})
    assert run.state == "killed"


def test_a_run_that_says_it_will_be_preempted_is() -> None:
    store, run = begun()
    store.stream(run, {"preempting": True})
    store.stream(run, lines(0, 1))
    assert run.state == "preempting"
    store.stream(run, {"complete": True, "exitcode": 1})
    assert run.state == "preempted"


def test_a_run_without_heartbeats_has_crashed_until_the_next() -> None:
    store, run = begun()
    age(run, CRASHED_AFTER - timedelta(seconds=5))
    assert store.settled(run).state == "running"
    age(run, timedelta(seconds=10))
    assert store.settled(run).state == "crashed"
    store.stream(run, {})
    assert store.settled(run).state == "running"
    store.stream(run, {"complete": True, "exitcode": 0})
    age(run, CRASHED_AFTER * 2)
    assert store.settled(run).state == "finished"


def test_a_clock_that_is_off_shows_in_what_the_server_writes() -> None:
    store = Store()
    store.skew = timedelta(hours=-2)
    run, new = store.upsert("lab", "p", "r", starts=True)
    assert new
    assert stamp(run.created) < stamp(datetime.now(UTC) - timedelta(hours=1))
    assert store.settled(run).state == "running"


def test_who_takes_a_run_up_again_finds_it_running() -> None:
    store, run = begun()
    store.stream(run, {"complete": True, "exitcode": 1})
    again, new = store.upsert("lab", "p", "r", starts=False)
    assert (again is run, new, run.state, run.creations) == (True, False, "failed", 1)
    store.upsert("lab", "p", "r", starts=True)
    assert (run.state, run.exit_code, run.creations) == ("running", None, 2)
