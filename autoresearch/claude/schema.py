"""A value against a JSON schema, as far as tools need it: one line for each misfit.

Known: type (one or several), properties, required, additionalProperties, items, enum. A schema
that asks for more is our mistake, found when its tool is made.
"""

import math
from collections.abc import Callable, Iterator

from autoresearch.errors import nearest
from autoresearch.experiment import Json

KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum"}
COMMENTS = {"description", "title"}


def is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    return value.is_integer() if isinstance(value, float) else is_number(value)


TYPES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "object": ("an object", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("text", lambda value: isinstance(value, str)),
    "number": ("a number", is_number),
    "integer": ("a whole number", is_integer),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
}


def check(schema: Json, place: str) -> None:
    """Raises ValueError for a schema that `misfits` does not understand in full."""
    if unknown := sorted(set(schema) - KEYWORDS - COMMENTS):
        raise ValueError(f"{place}: unknown keyword of a schema: {', '.join(unknown)}")
    for kind in kinds(schema):
        if kind not in TYPES:
            raise ValueError(f"{place}: unknown type {kind!r}")
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            raise ValueError(f"{place}: required, but no property: {name}")
    for name, inner in schema.get("properties", {}).items():
        check(inner, f"{place}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            check(inner, f"{place}[]")


def kinds(schema: Json) -> list[str]:
    """The types a value may have; none: any."""
    found = schema.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def misfits(value: object, schema: Json, place: str = "") -> Iterator[str]:
    """What is wrong with a value, each with its place in it."""
    allowed = kinds(schema)
    if allowed and not any(TYPES[kind][1](value) for kind in allowed):
        should = " or ".join(TYPES[kind][0] for kind in allowed)
        yield f"{place or 'the input'} should be {should}, but was {shown(value)}"
    elif "enum" in schema and value not in schema["enum"]:
        should = ", ".join(map(shown, schema["enum"]))
        yield f"{place or 'the input'} should be one of {should}, but was {shown(value)}"
    elif isinstance(value, dict):
        yield from of_object(value, schema, place)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from misfits(item, schema.get("items", {}), f"{place}[{number}]")


def of_object(value: Json, schema: Json, place: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{joined(place, name)} is missing"
    for name, inner in value.items():
        if name in known:
            yield from misfits(inner, known[name], joined(place, name))
        elif isinstance(others, dict):
            yield from misfits(inner, others, joined(place, name))
        elif not others:
            yield f"{joined(place, name)} is unknown; {nearest(name, known)}"


def joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
