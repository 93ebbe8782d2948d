"""Text of others in a prompt: it cannot leave its tags, hide anything, or take more room."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.quoting import Kept, cut, data, line, visible

ANY_TAG = re.compile(r"<(data|\s*/\s*data)", re.IGNORECASE)
HOSTILE = st.lists(
    st.sampled_from(["<", "/", " ", "data", "DATA", ">", "\x00", "\u200b", "\n", "</data>", "x"])
).map("".join)


@given(HOSTILE | st.text(), st.integers(1, 60), st.sampled_from(Kept))
def test_no_text_opens_or_closes_a_tag(text: str, limit: int, kept: Kept) -> None:
    shown = data("a log", text, limit, kept)
    assert [found.group(1) for found in ANY_TAG.finditer(shown)] == ["data", "/data"]
    assert shown.startswith('<data source="a log">\n')
    assert shown.endswith("\n</data>")
    assert len(shown) <= limit + len('<data source="a log">\n\n</data>')


@given(st.text())
def test_what_cannot_be_seen_is_left_out(text: str) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in visible(text))
    visible(text).encode()  # no half of a surrogate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m\r\n", "[31mred[0m\n"),
        ("left\u202eright", "leftright"),
        ("tag\U000e0041", "tag"),
        ("\ud800half", "half"),
        ("\tif n < data.size:\n", "\tif n < data.size:\n"),  # a program can be copied from
    ],
)
def test_escapes_and_marks_go_and_programs_stay(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert data("x", text, 100) == f'<data source="x">\n{shown}\n</data>'


def test_the_end_that_is_asked_for_is_kept() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcdef", 4, Kept.tail) == "…def"


@given(st.text(), st.integers(1, 30))
def test_a_line_is_one_line(text: str, limit: int) -> None:
    found = line(text, limit)
    assert len(found) <= limit
    assert found.splitlines() == ([found] if found else [])
    assert not re.search(r"\s\s", found)
