"""Promise 1: nothing is lost. The journal survives any cut, and two writers cannot both count."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.errors import CampaignError, RecordError, TakenOver
from autoresearch.experiment import Json
from autoresearch.journal import Journal, replay

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
payloads = st.dictionaries(
    st.text(min_size=1).filter(lambda k: k not in ("chain", "n", "t", "type")), scalars, max_size=4
)


def write(directory: Path, *lives: list[Json]) -> list[Json]:
    """One segment per life, each with its events; returns what was recorded, in order."""
    directory.mkdir(exist_ok=True)
    recorded: list[Json] = []
    for events in lives:
        journal = Journal.open(directory, replay(directory))
        recorded += journal.append(*events)
        journal.close()
    return recorded


def without_segments(events: list[Json]) -> list[Json]:
    return [event for event in events if event["type"] != "segment"]


@given(st.lists(st.lists(payloads, max_size=4), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_what_was_appended_is_replayed(
    tmp_path_factory: pytest.TempPathFactory, lives: list[list[Json]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    recorded = write(directory, *([{**e, "type": "x"} for e in life] for life in lives))
    events = replay(directory).events
    assert without_segments(events) == recorded
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))


def test_cut_at_any_byte_it_replays_to_an_earlier_state(tmp_path: Path) -> None:
    recorded = write(
        tmp_path / "j", [{"type": "a", "k": i} for i in range(3)], [{"type": "b", "text": "ä\n"}]
    )
    last = max((tmp_path / "j").iterdir())
    whole = last.read_bytes()
    seen = set()
    for length in range(len(whole) + 1):
        last.write_bytes(whole[:length])
        events = without_segments(replay(tmp_path / "j").events)
        assert events == recorded[: len(events)]
        seen.add(len(events))
    assert seen == {3, 4}


def test_after_any_cut_the_next_controller_goes_on(tmp_path: Path) -> None:
    recorded = write(tmp_path / "j", [{"type": "a", "k": i} for i in range(2)])
    whole = (tmp_path / "j" / "000001.jsonl").read_bytes()
    for length in range(0, len(whole), 7):
        directory = tmp_path / f"cut{length}"
        directory.mkdir()
        (directory / "000001.jsonl").write_bytes(whole[:length])
        kept = without_segments(replay(directory).events)
        more = write(directory, [{"type": "c"}])
        events = without_segments(replay(directory).events)
        assert events == [*recorded[: len(kept)], *more]


def test_damage_before_the_tail_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    write(tmp_path, [{"type": "a", "k": i} for i in range(5)])
    path = tmp_path / "000001.jsonl"
    damaged = path.read_bytes().replace(b'"k":2', b'"k":7')
    path.write_bytes(damaged)
    with pytest.raises(RecordError, match=r"000001\.jsonl is damaged at byte \d+"):
        replay(tmp_path)


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize("line", [b"\0{}\n", b"[]\n", b"{\n"])
def test_damage_in_a_first_line_is_an_error_and_not_a_loss(
    tmp_path: Path, segment: int, line: bytes
) -> None:
    write(tmp_path / "j", [{"type": "a"}], [{"type": "b"}])
    path = sorted((tmp_path / "j").iterdir())[segment]
    path.write_bytes(line + path.read_bytes().partition(b"\n")[2])
    with pytest.raises(RecordError, match=path.name):
        replay(tmp_path / "j")


@pytest.mark.parametrize("offset", range(30))
def test_any_damaged_byte_at_the_start_of_a_line_is_noticed(tmp_path: Path, offset: int) -> None:
    write(tmp_path, [{"type": "a"}, {"type": "b"}])
    path = tmp_path / "000001.jsonl"
    for start in (0, path.read_bytes().index(b"\n") + 1):
        data = bytearray(path.read_bytes())
        data[start + offset] ^= 1
        (tmp_path / "j").mkdir(exist_ok=True)
        (tmp_path / "j" / path.name).write_bytes(data)
        with pytest.raises(RecordError, match=path.name):
            replay(tmp_path / "j")


@pytest.mark.parametrize(
    "previous",
    ["3", "{}", '{"name":"000002.jsonl","length":9}', '{"name":"000001.jsonl","length":"9"}'],
)
def test_a_segment_that_names_no_earlier_one_is_an_error(tmp_path: Path, previous: str) -> None:
    write(tmp_path, [{"type": "a"}], [{"type": "b"}])
    (tmp_path / "000002.jsonl").write_text(f'{{"previous":{previous}}}\n', encoding="utf-8")
    with pytest.raises(RecordError, match=r"000002\.jsonl"):
        replay(tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "j", [{"type": "a"}])
    (tmp_path / "j" / "000002.jsonl").mkdir()
    with pytest.raises(RecordError, match=r"000002\.jsonl"):
        replay(tmp_path / "j")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="file should be readable"):
        replay(tmp_path / "file")
    assert replay(tmp_path / "none").events == []


def test_a_removed_line_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, [{"type": "a", "k": i} for i in range(5)])
    path = tmp_path / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(RecordError, match="damaged"):
        replay(tmp_path)


def test_what_the_old_controller_writes_after_a_takeover_is_ignored(tmp_path: Path) -> None:
    old = Journal.open(tmp_path, replay(tmp_path))
    (kept,) = old.append({"type": "kept"})
    new = Journal.open(tmp_path, replay(tmp_path))
    with pytest.raises(TakenOver):
        old.append({"type": "refused"})
    late = b'{"chain":"0000000000000000","n":3,"t":0,"type":"late"}\n'
    with old.path.open("ab") as file:  # as if its write had been under way
        file.write(late)
    (mine,) = new.append({"type": "mine"})
    assert without_segments(replay(tmp_path).events) == [kept, mine]


def test_a_shortened_earlier_segment_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, [{"type": "a"}], [{"type": "b"}])
    first = tmp_path / "000001.jsonl"
    first.write_bytes(first.read_bytes()[:-5])
    with pytest.raises(RecordError, match="should hold"):
        replay(tmp_path)


def take_over(directory: Path, ready: "multiprocessing.synchronize.Barrier") -> None:
    replayed = replay(directory)
    ready.wait()
    try:
        Journal.open(directory, replayed)
    except TakenOver:
        sys.exit(7)


def test_of_controllers_that_start_at_once_exactly_one_wins(tmp_path: Path) -> None:
    write(tmp_path, [{"type": "a"}])
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    processes = [context.Process(target=take_over, args=(tmp_path, barrier)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(process.exitcode or 0 for process in processes) == [0, 7, 7, 7, 7, 7]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from autoresearch.errors import CampaignError
from autoresearch.journal import Journal, replay
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path(sys.argv[1])
journal = Journal.open(directory, replay(directory))
journal.append({"type": "before"})
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.end.length + 40, -1))
try:
    journal.append({"type": "lost", "text": "x" * 100})
except CampaignError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
journal.append({"type": "after"})
"""


def test_a_full_disk_is_one_line_and_leaves_a_whole_record(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    events = without_segments(replay(tmp_path).events)
    assert [event["type"] for event in events] == ["before", "after"]


def test_a_read_only_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="should be writable"):
        Journal.open(Path("/proc/self"), replay(tmp_path))


def test_a_clock_set_back_does_not_turn_time_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = write(tmp_path / "j", [{"type": "a"}])
    monkeypatch.setattr("time.time", lambda: before["t"] - 36000)
    (after,) = write(tmp_path / "j", [{"type": "b"}])
    assert after["t"] >= before["t"]


def test_lines_are_json_with_a_chain(tmp_path: Path) -> None:
    write(tmp_path, [{"type": "a", "z": 1, "b": [1, 2]}])
    lines = (tmp_path / "000001.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert first["type"] == "segment"
    assert first["schema"] == 3
    assert first["previous"] is None
    assert list(second) == ["chain", "b", "n", "t", "type", "z"]
