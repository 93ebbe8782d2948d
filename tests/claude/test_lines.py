"""A file of lines whose writer may be killed at any byte."""

import resource
import threading
from pathlib import Path

import pytest
from claude_cache import Json
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.claude.lines import Lines, read
from autoresearch.errors import CampaignError, RecordError

RECORDS = st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5)))


def written(path: Path, records: list[Json]) -> bytes:
    path.unlink(missing_ok=True)
    lines = Lines.open(path)
    for record in records:
        lines.append(record)
    lines.close()
    return path.read_bytes()


@given(records=RECORDS, data=st.data())
def test_any_prefix_holds_its_whole_lines_and_can_be_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, records: list[Json], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    whole = written(path, records)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(cut)
    kept = records[: cut.count(b"\n")]
    assert read(path)[0] == kept

    lines = Lines.open(path)
    assert lines.records == kept
    lines.append({"last": 1})
    lines.close()
    assert read(path)[0] == [*kept, {"last": 1}]


def test_a_second_writer_waits_for_the_first_and_reads_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    first, found = Lines.open(path), list[Json]()

    def open_too() -> None:
        second = Lines.open(path)
        found.extend(second.records)
        second.close()

    thread = threading.Thread(target=open_too)
    thread.start()
    first.append({"sent": 1})
    assert found == []
    first.close()
    thread.join(30)
    assert found == [{"sent": 1}]


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == ([], 0)
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b'{"a": 1\n', b"[1]\n", b"\n"])
def test_damage_before_the_end_is_told_with_its_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damage + b'{"a": 3}\n')
    with pytest.raises(RecordError, match=r"lines\.jsonl line 2 should be a JSON object"):
        Lines.open(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="should be writable, but: No such file"):
        Lines.open(tmp_path / "gone" / "lines.jsonl")


def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path: Path) -> None:
    lines = Lines.open(tmp_path / "lines.jsonl")
    lines.append({"a": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(CampaignError, match=r"lines.jsonl should take .* free some space"):
            lines.append({"b": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert lines.records == read(lines.path)[0] == [{"a": 1}]
    lines.append({"c": 3})
    lines.close()
    assert read(lines.path)[0] == [{"a": 1}, {"c": 3}]
