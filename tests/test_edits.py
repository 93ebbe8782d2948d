"""Edits that apply do exactly what they say; those that do not are all told, with what is there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.edits import LONGEST, Edit, apply, from_json
from autoresearch.errors import SourceError

TEXT = "a = 1\nb = 2\nif a:\n    c = 3\n    d = 4\na = 1 + 1\n"


def complaint(text: str, *edits: Edit) -> str:
    with pytest.raises(SourceError) as failure:
        apply(text, edits)
    return str(failure.value)


def test_edits_apply_one_after_the_other() -> None:
    edits = [Edit("b = 2", "b = 5"), Edit("b = 5", "b = 6\nbb = 7"), Edit("    d = 4\n", "")]
    assert apply(TEXT, edits) == "a = 1\nb = 6\nbb = 7\nif a:\n    c = 3\na = 1 + 1\n"


def test_a_text_with_other_ends_of_lines_keeps_them() -> None:
    text = TEXT.replace("\n", "\r\n")
    edited = apply(text, [Edit("b = 2\nif a:", "b = 3\nx = 1\nif a:")])
    assert edited == TEXT.replace("b = 2", "b = 3\nx = 1").replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit("", "x"), "search for some text"),
        (Edit("zebra crossing", "x"), "not there; read the program again"),
        (Edit("b == 2", "x"), "the closest line is 2: 'b = 2'"),
        (Edit("if a:\n  c = 3", "x"), "lines 3 on differ in white space alone:\nif a:\n    c = 3"),
        (Edit("a = 1", "x"), "2 places (lines 1, 6)"),
        (Edit("b = 2", "b = 2"), "changes nothing"),
    ],
)
def test_what_does_not_apply_says_what_is_there(edit: Edit, said: str) -> None:
    assert said in complaint(TEXT, edit)


def test_every_edit_that_does_not_apply_is_told_and_the_message_stays_short() -> None:
    told = complaint(TEXT, Edit("zebra", "x"), Edit("b = 2", "b = 3"), Edit("yak", "x"))
    assert [line.split()[0] for line in told.splitlines()] == ["edits[0]", "edits[2]"]
    many = [Edit("if a:\n" + " " * n + "c = 3\n" + "y" * 500, "x") for n in range(40)]
    assert len(complaint(TEXT, *many)) <= LONGEST


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({}, "edits should be a list, but was an object"),
        ([3], "edits[0] should have the keys search and replace, but was a number"),
        ([{"search": "a"}], "but was ['search']"),
        ([{"search": "a", "replace": 3}], "edits[0].replace should be text, but was a number"),
        ([{"search": None, "replace": ""}], "edits[0].search should be text, but was null"),
    ],
)
def test_what_is_no_edit_is_told_in_one_line(records: object, said: str) -> None:
    with pytest.raises(SourceError) as failure:
        from_json(records)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


@given(st.text(), st.text(min_size=1), st.text(), st.text())
def test_an_edit_of_a_text_that_is_there_once_replaces_it(
    before: str, search: str, replace: str, after: str
) -> None:
    text = before + search + after
    is_once = text.find(search) == text.rfind(search)
    if is_once and search != replace and "\r\n" not in text:
        assert apply(text, [Edit(search, replace)]) == text.replace(search, replace)


@given(st.permutations([0, 1, 2, 3]))
def test_edits_of_different_places_may_come_in_any_order(order: list[int]) -> None:
    text = "alpha\nbeta\ngamma\ndelta\n"
    words = ["alpha", "beta", "gamma", "delta"]
    edits = [Edit(words[k], f"<{k}>") for k in order]
    assert apply(text, edits) == "<0>\n<1>\n<2>\n<3>\n"


@given(st.text(alphabet="ab \r\n"), st.lists(st.builds(Edit, *[st.text(alphabet="ab \r\n")] * 2)))
def test_whatever_is_asked_either_applies_or_is_a_source_error(
    text: str, edits: list[Edit]
) -> None:
    try:
        apply(text, edits)
    except SourceError as error:
        told = str(error)
        assert len(told) <= LONGEST


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["search", "replace", "x"]), inner)
    ),
)


@given(JSON)
def test_any_json_is_edits_or_a_source_error(records: object) -> None:
    try:
        edits = from_json(records)
    except SourceError:
        return
    assert json.loads(json.dumps([vars(edit) for edit in edits])) == records
