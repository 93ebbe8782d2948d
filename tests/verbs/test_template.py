"""A wave to start from: valid, new, and with names of the campaign it is for."""

from pathlib import Path

import pytest
from outside import PROGRAM, SPACE, begin

from autoresearch.program import parameters
from autoresearch.verbs import find
from autoresearch.verbs.submission import check
from autoresearch.verbs.template import edit, template


def test_it_names_every_parameter_with_a_value_inside_its_domain(tmp_path: Path) -> None:
    campaign = begin(tmp_path / "c")
    point = template(find.read(campaign.root))["experiments"][0]["overrides"]
    assert set(point) == set(SPACE)
    assert all(SPACE[name].contains(value) for name, value in point.items())


def test_it_proposes_what_has_not_been_tried(tmp_path: Path) -> None:
    campaign = begin(tmp_path / "c")
    first = template(find.read(campaign.root))["experiments"][0]["overrides"]
    campaign.screen(2.0, first)
    second = template(find.read(campaign.root))
    assert second["experiments"][0]["overrides"] != first
    check(find.read(campaign.root), second)


def test_its_edit_makes_a_program_with_one_field_more(tmp_path: Path) -> None:
    campaign = begin(tmp_path / "c")
    wave = check(find.read(campaign.root), template(find.read(campaign.root)))
    (version,) = wave.versions
    assert set(parameters(version.text)) - set(parameters(PROGRAM)) == {"gain"}
    assert version.space["gain"]["log"]


CLASS = "from dataclasses import dataclass\n\n@dataclass\nclass Config:"


@pytest.mark.parametrize(
    ("text", "search"),
    [
        (f"{CLASS}\n    a: int = 1\n    b: int = 2\n", "    b: int = 2"),
        (f"{CLASS}\n    a: int = 1\n    b: int = 2\n\n#    b: int = 2\n", "    a: int = 1"),
        (f"{CLASS}\r\n    a: int = 1  # é\r\n", "    a: int = 1  # é"),
        (f"{CLASS}\n    a: int = (\n        1\n    )\n", None),
        (f"{CLASS} a: int = 1\n", None),
    ],
)
def test_the_line_an_edit_looks_for_is_like_no_other(text: str, search: str | None) -> None:
    found = edit(text)
    assert (found["edits"][0]["search"] if found else None) == search
    if found:
        assert text.count(found["edits"][0]["search"]) == 1
        changed = text.replace(found["edits"][0]["search"], found["edits"][0]["replace"])
        assert set(parameters(changed)) == set(parameters(text)) | {"gain"}


def test_a_field_that_is_there_already_is_not_added_again() -> None:
    found = edit(f"{CLASS}\n    gain: int = 1\n    gain_: int = 2\n")
    assert found is not None
    assert list(found["space"]) == ["gain__"]
