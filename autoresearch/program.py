"""The text of one train.py: its identity, its `Config` read and rewritten, how it differs.

A program is only ever parsed here, never run.
"""

import ast
import difflib
import hashlib
import math
import operator
import tokenize
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any

from autoresearch.errors import SourceError, nearest
from autoresearch.experiment import Scalar

SIZE_LIMIT = 1 << 18  # bytes of a train.py: fourteen times ours
WEIGHT_LIMIT = 1 << 20  # nodes of its syntax that are compiled


def program_of(text: str) -> str:
    """The identity of a program: the SHA-256 of its UTF-8 bytes, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def unified(old: str, new: str, old_name: str, new_name: str) -> str:
    """What changes from one text to another: a unified diff, empty for the same text."""
    lines = difflib.unified_diff(
        StringIO(old, newline="\n").readlines(),
        StringIO(new, newline="\n").readlines(),
        old_name,
        new_name,
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def check(text: str) -> None:
    """Raises SourceError, with the line, unless the text is UTF-8, of sane size, and compiles."""
    tree = parse(text)
    try:
        if weight(tree) > WEIGHT_LIMIT:
            raise SourceError("train.py should compile to a sane size, but its finally blocks grow")
        with warnings.catch_warnings(action="ignore"):
            compile(tree, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise SourceError(f"train.py line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"train.py should compile, but: {error}") from error


def weight(node: ast.AST) -> int:
    """How many nodes Python compiles of it: a finally block is compiled once for each way out."""
    own = 1
    for name, value in ast.iter_fields(node):
        times = 2 + exits(node) if name == "finalbody" and value else 1
        children = value if isinstance(value, list) else [value]
        own += times * sum(weight(child) for child in children if isinstance(child, ast.AST))
    return own


def exits(node: ast.AST) -> int:
    """How many statements leave it."""
    ways = (ast.Return, ast.Break, ast.Continue)
    return sum(isinstance(child, ways) for child in ast.walk(node))


def parse(text: str) -> ast.Module:
    """Raises SourceError, with the line, unless Python can parse the text, UTF-8 of sane size."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"train.py should be UTF-8 text, but: {error.reason}") from error
    if len(data) > SIZE_LIMIT:
        raise SourceError(
            f"train.py should have at most {SIZE_LIMIT} bytes, but has {len(data)}; what a program "
            "needs besides code it makes in train()"
        )
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text, "train.py")
    except SyntaxError as error:
        raise SourceError(f"train.py line {error.lineno or 1}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"train.py should be Python that parses, but: {error}") from error
    if encoding != "utf-8":
        raise SourceError(f"train.py should be UTF-8, but declares {encoding}")
    return tree


def parameters(text: str) -> dict[str, Scalar]:
    """The fields of `Config` and their defaults, in order of appearance.

    Raises SourceError, with the line, if there is no dataclass `Config` or if a default is not a
    plain number, string or truth value, or arithmetic on such numbers (`2**19`).
    """
    return {name: scalar(name, node) for name, node in defaults(text).items()}


def bake(text: str, overrides: Mapping[str, Scalar]) -> str:
    """The text with these defaults of `Config` replaced where they stand, every other byte kept.

    Raises SourceError as `parameters` does, for an unknown name, or for a value of another kind.
    """
    nodes, values = defaults(text), dict(overrides)
    for name, value in overrides.items():
        if name not in nodes:
            raise SourceError(f"Config has no field '{name}'; {nearest(name, nodes)}")
        default = scalar(name, nodes[name])
        check_kind(name, default, value)
        if isinstance(default, float):  # 1 would read as a whole number from now on
            values[name] = float(value)
    data = text.encode()
    starts = line_starts(data)
    for name in sorted(overrides, key=lambda n: span(nodes[n], starts), reverse=True):
        begin, end = span(nodes[name], starts)
        data = data[:begin] + repr(values[name]).encode() + data[end:]
    return data.decode()


def skeleton(text: str) -> str:
    """A program without the values of its Config: equal for programs that differ in them alone."""
    data, starts = text.encode(), line_starts(text.encode())
    for node in sorted(defaults(text).values(), key=lambda n: span(n, starts), reverse=True):
        begin, end = span(node, starts)
        data = data[:begin] + b"_" + data[end:]
    return data.decode()


def check_kind(name: str, default: Scalar, value: Scalar) -> None:
    """Raises SourceError unless a value is of its default's kind: number, text or truth value."""
    if kind(value) != kind(default):
        raise SourceError(f"'{name}' should be a {kind(default)} as {default!r}, but was {value!r}")
    if not isinstance(value, str) and not is_plain(value):
        raise SourceError(f"'{name}' should be a finite number below 2**64, but was {value!r}")


def kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "text" if isinstance(value, str) else "number"


def defaults(text: str) -> dict[str, ast.expr]:
    """The default of each field of `Config`, as parsed. Raises SourceError as `parameters` does."""
    found: dict[str, ast.expr] = {}
    for statement in config_class(parse(text)).body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if last_name(statement.annotation) == "ClassVar":
            continue
        if statement.value is None:
            raise SourceError(
                f"train.py line {statement.lineno}: '{name}' should have a default, but has none"
            )
        found[name] = statement.value
    return found


def undefined(text: str) -> list[str]:
    """Which of build() and train() a program does not define at its top level."""
    body = parse(text).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    given = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    defined |= {target.id for target in given if isinstance(target, ast.Name)}
    return [f"{name}()" for name in ("build", "train") if name not in defined]


def config_class(tree: ast.Module) -> ast.ClassDef:
    found = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config"]
    if len(found) != 1:
        raise SourceError(
            f"train.py should define one class Config at its top level, but defines {len(found)}"
        )
    if "dataclass" not in map(last_name, found[0].decorator_list):
        raise SourceError(f"train.py line {found[0].lineno}: Config should be a @dataclass")
    return found[0]


def last_name(node: ast.expr) -> str:
    """`dataclass` of `@dataclasses.dataclass(frozen=True)`, `ClassVar` of `ClassVar[int]`."""
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return last_name(inner)
        case ast.Attribute(attr=word) | ast.Name(id=word):
            return word
    return ""


UNARY: Mapping[type[ast.unaryop], Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
BINARY: Mapping[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}


def scalar(name: str, node: ast.expr) -> Scalar:
    """The value of a default. Raises SourceError, with the line, if it is not plain."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, str)):
        return node.value
    try:
        return number(node)
    except (TypeError, ArithmeticError, ValueError, RecursionError) as error:
        raise SourceError(
            f"train.py line {node.lineno}: the default of '{name}' should be a plain number, "
            "string, True or False, but is something else; write the value itself"
        ) from error


def number(node: ast.expr) -> int | float:
    """Evaluate constant arithmetic without running anything; ValueError for all else.

    Whole numbers stay below 2**64 at every step, so that `9**9**9` costs nothing.
    """
    value: int | float
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            pass
        case ast.UnaryOp() if type(node.op) in UNARY:
            value = UNARY[type(node.op)](number(node.operand))
        case ast.BinOp() if type(node.op) in BINARY:
            left, right = number(node.left), number(node.right)
            if isinstance(node.op, (ast.Pow, ast.LShift)) and abs(right) > 64:
                raise ValueError("an exponent beyond 64")
            value = BINARY[type(node.op)](left, right)
        case _:
            raise ValueError("not a number")
    if not is_plain(value):
        raise ValueError("not a finite real number below 2**64")
    return value


def is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < 2**64


def line_starts(data: bytes) -> list[int]:
    """The offset of each line, as Python's parser counts: LF, CR LF and CR end a line."""
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def span(node: ast.expr, starts: Sequence[int]) -> tuple[int, int]:
    """Where a node's UTF-8 bytes begin and end. `ast` counts columns in bytes too."""
    assert node.end_lineno is not None  # noqa: S101 - set by ast.parse; narrows the type
    assert node.end_col_offset is not None  # noqa: S101
    begin = starts[node.lineno - 1] + node.col_offset
    return begin, starts[node.end_lineno - 1] + node.end_col_offset
