"""The house rules that a machine can measure: sizes, types, handlers, words.

Each rule is a function from a file's text to its faults, and is tried on a planted violation.
`train/` is one file to read top to bottom: only the rules on handlers and words hold there.
"""

import ast
import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOUNDARY = "autoresearch/cli.py"  # the one place where every error becomes an exit code
BROAD = {"Exception", "BaseException"}

Rule = Callable[[str], Iterator[str]]


def files(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """The project's own files below these folders, or the root's own for "."."""
    found: set[Path] = set()
    for folder in folders:
        inside = ROOT.glob("*") if folder == "." else (ROOT / folder).rglob("*")
        found |= {path for path in inside if path.is_file() and path.suffix in suffixes}
    return sorted(found)


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_functions(source: str) -> Iterator[str]:
    for function in functions(source):
        if length(function) > 60:
            yield f"{function.lineno}: {function.name} has {length(function)} lines, at most 60"


def long_file(source: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > 400:
        yield f"has {lines} lines, at most 400"


def untyped_returns(source: str) -> Iterator[str]:
    for function in functions(source):
        if function.returns is None:
            yield f"{function.lineno}: {function.name} has no return type"


def no_account_of_itself(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    if tree.body and not ast.get_docstring(tree):
        yield "opens without a docstring that says what it is"


def names_in(expression: ast.expr | None) -> set[str]:
    """`(OSError, Exception)` -> {"OSError", "Exception"}; a bare except catches everything."""
    if expression is None:
        return set(BROAD)
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def caught(node: ast.ExceptHandler | ast.Call) -> set[str]:
    """What a handler, or a `suppress`, catches."""
    if isinstance(node, ast.ExceptHandler):
        return names_in(node.type)
    if ast.unparse(node.func).endswith("suppress"):
        return set().union(*map(names_in, node.args))
    return set()


def broad_handlers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler | ast.Call) and caught(node) & BROAD:
            yield f"{node.lineno}: catches everything"


def unfinished(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
            yield f"{node.lineno}: raises NotImplementedError"


def cannot_fail(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant) and node.test.value:
            yield f"{node.lineno}: asserts a constant"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in UNCONDITIONAL:
            yield f"{node.lineno}: {ast.unparse(node)} hides a test"


UNCONDITIONAL = {"pytest.mark.skip", "pytest.mark.xfail"}

# Spelled so that this file does not match itself.
WORDS = {
    "an unfinished-work mark": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"),
    "a path of one machine": re.compile(r"(^|[\s\"'`(=:])/(home|root|Users|wo" + r"rk)/\w"),
    "a package index's host": re.compile(
        r"\b(pypi|files\.pythonhosted|registry\.npmjs|deb\.debian|download\.pytorch)\.org\b"
    ),
}


def forbidden_words(source: str) -> Iterator[str]:
    for number, line in enumerate(source.splitlines(), 1):
        for what, pattern in WORDS.items():
            if pattern.search(line):
                yield f"{number}: {what}: {line.strip()[:80]}"


def broken(rule: Rule, paths: list[Path]) -> list[str]:
    assert paths
    return [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in paths
        for fault in rule(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("rule", [long_functions, long_file, untyped_returns])
def test_the_package_is_made_of_small_typed_pieces(rule: Rule) -> None:
    assert broken(rule, files("autoresearch")) == []


def test_half_of_all_functions_have_ten_lines_or_fewer() -> None:
    sizes = [length(f) for path in files("autoresearch") for f in functions(path.read_text())]
    assert len(sizes) > 100
    assert statistics.median(sizes) <= 10


def test_every_module_says_what_it_is() -> None:
    assert broken(no_account_of_itself, files("autoresearch", "train", "scripts")) == []


def test_errors_are_caught_by_name() -> None:
    code = files("autoresearch", "train", "tests", "scripts")
    found = [fault for fault in broken(broad_handlers, code) if not fault.startswith(BOUNDARY)]
    assert found == []


def test_the_boundary_catches_all_once() -> None:
    assert len(list(broad_handlers((ROOT / BOUNDARY).read_text()))) == 1


def test_nothing_is_left_unfinished() -> None:
    assert broken(unfinished, files("autoresearch", "train")) == []


def test_every_test_can_fail() -> None:
    assert broken(cannot_fail, files("tests")) == []


def test_no_file_speaks_of_one_machine_or_of_work_to_come() -> None:
    kinds = (".py", ".md", ".yaml", ".toml", ".txt", ".sh", ".sbatch", "")
    folders = ("autoresearch", "conf", "docs", "scripts", "skills", "slurm", "tests", "train")
    texts = [p for p in files(*folders, ".ci", ".", suffixes=kinds) if p.parts[-2] != "__pycache__"]
    assert broken(forbidden_words, texts) == []


@pytest.mark.parametrize(
    ("rule", "source", "fault"),
    [
        (long_functions, "def f() -> None:\n" + "    pass\n" * 60, "1: f has 61 lines"),
        (long_file, "x = 1\n" * 401, "has 401 lines"),
        (untyped_returns, "class A:\n    def f(self): ...", "2: f has no return type"),
        (untyped_returns, "async def f(): ...", "1: f has no return type"),
        (no_account_of_itself, "import os", "opens without a docstring"),
        (broad_handlers, "try:\n    f()\nexcept Exception:\n    pass", "3: catches everything"),
        (broad_handlers, "try:\n    f()\nexcept:\n    pass", "3: catches everything"),
        (
            broad_handlers,
            "try:\n    f()\nexcept (OSError, BaseException) as e:\n    g(e)",
            "3: cat",
        ),
        (broad_handlers, "with contextlib.suppress(Exception):\n    f()", "1: catches"),
        (unfinished, "def f() -> int:\n    raise NotImplementedError('later')", "2: raises"),
        (cannot_fail, "assert True", "1: asserts a constant"),
        (cannot_fail, "@pytest.mark.skip\ndef test_x(): ...", "1: pytest.mark.skip"),
        (cannot_fail, "@pytest.mark.xfail()\ndef test_x(): ...", "1: pytest.mark.xfail"),
        (forbidden_words, "x = 1  # TO" + "DO: more", "1: an unfinished-work mark"),
        (forbidden_words, "open('/ho" + "me/ada/x')", "1: a path of one machine"),
        (forbidden_words, "--index-url https://py" + "pi.org/simple", "1: a package index's host"),
    ],
)
def test_a_planted_violation_is_named(rule: Rule, source: str, fault: str) -> None:
    assert [found for found in rule(source) if found.startswith(fault)]


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (long_functions, "def f() -> None:\n" + "    pass\n" * 59),
        (broad_handlers, "try:\n    f()\nexcept (OSError, ValueError):\n    pass"),
        (broad_handlers, "with suppress(OSError):\n    f()"),
        (cannot_fail, "@pytest.mark.skipif(x)\ndef test_x(): ..."),
        (forbidden_words, "cp -r /scratch/$USER ~/autoresearch  # mastodon, hackers, /homework"),
    ],
)
def test_what_keeps_the_rule_is_left_alone(rule: Rule, source: str) -> None:
    assert list(rule(source)) == []
