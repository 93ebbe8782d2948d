"""The part of GraphQL that W&B's clients speak: parse an operation, answer it from nested nodes.

A resolver is a plain value, or a function of the field's arguments. Only what was asked for is
computed and returned; what the nodes do not know is an `Unknown`, never an empty answer.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Refused(Exception):  # noqa: N818 - it says what the server does
    """What the real server would answer with a GraphQL error."""


class Unknown(Refused):
    """What this server does not know; the real one might."""


class Node(dict[str, Any]):
    """An object of a GraphQL type. A dict that is no Node is a JSON scalar."""

    def __init__(self, typename: str, /, **fields: Any) -> None:
        super().__init__(fields, __typename=typename)


@dataclass(frozen=True, slots=True)
class Variable:
    name: str


@dataclass(frozen=True, slots=True)
class Spread:
    fragment: str


@dataclass(frozen=True, slots=True)
class Field:
    key: str  # the alias, if there is one
    name: str
    arguments: Mapping[str, Any]
    selections: tuple["Field | Spread", ...]


@dataclass(frozen=True, slots=True)
class Operation:
    kind: str
    name: str
    required: frozenset[str]
    defaults: Mapping[str, Any]
    selections: tuple[Field, ...]


# ---- text → operation ------------------------------------------------------------------------

IGNORED = re.compile(r"(?:[\s,\ufeff]|#[^\n]*)*")
TOKEN = re.compile(
    r"""(?P<sign>\.\.\.|[!$()=:\[\]{}])|(?P<name>[A-Za-z_]\w*)
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<text>"(?:[^"\\\n]|\\.)*")""",
    re.VERBOSE,
)
END = ("end", "")
CONSTANTS = {"true": True, "false": False, "null": None}


def tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while (at := match.end() if (match := IGNORED.match(text, at)) else at) < len(text):
        if not (token := TOKEN.match(text, at)):
            raise Unknown(f"GraphQL syntax at {text[at : at + 20]!r}")
        yield str(token.lastgroup), token.group()
        at = token.end()


class Parser:
    """Recursive descent over the tokens of one document."""

    def __init__(self, text: str) -> None:
        self.tokens = [*tokens(text), END]
        self.at = 0

    def next(self) -> tuple[str, str]:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def sees(self, text: str) -> bool:
        return self.tokens[self.at] != END and self.tokens[self.at][1] == text

    def take(self, text: str) -> bool:
        if found := self.sees(text):
            self.next()
        return found

    def expect(self, text: str) -> None:
        if (token := self.next())[1] != text or token == END:
            raise Unknown(f"GraphQL syntax: {text!r} expected, but {token[1]!r} found")

    def name(self) -> str:
        kind, text = self.next()
        if kind != "name":
            raise Unknown(f"GraphQL syntax: a name expected, but {text!r} found")
        return text

    def document(self) -> Operation:
        fragments: dict[str, tuple[Field | Spread, ...]] = {}
        operations: list[Operation] = []
        while self.tokens[self.at] != END:
            if self.take("fragment"):
                name = self.name()
                self.expect("on")
                self.name()
                fragments[name] = self.selections()
            else:
                operations.append(self.operation())
        if len(operations) != 1:
            raise Unknown(f"a GraphQL document with {len(operations)} operations")
        (operation,) = operations
        return Operation(
            operation.kind,
            operation.name,
            operation.required,
            operation.defaults,
            expand(operation.selections, fragments),
        )

    def operation(self) -> Operation:
        kind = "query" if self.sees("{") else self.name()
        if kind not in ("query", "mutation"):
            raise Unknown(f"GraphQL syntax: query or mutation expected, but {kind!r} found")
        name = "" if self.sees("{") or self.sees("(") else self.name()
        required, defaults = set[str](), dict[str, Any]()
        if self.take("("):
            while not self.take(")"):
                self.expect("$")
                variable = self.name()
                self.expect(":")
                must = self.type()
                if self.take("="):
                    defaults[variable] = self.value()
                elif must:
                    required.add(variable)
        selections: Any = self.selections()
        return Operation(kind, name, frozenset(required), defaults, selections)

    def type(self) -> bool:
        """Skip a type; whether it excludes null."""
        if self.take("["):
            self.type()
            self.expect("]")
        else:
            self.name()
        return self.take("!")

    def selections(self) -> tuple[Field | Spread, ...]:
        self.expect("{")
        found: list[Field | Spread] = []
        while not self.take("}"):
            found.append(Spread(self.name()) if self.take("...") else self.field())
        return tuple(found)

    def field(self) -> Field:
        key = name = self.name()
        if self.take(":"):
            name = self.name()
        arguments = dict(self.pairs(")")) if self.take("(") else {}
        return Field(key, name, arguments, self.selections() if self.sees("{") else ())

    def pairs(self, end: str) -> Iterator[tuple[str, Any]]:
        while not self.take(end):
            name = self.name()
            self.expect(":")
            yield name, self.value()

    def value(self) -> Any:
        if self.take("$"):
            return Variable(self.name())
        if self.take("["):
            found = []
            while not self.take("]"):
                found.append(self.value())
            return found
        if self.take("{"):
            return dict(self.pairs("}"))
        kind, text = self.next()
        if kind == "name":
            return CONSTANTS.get(text, text)
        if kind == "number":
            return float(text) if set(text) & set(".eE") else int(text)
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        raise Unknown(f"GraphQL syntax: a value expected, but {text!r} found")


