"""The .wandb format, read and written by us: any records, any tear, and what wandb itself wrote."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb.proto import wandb_internal_pb2

from autoresearch.mirror.records import BLOCK, HEADER, Reader, Rest, Writer, read, records

Record = wandb_internal_pb2.Record  # type: ignore[attr-defined]

# Lengths near the places where a block ends matter most.
LENGTHS = st.one_of(
    st.integers(0, 50),
    st.integers(BLOCK - 40, BLOCK + 40),
    st.integers(2 * BLOCK - 40, 2 * BLOCK + 40),
)
RECORDS = st.lists(
    st.builds(lambda length, byte: bytes([byte]) * length, LENGTHS, st.integers(1, 255)),
    max_size=8,
)


def written(folder: Path, content: list[bytes]) -> Path:
    path = folder / "run-a.wandb"
    path.unlink(missing_ok=True)
    writer = Writer(path)
    for record in content:
        writer.write(record)
    writer.close()
    return path


@given(RECORDS)
def test_what_was_written_is_read(content: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert list(Reader(written(Path(folder), content)).new()) == content


@given(RECORDS, st.data())
def test_a_torn_file_holds_the_records_before_the_tear(
    content: list[bytes], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), content)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        reader = Reader(path)
        found = list(reader.new())
        assert found == content[: len(found)]
        path.write_bytes(whole)
        assert found + list(reader.new()) == content, "it goes on where it stopped"


@given(RECORDS, st.integers(0, 10**6), st.integers(1, 255))
def test_damage_ends_it_and_invents_nothing(content: list[bytes], place: int, flip: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), content)
        damaged = bytearray(path.read_bytes())
        damaged[place % len(damaged)] ^= flip
        path.write_bytes(damaged)
        assert all(record in content for record in Reader(path).new())


def test_no_header_no_records(tmp_path: Path) -> None:
    path = tmp_path / "run-a.wandb"
    for content in (b"", HEADER[:3], b"something else entirely"):
        path.write_bytes(content)
        assert not read(path).has_begun
    assert list(records(HEADER, len(HEADER))) == []


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as wandb writes it, long enough for several blocks."""
    folder = tmp_path_factory.mktemp("wandb")
    code = f"""
import wandb
run = wandb.init(mode="offline", dir={str(folder)!r}, project="p", id="a", config={{"lr": 0.1}},
    settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True))
for n in range(300):
    run.log({{"loss": 1 / (n + 1), "text": "x" * 200}}, step=n)
run.summary.update({{"bpb": 1.25, "failure": None, "name": "größer", "nested": {{"a": 1}}}})
run.finish(exit_code=3)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    [path] = folder.glob("wandb/offline-run-*/run-a.wandb")
    assert path.stat().st_size > 2 * BLOCK
    return path


def test_facts_are_what_wandb_wrote(original: Path) -> None:
    facts = read(original)
    assert (facts.has_begun, facts.rows, facts.exit_code) == (True, 300, 3)
    assert {key: facts.summary[key] for key in ("bpb", "failure", "name", "loss")} == {
        "bpb": 1.25,
        "failure": None,
        "name": "größer",
        "loss": 1 / 300,
    }


def test_every_record_is_one_of_wandbs(original: Path) -> None:
    kinds = [Record.FromString(r).WhichOneof("record_type") for r in Reader(original).new()]
    assert kinds.count("history") == 300
    assert kinds[0] == "header"
    assert kinds[-1] == "exit"


@pytest.mark.parametrize("skip", [0, 1, 299, 300])
def test_the_rest_is_all_but_the_first_rows(original: Path, tmp_path: Path, skip: int) -> None:
    """Also if the file comes bit by bit."""
    whole = original.read_bytes()
    growing = tmp_path / "run-a.wandb"
    growing.write_bytes(b"")
    rest = Rest(growing, tmp_path / "rest.wandb", skip)
    for end in (*range(0, len(whole), 9_973), len(whole)):
        growing.write_bytes(whole[:end])
        rest.carry_on()
    rest.close()
    before = list(Reader(original).new())
    history = [r for r in before if Record.FromString(r).WhichOneof("record_type") == "history"]
    expected = [r for r in before if r not in history[:skip]]
    assert list(Reader(tmp_path / "rest.wandb").new()) == expected
    assert read(tmp_path / "rest.wandb").exit_code == 3
