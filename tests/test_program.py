"""The text of a program: read, refused, changed where its values stand and nowhere else."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import program
from autoresearch.errors import SourceError
from autoresearch.experiment import Scalar
from autoresearch.program import SIZE_LIMIT, bake, check, parameters, unified

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


def test_a_field_of_floats_stays_one() -> None:
    baked = bake(TEXT, {"lr": 1, "depth": 4})
    found = parameters(baked)
    assert (found["lr"], type(found["lr"])) == (1.0, float)
    assert (found["depth"], type(found["depth"])) == (4, int)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{' ' * n}try:\n{' ' * n} pass\n{' ' * n}finally:\n" for n in range(25))
        + f"{' ' * 25}pass\n",
        "def f(x):\n try:\n" + "  if x: return\n" * 2000 + " finally:\n" + "  x = x + 1\n" * 2000,
    ],
)
def test_a_text_that_would_compile_to_gigabytes_is_refused_before(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finally block is compiled once for each way out of its try."""
    monkeypatch.setattr(program, "compile", pytest.fail, raising=False)
    with pytest.raises(SourceError, match="should compile to a sane size"):
        check(text)


def test_check_is_silent_about_style() -> None:
    check("x = '\\d' is 'y'\n")


def test_bake_changes_the_values_and_nothing_else() -> None:
    baked = bake(TEXT, {"batch": 1024, "lr": -0.5, "wide": 1e-9, "pattern": "ü'\"\n", "shift": 0})
    assert baked == (
        TEXT.replace("2**19; lr: float = 0.04", "1024; lr: float = -0.5")
        .replace("3  # inside parentheses\n        * 4", "1e-09")
        .replace('"SS" "SL"', repr("ü'\"\n"))
        .replace("-1.5e-3", "0.0")
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


whole = st.integers(-(2**63), 2**63)
floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
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
        one: st.SearchStrategy[Scalar] = draw(
            st.sampled_from([whole, floats, texts, st.booleans()])
        )
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
