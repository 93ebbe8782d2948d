"""File names of a campaign, and writing that is seen whole or not at all."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.experiment import Attempt
from autoresearch.layout import Layout, shipped, write_atomically

ids = st.text("0123456789abcdef", min_size=12, max_size=12)


def paths(layout: Layout) -> list[Path]:
    attempt = Attempt("0123456789ab", 2)
    named = [getattr(layout, n) for n in vars(Layout) if isinstance(getattr(Layout, n), property)]
    return [
        *named,
        layout.pilot("screen-1"),
        layout.experiment_json(attempt.experiment),
        layout.program(attempt.experiment),
        layout.claim(attempt),
        layout.result(attempt),
        layout.log(attempt),
        layout.queue_entry("screen", 1, attempt),
    ]


def test_every_name_is_below_the_root_and_used_once(tmp_path: Path) -> None:
    found = paths(Layout(tmp_path))
    assert len(found) == len(set(found)) >= 18
    assert all(path.is_relative_to(tmp_path) for path in found)


def test_the_documented_names_are_the_names(tmp_path: Path) -> None:
    layout, attempt = Layout(tmp_path), Attempt("0123456789ab", 2)
    assert layout.config == tmp_path / "config.yaml"
    assert layout.result(attempt) == tmp_path / "experiments/0123456789ab/attempt-2/result.json"
    assert layout.pilot("screen-1") == tmp_path / "pilots/screen-1.json"


def test_the_folders_are_enough_to_write_what_a_campaign_writes_first(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new" / "campaign")
    for folder in layout.folders(("screen", "validate")):
        folder.mkdir(parents=True, exist_ok=True)
    for path in (layout.config, layout.lease, layout.stop, layout.drain, layout.pilot("a")):
        write_atomically(path, "x")
    write_atomically(layout.queue_entry("validate", 0, Attempt("0123456789ab", 1)), "")


@given(st.lists(st.tuples(st.integers(0, 10**8 - 1), ids, st.integers(1, 99)), unique=True))
def test_the_queue_is_listed_first_in_line_first(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[int, str, int]]
) -> None:
    layout = Layout(tmp_path_factory.mktemp("queue"))
    layout.queue("screen").mkdir(parents=True)
    for rank, experiment, number in entries:
        layout.queue_entry("screen", rank, Attempt(experiment, number)).touch()
    found = list(layout.queued("screen"))
    assert {attempt for _, attempt in found} == {Attempt(e, n) for _, e, n in entries}
    ranks = {layout.queue_entry("screen", r, Attempt(e, n)): r for r, e, n in entries}
    assert [ranks[path] for path, _ in found] == sorted(rank for rank, _, _ in entries)


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.queue("screen").mkdir(parents=True)
    for name in (".nfs0001", "readme", "00000001.abc.x", "1.2.3.4"):
        (layout.queue("screen") / name).touch()
    assert list(layout.queued("screen")) == []


def test_without_a_folder_nothing_waits(tmp_path: Path) -> None:
    assert list(Layout(tmp_path).queued("screen")) == []


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    write_atomically(path, "néw\n")
    assert path.read_text(encoding="utf-8") == "néw\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "pilot.json"
    texts = [json.dumps([n] * 20_000) for n in range(40)]
    write_atomically(path, texts[0])

    def write() -> None:
        for text in texts:
            write_atomically(path, text)

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_text(encoding="utf-8"))
    writer.join()
    assert seen <= set(texts)


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    """A file size limit of the process stands in for the disk: the write fails half-way."""
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    code = (
        "import resource, sys; from pathlib import Path;"
        "from autoresearch.layout import write_atomically;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "write_atomically(Path(sys.argv[1]), 'x' * 100_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_directory_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "gone" / "result.json", "x")


@pytest.mark.parametrize("name", ["conf", "train"])
def test_what_is_shipped_is_found(name: str) -> None:
    assert shipped(name).is_dir()
    assert shipped(name).name == name