def expand(
    selections: Sequence[Field | Spread], fragments: Mapping[str, tuple[Field | Spread, ...]]
) -> tuple[Field, ...]:
    """Put fragments in their places, and fields selected twice together."""
    found: dict[str, Field] = {}
    for selection in selections:
        if isinstance(selection, Field):
            fields: tuple[Field, ...] = (selection,)
        elif selection.fragment in fragments:
            fields = expand(fragments[selection.fragment], fragments)
        else:
            raise Unknown(f"GraphQL: no fragment {selection.fragment!r}")
        for field in fields:
            twin = found.get(field.key)
            inner = (*twin.selections, *field.selections) if twin else field.selections
            found[field.key] = Field(
                field.key, field.name, field.arguments, expand(inner, fragments)
            )
    return tuple(found.values())


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Operation:
    """Raises Unknown for what is no document with one operation."""
    return Parser(text).document()


# ---- operation → answer ----------------------------------------------------------------------


def execute(operation: Operation, variables: Mapping[str, Any], root: Node) -> dict[str, Any]:
    """Raises Refused if a field, an argument or a variable is not as it should be."""
    values = {**operation.defaults, **variables}
    for name in sorted(operation.required):
        if values.get(name) is None:
            raise Refused(f"variable ${name} is required")
    return select(root, operation.selections, values)


def select(
    node: Node, selections: Sequence[Field | Spread], variables: Mapping[str, Any]
) -> dict[str, Any]:
    answer = {}
    for field in selections:
        assert isinstance(field, Field)  # fragments are expanded
        if field.name not in node:
            raise Unknown(f"field '{field.name}' of {node['__typename']}")
        value = node[field.name]
        arguments = {snake(k): fill(v, variables) for k, v in field.arguments.items()}
        if callable(value):
            value = call(value, arguments, f"{node['__typename']}.{field.name}")
        elif arguments:
            raise Unknown(f"arguments of {node['__typename']}.{field.name}")
        answer[field.key] = complete(value, field, variables)
    return answer


def complete(value: Any, field: Field, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [complete(item, field, variables) for item in value]
    if isinstance(value, Node):
        if not field.selections:
            raise Refused(f"field '{field.name}' should have a selection of subfields")
        return select(value, field.selections, variables)
    if field.selections and value is not None:
        raise Unknown(f"subfields of '{field.name}'")
    return value


def fill(value: Any, variables: Mapping[str, Any]) -> Any:
    """An argument's value, with variables put in."""
    if isinstance(value, Variable):
        return variables.get(value.name)
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        return {name: fill(item, variables) for name, item in value.items()}
    return value


def snake(name: str) -> str:
    """entityName → entity_name"""
    return re.sub(r"[A-Z]+", lambda letters: "_" + letters.group().lower(), name)


def call(resolver: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> Any:
    """A mutation's resolver takes the fields of its `input` as arguments."""
    if set(arguments) == {"input"} and isinstance(arguments["input"], dict):
        arguments = {snake(name): value for name, value in arguments["input"].items()}
    if arguments:
        try:
            inspect.signature(resolver).bind(**arguments)
        except TypeError as error:
            raise Unknown(f"arguments of {where}: {error}") from None
    return resolver(**arguments)
