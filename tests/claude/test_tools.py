"""Calls of tools: what fits reaches the function, what does not comes back as a Mistake."""

import pytest
from claude_cache import Json
from claude_rules import Memory, faults

from autoresearch.claude.tools import Done, Mistake, Tool, use
from autoresearch.errors import UserError

SCHEMA = {
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "properties": {"a": {"type": "number"}},
}


def double(input: Json) -> str:
    return str(2 * input["a"])


DOUBLE = Tool("double", "Twice a number.", SCHEMA, double)
FINISH = Tool("finish", "The end.", {"type": "object"}, lambda _: Done())


def call(name: str, **input: object) -> Json:
    return {"type": "tool_use", "id": "t", "name": name, "input": input}


def test_a_call_that_fits_is_made() -> None:
    assert use([DOUBLE, FINISH], call("double", a=4)) == "8"
    assert use([DOUBLE, FINISH], call("finish")) == Done()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (call("dubble", a=1), "there is no tool 'dubble'; did you mean 'double'?"),
        (call("double", a="x", b=1), "a should be a number, but was 'x'\nb is unknown"),
        (call("double"), "a is missing"),
    ],
)
def test_a_call_that_does_not_is_a_mistake(asked: Json, told: str) -> None:
    with pytest.raises(Mistake, match=told):
        use([DOUBLE, FINISH], asked)


def test_what_is_told_of_misfits_is_bounded() -> None:
    items = {"type": "array", "items": {"type": "object"}}
    many = Tool("many", "", {"type": "object", "properties": {"a": items}}, double)
    with pytest.raises(Mistake) as told:
        use([many], call("many", a=[0] * 8000))
    lines = str(told.value).splitlines()
    assert lines[:1] == ["a[0] should be an object, but was 0"]
    assert (len(lines), lines[-1]) == (21, "… and 7980 more problems")
    with pytest.raises(Mistake) as told:
        use([DOUBLE], call("double", a=1, **{str(n) + "x" * 60000: n for n in range(30)}))
    assert len(str(told.value)) <= 8000
    with pytest.raises(Mistake, match="there is no tool 'xxx") as told:
        use([DOUBLE], call("x" * 60000))
    assert len(str(told.value)) < 200


def test_a_tools_own_errors_are_its_own() -> None:
    def fail(input: Json) -> str:
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"):
        use([Tool("fail", "", {"type": "object"}, fail)], call("fail"))


def test_a_schema_that_cannot_be_checked_makes_no_tool() -> None:
    with pytest.raises(ValueError, match="double: unknown keyword of a schema: minimum"):
        Tool("double", "", {"type": "object", "minimum": 1}, double)


def test_the_api_takes_a_tool_as_it_is_told() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    assert list(faults(body | {"tools": [DOUBLE.to_api(), FINISH.to_api()]}, Memory())) == []
