"""Plain values (what YAML holds) ↔ frozen dataclasses, by their type hints alone.

Strict: every key is known, every value of its field's type; a whole number passes for a float.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from autoresearch.config.grammar import domain_text, parse_domain
from autoresearch.errors import ConfigError
from autoresearch.experiment import Scalar
from autoresearch.settings import Settings
from autoresearch.space import Choice, Domain, Interval

T = TypeVar("T")

UNSET = "???"  # how YAML files say that a value must come from elsewhere

WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
}


def read(kind: type[T], values: object) -> T:
    """A dataclass from plain values. Raises ConfigError."""
    record: T = read_record(kind, values, "")
    return record


def read_any(kind: Any, value: Any, key: str) -> Any:
    """`value` as the type hint `kind` wants it; `key` is its dotted name."""
    if value == UNSET:
        raise ConfigError(unset(key))
    if is_dataclass(kind):
        return read_record(kind, value, key)
    if kind == Domain:
        return parse_domain(key, value)
    if get_origin(kind) is dict:
        return read_mapping(get_args(kind)[1], value, key)
    if get_origin(kind) is tuple:
        return read_tuple(get_args(kind)[0], value, key)
    return read_scalar(alternatives(kind), value, key)


def alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def read_record(kind: Any, values: object, key: str) -> Any:
    hints = get_type_hints(kind)
    arguments = {}
    for name, value in mapping(values, key).items():
        if name not in hints:
            raise ConfigError(
                f"there is no key '{dotted(key, name)}'; {suggestion(key, name, hints)}"
            )
        arguments[name] = read_any(hints[name], value, dotted(key, name))
    for field in fields(kind):
        is_needed = field.default is MISSING and field.default_factory is MISSING
        if is_needed and field.name not in arguments:
            raise ConfigError(unset(dotted(key, field.name)))
    return kind(**arguments)


def unset(key: str) -> str:
    return f"{key} should be set, but is not; say {key}=..."


def read_mapping(kind: Any, values: object, key: str) -> dict[str, Any]:
    return {n: read_any(kind, v, dotted(key, n)) for n, v in mapping(values, key).items()}


def mapping(values: object, key: str) -> dict[str, Any]:
    """`values`, if they are names with values. An empty YAML file counts as having none."""
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(
            f"{key or 'the settings'} should hold names with values, but was {values!r}"
        )
    for name in values:
        if not isinstance(name, str):
            raise ConfigError(f"{dotted(key, str(name))} should be a name, but {name!r} is none")
    return values


def read_tuple(kind: Any, values: object, key: str) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise ConfigError(f"{key} should be a list such as [1,2], but was {values!r}")
    return tuple(read_any(kind, value, f"{key}[{k}]") for k, value in enumerate(values))


def read_scalar(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if float in kinds and int not in kinds and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) not in kinds:
        is_number = kinds == (str,) and isinstance(value, (int, float))
        advice = f"; as text it is written {key}='\"{value}\"'" if is_number else ""
        raise ConfigError(f"{key} should be {wanted(kinds)}, but was {value!r}{advice}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} should be a finite number, but was {value}")
    if isinstance(value, str) and not is_text(value):
        raise ConfigError(f"{key} should be text, but {value!r} is not valid Unicode")
    return value


def wanted(kinds: tuple[Any, ...]) -> str:
    is_any = set(kinds) == set(get_args(Scalar))
    words = " or ".join(WORDS[kind] for kind in kinds)
    return "one value (a number, text, true or false)" if is_any else words


def is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(value: Any) -> Any:
    """The inverse of `read`: what YAML can hold."""
    if isinstance(value, (Choice, Interval)):
        return domain_text(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


# ---- names -----------------------------------------------------------------------------------


def dotted(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def suggestion(key: str, name: str, siblings: Collection[str]) -> str:
    """What a message about an unknown key ends with: keys of that name, or of a similar one."""
    keys = list(known_keys(Settings))
    meant = [path for path in keys if last(path) == name]
    if not meant:
        meant = [dotted(key, close) for close in get_close_matches(name, siblings, n=1)]
    if not meant:
        close = get_close_matches(name, {last(path) for path in keys}, n=1)
        meant = [path for path in keys if last(path) in close]
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    return f"choose one of: {', '.join(sorted(siblings))}"


def last(key: str) -> str:
    return key.rpartition(".")[2]


def known_keys(kind: Any, key: str = "") -> Iterator[str]:
    """Every key there is below `key`; NAME stands for a name of the user's choice."""
    if is_dataclass(kind):
        for name, inner in get_type_hints(kind).items():
            yield from known_keys(inner, dotted(key, name))
    elif get_origin(kind) is dict:
        yield from known_keys(get_args(kind)[1], dotted(key, "NAME"))
    else:
        yield key
