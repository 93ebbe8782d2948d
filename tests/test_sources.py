"""Versions in a real git repository, and edits that touch nothing but the values they change."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.errors import RecordError, SourceError
from autoresearch.experiment import Scalar
from autoresearch.sources import (
    SIZE_LIMIT,
    Sources,
    bake,
    check,
    parameters,
    program_of,
    reference,
    unified,
)

TEXT = '''"""A program. Größe: naïve."""
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Config:
    """Every field can be overridden."""

    limit: ClassVar[int] = 7
    depth: int = 8  # number of layers, "quoted" — naïve ünïcode
    batch: int = 2**19; lr: float = 0.04  # two on one line
    shift: float = -1.5e-3
    wide: float = (
        3  # inside parentheses
        * 4
    )
    pattern: str = "SS" "SL"
    näive: bool = True

    @property
    def heads(self) -> int:
        return self.depth


def build(config): ...
'''


def git(path: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources.create(tmp_path / "sources.git")


# ---- versions --------------------------------------------------------------------------------


def test_a_version_is_found_by_the_hash_of_its_bytes(sources: Sources) -> None:
    program = sources.add(TEXT, "the baseline", when=1e9)
    assert program == program_of(TEXT)
    assert sources.read(program) == TEXT
    assert git(sources.path, "rev-parse", f"refs/versions/{program}").strip() == sources.commit(
        program
    )


def test_line_endings_and_a_missing_last_newline_are_kept(sources: Sources) -> None:
    text = "a = 1\r\nb = '\u2028'\r\nc = 3"
    assert sources.read(sources.add(text, "windows", when=0)) == text


def test_the_same_text_is_the_same_version(sources: Sources) -> None:
    program = sources.add(TEXT, "first", when=1)
    commit = sources.commit(program)
    assert sources.add(TEXT, "second", when=2) == program
    assert sources.commit(program) == commit


def test_equal_arguments_give_equal_commits_anywhere(tmp_path: Path) -> None:
    commits = set()
    for name in ("a.git", "b.git"):
        sources = Sources.create(tmp_path / name)
        parent = sources.add("a = 1\n", "parent", when=5)
        commits.add(sources.commit(sources.add("a = 2\n", "child", [parent], when=6.7)))
    assert len(commits) == 1


def test_the_users_git_settings_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Someone\n[core]\nautocrlf = true\n[i18n]\ncommitEncoding = latin1\n"
        "[diff]\nexternal = false\n[color]\nui = always\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Someone")
    sources = Sources.create(tmp_path / "sources.git")
    a = sources.add("a = 1\r\n", "ü", when=0)
    b = sources.add("a = 2\r\n", "b", [a], when=0)
    assert "+a = 2\r\n" in sources.diff(a, b)
    assert sources.read(a) == "a = 1\r\n"
    monkeypatch.delenv("GIT_DIR")
    assert "Someone" not in git(sources.path, "cat-file", "commit", sources.commit(a))


def test_diff_says_what_changed(sources: Sources) -> None:
    a = sources.add("a = 1\nb = 2\n", "a", when=0)
    b = sources.add("a = 1\nb = 3\n", "b", [a], when=0)
    assert sources.diff(a, b) == (
        f"--- {a[:7]}\n+++ {b[:7]}\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    assert sources.diff(a, a) == ""


lines = st.lists(st.sampled_from(["a", "b", "c\x0c", "d\u2028", "e\r", ""]), max_size=6)


@given(lines, lines)
def test_a_diff_is_a_patch_that_turns_the_old_text_into_the_new(a: list[str], b: list[str]) -> None:
    old, new = "\n".join(a), "\n".join(b)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "train.py")
        file.write_bytes(old.encode())
        patch = unified(old, new, "train.py", "train.py").encode()
        if patch:
            command = ["git", "apply", "-p0", "--whitespace=nowarn", "-"]
            subprocess.run(command, cwd=folder, input=patch, check=True, capture_output=True)
        assert (file.read_bytes() if file.exists() else b"") == new.encode()


def test_the_champion_is_a_branch_with_a_lineage(sources: Sources, tmp_path: Path) -> None:
    assert sources.champion() is None
    programs: list[str] = []
    for number in range(3):
        programs.append(sources.add(f"a = {number}\n", f"number {number}", programs[-1:], when=0))
        sources.set_champion(programs[-1])
    assert sources.champion() == programs[-1]
    graph = git(sources.path, "log", "--graph", "--format=%s", "champion")
    assert graph == "* number 2\n* number 1\n* number 0\n"
    subprocess.run(["git", "clone", "-q", sources.path, tmp_path / "clone"], check=True)
    assert (tmp_path / "clone" / "train.py").read_text() == "a = 2\n"


def test_two_parents_are_both_in_the_lineage(sources: Sources) -> None:
    a, b = (sources.add(f"{name} = 1\n", name, when=0) for name in "ab")
    child = sources.add("c = 1\n", "c", [a, b], when=0)
    line = git(sources.path, "rev-list", "--parents", "-1", sources.commit(child))
    assert line.split() == [sources.commit(p) for p in (child, a, b)]


def test_a_hostile_message_stays_a_message(sources: Sources) -> None:
    message = "--amend\x00\x1b[31m\n\ntree 0000\nüber \ud800" + "x" * 5000
    program = sources.add(TEXT, message, when=0)
    shown = git(sources.path, "log", "-1", "--format=%B", sources.commit(program))
    assert "\x1b" not in shown
    assert len(shown) < 2100


def test_unknown_versions_are_named(sources: Sources) -> None:
    sources.add("a = 1\n", "a", when=0)
    for program in ("0" * 64, "", "*"):
        with pytest.raises(SourceError, match="should be in"):
            sources.read(program)
    with pytest.raises(SourceError, match="should be in"):
        sources.add("b = 1\n", "b", ["0" * 64], when=0)


def test_a_version_that_is_not_what_its_name_says_is_a_damaged_record(sources: Sources) -> None:
    a, b = (sources.add(f"{name} = 1\n", name, when=0) for name in "ab")
    git(sources.path, "update-ref", reference(a), sources.commit(b))
    with pytest.raises(RecordError, match=a):
        sources.read(a)


def test_create_opens_what_is_there(sources: Sources) -> None:
    program = sources.add("a = 1\n", "a", when=0)
    assert Sources.create(sources.path).read(program) == "a = 1\n"
    assert [p.name for p in sources.path.parent.iterdir()] == ["sources.git"]


def test_a_missing_git_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git should be on PATH, but is not; install it"):
        Sources.create(tmp_path / "sources.git")
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_git_that_died_is_taken_away(sources: Sources) -> None:
    lock = sources.path / f"{reference(program_of(TEXT))}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    program = sources.add(TEXT, "after a power cut", when=0)
    assert sources.read(program) == TEXT
    assert not lock.exists()


GIT_THAT_DIES = """#!/bin/sh
echo x >> "$COUNT"
[ "$(wc -l < "$COUNT")" -ge "$LAST" ] && kill -9 $PPID
exec {git} "$@"
"""


@pytest.mark.parametrize("last", range(1, 10))
def test_a_death_between_any_two_steps_loses_nothing(tmp_path: Path, last: int) -> None:
    """The writer is killed at its n-th call of git; doing it again completes the work."""
    real, fake, path = shutil.which("git"), tmp_path / "bin" / "git", tmp_path / "sources.git"
    fake.parent.mkdir()
    fake.write_text(GIT_THAT_DIES.format(git=real))
    fake.chmod(0o755)
    script = (
        "from pathlib import Path; from autoresearch.sources import Sources\n"
        f"s = Sources.create(Path({str(path)!r}))\n"
        "s.set_champion(s.add('a = 1\\n', 'a', when=0))"
    )
    environment = {
        **os.environ,
        "PATH": f"{fake.parent}:{os.environ['PATH']}",
        "COUNT": str(tmp_path / "count"),
        "LAST": str(last),
    }
    died = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert died.returncode == -9
    subprocess.run([sys.executable, "-c", script], check=True)
    sources = Sources(path)
    assert sources.read(sources.champion() or "") == "a = 1\n"
    git(path, "fsck", "--strict")


# ---- the text of a program -------------------------------------------------------------------


def test_parameters_are_the_defaults_of_config() -> None:
    found = parameters(TEXT)
    expected: dict[str, Scalar] = {
        "depth": 8,
        "batch": 2**19,
        "lr": 0.04,
        "shift": -0.0015,
        "wide": 12,
        "pattern": "SSSL",
        "näive": True,
    }
    assert found == expected
    assert list(found) == list(expected)
    assert found["näive"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "line 1: "),
        ("x = 1\n", "should define one class Config at its top level, but defines 0"),
        ("class Config:\n    a: int = 1\n", "line 1: Config should be a @dataclass"),
        ("@dataclass\nclass Config:\n    a: int\n", "line 3: 'a' should have a default"),
        ("@dataclass\nclass Config:\n    a: int = f()\n", "line 3: the default of 'a' should be"),
        ("@dataclass\nclass Config:\n    a: list = []\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: int = 9**9**9\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: int = 1 << 10**6\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: int = 1 / 0\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: float = 1e999\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: complex = (-1) ** 0.5\n", "line 3: the default of"),
        ("@dataclass\nclass Config:\n    a: int = True + 1\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: object = None\n", "line 3: the default of 'a'"),
        ("@dataclass\nclass Config:\n    a: int = " + "1+" * 1500 + "1\n", "line 3: the default"),
        ("# coding: latin-1\n@dataclass\nclass Config: ...\n", "should be UTF-8"),
        ("x = '\x00'\n", "null bytes"),
    ],
)
def test_a_text_without_plain_parameters_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parameters(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_program_is_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    text = f"open({str(witness)!r}, 'w')\n" + TEXT
    check(text)
    parameters(bake(text, {"depth": 9}))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n" + "#" * SIZE_LIMIT, f"at most {SIZE_LIMIT} bytes"),
        ("return 1\n", "line 1: 'return' outside function"),
        ("x = 1\n  y = 2\n", "line 2: unexpected indent"),
        ("x = '\ud800'\n", "should be UTF-8 text"),
        ("x = " + "1+" * 50_000 + "1\n", "should be Python that parses"),
        ("x = " + "(" * 500 + ")" * 500 + "\n", "line 1: too many nested parentheses"),
    ],
)
def test_check_refuses_what_does_not_compile(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check(text)


def test_check_is_silent_about_style() -> None:
    check("x = '\\d' is 'y'\n")


def test_bake_changes_the_values_and_nothing_else() -> None:
    baked = bake(TEXT, {"batch": 1024, "lr": -0.5, "wide": 1e-9, "pattern": "ü'\"\n", "shift": 0})
    assert baked == (
        TEXT.replace("2**19; lr: float = 0.04", "1024; lr: float = -0.5")
        .replace("3  # inside parentheses\n        * 4", "1e-09")
        .replace('"SS" "SL"', repr("ü'\"\n"))
        .replace("-1.5e-3", "0")
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dept": 9}, "Config has no field 'dept'; did you mean 'depth'?"),
        ({"depth": "9"}, "'depth' should be a number as 8, but was '9'"),
        ({"depth": True}, "'depth' should be a number as 8, but was True"),
        ({"näive": 1}, "'näive' should be a truth value as True, but was 1"),
        ({"lr": float("nan")}, "'lr' should be a finite number below 2**64, but was nan"),
        ({"depth": 2**64}, f"'depth' should be a finite number below 2**64, but was {2**64}"),
    ],
)
def test_bake_refuses_what_does_not_fit(overrides: dict[str, Scalar], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        bake(TEXT, overrides)
    assert str(caught.value) == message


numbers = st.one_of(
    st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
comments = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12
)  # \f, \v, \x85 and \u2028 end a line for str.splitlines, but not for Python


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, dict[str, Scalar], dict[str, Scalar]]:
    """A text with a Config, its defaults, and overrides of some of them."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [f"# {draw(comments)}", "@dataclass(slots=True)", "class Config:"]
    values: dict[str, Scalar] = {}
    overrides: dict[str, Scalar] = {}
    for number in range(draw(st.integers(1, 5))):
        name = f"{draw(st.sampled_from(['a', 'ö', '変']))}{number}"
        one: st.SearchStrategy[Scalar] = draw(st.sampled_from([numbers, texts, st.booleans()]))
        values[name] = draw(one)
        if draw(st.booleans()):
            overrides[name] = draw(one)
        form = draw(st.sampled_from(["{}", "({})", "(\n{}  # why\n)"])).replace("\n", newline)
        end = draw(st.sampled_from([f"  # {draw(comments)}", "; k = 1", ""]))
        lines.append(f"    {name}: object ={form.format(repr(values[name]))}{end}")
    return newline.join([*lines, "x = 1", ""]), values, overrides


@given(programs())
def test_what_is_baked_is_what_is_read(
    program: tuple[str, dict[str, Scalar], dict[str, Scalar]],
) -> None:
    text, values, overrides = program
    assert parameters(text) == values
    baked = bake(text, overrides)
    assert parameters(baked) == values | overrides
    assert bake(baked, {name: values[name] for name in overrides}) == text


def refusal(function: Callable[[str], object], text: str) -> str:
    try:
        function(text)
    except SourceError as error:
        return str(error)
    return ""


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    for function in (check, parameters):
        assert "\n" not in refusal(function, text)
