"""What a name stands for, and what is said of one that stands for nothing or for several."""

from pathlib import Path

import pytest
from desks import open_desk

from autoresearch.entry import Entry
from autoresearch.errors import CampaignError
from autoresearch.names import candidate_named, named


def test_roles_ids_and_the_start_of_them_are_names(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    (id,) = desk.ask(1)
    assert named(desk.history, "champion") == desk.history.champion
    found = named(desk.history, id[:8])
    assert isinstance(found, Entry)
    assert found.experiment.id == id
    assert candidate_named(desk.history, id) == desk.history.baseline


@pytest.mark.parametrize(("name", "said"), [("zebra", "there is none"), ("", "begin so")])
def test_what_names_nothing_or_several_is_told(tmp_path: Path, name: str, said: str) -> None:
    desk = open_desk(tmp_path)
    desk.ask(1, 2, 3)
    with pytest.raises(CampaignError, match=said):
        named(desk.history, name)
