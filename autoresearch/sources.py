"""Every train.py a campaign has tried, in its own bare git repository, and edits of its `Config`.

A version is a commit whose tree holds `train.py`; the program is known by the SHA-256 of its bytes
and found at `refs/versions/<sha256>`; branch `champion` is the result. `git log --graph champion`
shows the lineage. Needs the git binary, no git settings of the user. A program is only ever parsed
here, never run.
"""

import ast
import difflib
import hashlib
import math
import operator
import os
import shutil
import subprocess
import tempfile
import time
import tokenize
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Self

from autoresearch.errors import RecordError, SourceError, nearest
from autoresearch.experiment import Scalar, plain

SIZE_LIMIT = 1 << 20  # bytes of a train.py
CHAMPION = "refs/heads/champion"
AUTHOR = "autoresearch"
LOCK_SECONDS = 2.0  # git holds a ref's lock for milliseconds; one this old has lost its owner


def program_of(text: str) -> str:
    """The identity of a program: the SHA-256 of its UTF-8 bytes, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class Sources:
    """The versions in one repository. One writer at a time; any number of readers.

    A version never changes, so what git has said of one is not asked again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._texts: dict[str, str] = {}
        self._commits: dict[str, str] = {}
        self._champion = ""  # where we have moved the branch last

    @classmethod
    def create(cls, path: Path) -> Self:
        """An empty repository at `path`, or the one that is there already.

        Raises SourceError if git is missing or the directory cannot be written.
        """
        sources = cls(path)
        if not path.exists():
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                draft = cls(temporary)
                draft._git("init", "--quiet", "--bare", "--template=", str(temporary))
                draft._git("symbolic-ref", "HEAD", CHAMPION)  # what `git clone` checks out
                temporary.rename(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return sources

    def add(self, text: str, message: str, parents: Sequence[str] = (), *, when: float) -> str:
        """Keep a version and return its program. Same text: the same version, nothing new.

        `parents` are programs kept before; `when` is Unix time: equal arguments give the same
        commit. Raises SourceError if the text fails `check` or a parent is unknown.
        """
        check(text)
        program = program_of(text)
        if self._resolve(reference(program)) is None:
            lineage = [word for parent in parents for word in ("-p", self.commit(parent))]
            blob = self._git("hash-object", "-w", "--stdin", stdin=text.encode()).strip()
            tree = self._git("mktree", stdin=b"100644 blob " + blob + b"\ttrain.py\n")
            note = plain(message).encode("utf-8", "replace") + b"\n"
            commit = self._git("commit-tree", tree.decode().strip(), *lineage, stdin=note, at=when)
            self._point(reference(program), commit.decode().strip())
        return program

    def read(self, program: str) -> str:
        """The text of a version. Raises SourceError if it is unknown, RecordError if damaged."""
        if program not in self._texts:
            data = self._git("cat-file", "blob", f"{self.commit(program)}:train.py")
            if hashlib.sha256(data).hexdigest() != program:
                raise RecordError(f"version {program} in {self.path} should have this SHA-256")
            self._texts[program] = data.decode()
        return self._texts[program]

    def commit(self, program: str) -> str:
        """The git id of a version's commit. Raises SourceError if there is no such version."""
        if program not in self._commits:
            commit = self._resolve(reference(program))
            if commit is None:
                raise SourceError(f"version {program} should be in {self.path}, but is not")
            self._commits[program] = commit
        return self._commits[program]

    def log(self, program: str) -> list[tuple[str, str]]:
        """A version and its ancestors, newest first: git id and first line of the message."""
        text = self._git("log", "--format=%H %s", self.commit(program)).decode(errors="replace")
        return [(line[:40], line[41:]) for line in text.splitlines()]

    def diff(self, a: str, b: str) -> str:
        """What changes from version `a` to version `b`, as `unified` shows it."""
        return unified(self.read(a), self.read(b), a[:7], b[:7])

    def set_champion(self, program: str) -> None:
        """Move branch `champion` to a version; does nothing if we left it there."""
        if program != self._champion:
            self._point(CHAMPION, self.commit(program))
            self._champion = program

    def champion(self) -> str | None:
        """The program branch `champion` is at; None before the first one."""
        commit = self._resolve(CHAMPION)
        if commit is None:
            return None
        return hashlib.sha256(self._git("cat-file", "blob", f"{commit}:train.py")).hexdigest()

    def _resolve(self, ref: str) -> str | None:
        listed = self._git("for-each-ref", "--format=%(refname) %(objectname)", ref).decode()
        return dict(line.split() for line in listed.splitlines()).get(ref)

    def _point(self, ref: str, commit: str) -> None:
        try:
            self._git("update-ref", ref, commit)
        except SourceError:
            if not is_abandoned(self.path / f"{ref}.lock"):
                raise
            (self.path / f"{ref}.lock").unlink(missing_ok=True)
            self._git("update-ref", ref, commit)

    def _git(self, *arguments: str, stdin: bytes = b"", at: float = 0) -> bytes:
        # core.fsync: what a ref names must survive a power cut, the journal counts on it.
        command = ["git", "-c", "core.fsync=all", "--git-dir", str(self.path), *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, env=environment(at), check=False
            )
        except FileNotFoundError as error:
            raise SourceError(
                "git should be on PATH, but is not; install it or `module load git`"
            ) from error
        if done.returncode != 0:
            lines = plain(done.stderr.decode(errors="replace")).splitlines()
            reason = lines[-1] if lines else f"exit code {done.returncode}"
            raise SourceError(f"git {arguments[0]} should work in {self.path}, but: {reason}")
        return done.stdout


def reference(program: str) -> str:
    return f"refs/versions/{program}"


def environment(at: float) -> dict[str, str]:
    """What git sees: nothing of the user's own git settings, and the time it is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (
            ("NAME", AUTHOR),
            ("EMAIL", f"{AUTHOR}@localhost"),
            ("DATE", f"@{int(at)} +0000"),
        )
    }
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return {**kept, **person, **settings}


def is_abandoned(lock: Path) -> bool:
    """Whether a lock file stays unchanged for so long that the git that made it must be dead."""
    try:
        before = lock.stat()
        time.sleep(LOCK_SECONDS)
        after = lock.stat()
    except FileNotFoundError:
        return True
    return (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


# ---- the text of a program ---------------------------------------------------------------------


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
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise SourceError(f"train.py should be UTF-8 text, but: {error.reason}") from error
    if size > SIZE_LIMIT:
        raise SourceError(f"train.py should have at most {SIZE_LIMIT} bytes, but has {size}")
    tree = parse(text)
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(tree, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise SourceError(f"train.py line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise SourceError(f"train.py should compile, but: {error}") from error


def parse(text: str) -> ast.Module:
    """Raises SourceError, with the line, if Python cannot parse the text as UTF-8."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(text.encode()).readline)
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
    nodes = defaults(text)
    for name, value in overrides.items():
        if name not in nodes:
            raise SourceError(f"Config has no field '{name}'; {nearest(name, nodes)}")
        check_kind(name, scalar(name, nodes[name]), value)
    data = text.encode()
    starts = line_starts(data)
    for name in sorted(overrides, key=lambda n: span(nodes[n], starts), reverse=True):
        begin, end = span(nodes[name], starts)
        data = data[:begin] + repr(overrides[name]).encode() + data[end:]
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
