"""Values against schemas: what is wrong is told with its place."""

from typing import Any

import pytest
from claude_cache import Json
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.schema import check, misfits

EDIT = {
    "type": "object",
    "required": ["search", "replace"],
    "additionalProperties": False,
    "properties": {
        "search": {"type": "string", "description": "what stands there"},
        "replace": {"type": "string"},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["name", "edits"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "edits": {"type": "array", "items": EDIT},
        "count": {"type": "integer"},
        "expected": {"type": "number"},
        "promote": {"type": "boolean"},
        "tier": {"type": "string", "enum": ["screen", "validate"]},
        "overrides": {
            "type": "object",
            "additionalProperties": {"type": ["number", "string", "boolean"]},
        },
        "free": {"type": "object"},
    },
}
GOOD = {"name": "a", "edits": [{"search": "x", "replace": ""}]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"count": 3, "expected": -0.5, "promote": True, "tier": "screen"},
        {"count": 3.0, "expected": 2},
        {"count": 10**400, "expected": 10**400},
        {"overrides": {"lr": 0.1, "name": "x", "on": False}, "free": {"a": [None]}},
    ],
)
def test_what_fits_has_no_misfits(more: Json) -> None:
    check(SCHEMA, "tool")
    assert list(misfits(GOOD | more, SCHEMA)) == []


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ([], ["the input should be an object, but was []"]),
        ({}, ["name is missing", "edits is missing"]),
        (GOOD | {"name": 1}, ["name should be text, but was 1"]),
        (GOOD | {"count": True}, ["count should be a whole number, but was True"]),
        (GOOD | {"count": 1.5}, ["count should be a whole number, but was 1.5"]),
        (GOOD | {"count": None}, ["count should be a whole number, but was None"]),
        (GOOD | {"expected": "2"}, ["expected should be a number, but was '2'"]),
        (GOOD | {"expected": float("nan")}, ["expected should be a number, but was nan"]),
        (GOOD | {"promote": 1}, ["promote should be true or false, but was 1"]),
        (
            GOOD | {"tier": "screem"},
            ["tier should be one of 'screen', 'validate', but was 'screem'"],
        ),
        (GOOD | {"edits": "x"}, ["edits should be a list, but was 'x'"]),
        (
            GOOD | {"edits": [{"search": "x", "replace": "y"}, {"search": 2}]},
            ["edits[1].replace is missing", "edits[1].search should be text, but was 2"],
        ),
        (GOOD | {"edit": []}, ["edit is unknown; did you mean 'edits'?"]),
        (
            GOOD | {"overrides": {"lr": [1]}},
            ["overrides.lr should be a number or text or true or false, but was [1]"],
        ),
        (GOOD | {"name": ["x" * 100]}, [f"name should be text, but was ['{'x' * 78}…"]),
    ],
)
def test_each_misfit_is_told_with_its_place(value: object, wrong: list[str]) -> None:
    assert list(misfits(value, SCHEMA)) == wrong


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "object", "minProperties": 1}, "t: unknown keyword of a schema: minProperties"),
        ({"type": "int"}, "t: unknown type 'int'"),
        ({"type": ["number", "null"]}, "t: unknown type 'null'"),
        ({"type": "object", "required": ["a"]}, "t: required, but no property: a"),
        ({"properties": {"a": {"type": "array", "items": {"oneOf": []}}}}, r"t\.a\[\]: unknown"),
        ({"additionalProperties": {"pattern": "x"}}, r"t\[\]: unknown keyword"),
    ],
)
def test_a_schema_that_asks_for_more_is_refused_at_once(schema: Json, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check(schema, "t")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FITTING = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
}


@given(VALUES)
def test_any_value_is_judged(value: Any) -> None:
    wrong = list(misfits(value, SCHEMA))
    assert wrong or isinstance(value, dict)


@given(VALUES, st.sampled_from(sorted(FITTING)))
def test_types_are_those_of_json(value: Any, kind: str) -> None:
    assert (list(misfits(value, {"type": kind})) == []) == (type(value) is FITTING[kind])
