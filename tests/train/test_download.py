"""Text from a hub: the real client in a process of its own, a server that can fail, and a disk."""

import base64
import hashlib
import io
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
from hub_server import Dataset, Hub, serving

from autoresearch.layout import shipped

SCRIPT = shipped("train") / "prepare.py"
SMALL = ("--vocabulary", "300", "--context", "64")
CLIMBMIX = "karpathy/climbmix-400b-shuffle"
VALIDATION, TEST = "shard_06542.parquet", "shard_06541.parquet"
WORDS = [a + b + c for a in "bcdfgklmnprst" for b in ("a", "e", "io", "u") for c in ("", "n", "rt")]


def texts(seed: int, count: int = 300, length: int = 80) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(length)) for _ in range(count)]


def parquet(rows: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": rows}), file)
    return file.getvalue()


def jsonl(rows: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in rows).encode()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Nothing may be asked that the real hub does not know."""
    with serving() as found:
        yield found
        assert found.strange == []


@pytest.fixture
def climbmix(hub: Hub) -> Dataset:
    """Six of its 6543 shards, under their own names, each with its own documents."""
    shards = {f"shard_{k:05d}.parquet": parquet(texts(k)) for k in (0, 1, 2, 3, 6541, 6542)}
    return hub.add(CLIMBMIX, {".gitattributes": b"*", "README.md": b"# Climb", **shards})


@pytest.fixture
def large(hub: Hub) -> Dataset:
    """Files that nobody reads: only for their bytes."""
    files = {f"data/part-{k}.parquet": noise(400_000 + 1000 * k) for k in range(6)}
    return hub.add("someone/large", files)


# ---- running it ----------------------------------------------------------------------------------


def environment(tmp_path: Path, hub: Hub | None, **more: str) -> dict[str, str]:
    """A user's own, with an empty home and no proxy."""
    dropped = ("HF_", "AUTORESEARCH_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SLURM_")
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(dropped)}
    (tmp_path / "home").mkdir(exist_ok=True)
    endpoint = {"HF_ENDPOINT": hub.url} if hub else {}
    return {**kept, "HOME": str(tmp_path / "home"), **endpoint, **more}


def run(
    tmp_path: Path, hub: Hub | None, *words: object, data: str = "data", **more: str
) -> subprocess.CompletedProcess[str]:
    arguments = ("--directory", tmp_path / "put" / data, *SMALL, *words)
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    env = environment(tmp_path, hub, **more)
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=120
    )


def succeed(tmp_path: Path, hub: Hub | None, *words: object, **more: str) -> str:
    done = run(tmp_path, hub, *words, **more)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fail(tmp_path: Path, hub: Hub | None, *words: object, **more: str) -> str:
    """The one line that says what is wrong."""
    done = run(tmp_path, hub, *words, **more)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("prepare: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# A run whose patience is short, so that giving up takes no minute; `patch` comes first.
IMPATIENT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import prepare
prepare.WAITS = (0.05, 0.1)
exec(sys.argv.pop(1))
prepare.main()
"""


def impatient(
    tmp_path: Path, hub: Hub | None, *words: object, patch: str = "", code: int = 1, **more: str
) -> str:
    arguments = ("--directory", tmp_path / "put" / "data", *SMALL, *words)
    command = [sys.executable, "-B", "-c", IMPATIENT, SCRIPT.parent, patch, *arguments]
    done = subprocess.run(
        [*map(str, command)],
        env=environment(tmp_path, hub, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == code, done.stderr
    return done.stderr


def start(tmp_path: Path, hub: Hub, *words: object) -> subprocess.Popen[str]:
    arguments = ("--directory", tmp_path / "put" / "data", *SMALL, *words)
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    env = environment(tmp_path, hub)
    return subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True)


def until(tmp_path: Path, pattern: str, size: int, child: subprocess.Popen[str]) -> None:
    """Wait until files of this name here have so many bytes together."""
    while sum(path.stat().st_size for path in here(tmp_path, pattern)) < size:
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)


def here(tmp_path: Path, pattern: str) -> list[Path]:
    return list((tmp_path / "put" / "downloads").rglob(pattern))


def manifest_of(tmp_path: Path, data: str = "data") -> dict[str, Any]:
    record: dict[str, Any] = json.loads((tmp_path / "put" / data / "manifest.json").read_text())
    return record


def documents(tmp_path: Path, split: str, data: str = "data") -> list[str]:
    """The text of every document of a split, decoded from its tokens."""
    folder = tmp_path / "put" / data
    record = json.loads((folder / "tokenizer.json").read_text())
    encoding = tiktoken.Encoding(
        "test",
        pat_str=record["pattern"],
        mergeable_ranks={base64.b64decode(t): rank for rank, t in enumerate(record["ranks"])},
        special_tokens=record["special"],
    )
    manifest = manifest_of(tmp_path, data)
    names = manifest["splits"][split]["files"]
    tokens = np.concatenate([np.fromfile(folder / name, "<u2") for name in names])
    starts = np.flatnonzero(tokens == manifest["bos"])
    return [encoding.decode(piece[1:].tolist()) for piece in np.split(tokens, starts[1:])]


def is_whole(tmp_path: Path, dataset: Dataset) -> bool:
    """Whether every file that lies here has the hub's bytes, and there is nothing half done."""
    found = {path.name: path.read_bytes() for path in here(tmp_path, "*.parquet")}
    wanted = {name.rpartition("/")[2]: data for name, data in dataset.files.items()}
    return bool(found) and found.items() <= wanted.items() and not here(tmp_path, "*.part")


# ---- what becomes of a dataset -------------------------------------------------------------------


def test_climbmix_has_its_splits_from_the_pinned_shards(
    tmp_path: Path, hub: Hub, climbmix: Dataset
) -> None:
    said = succeed(tmp_path, hub, "--source", "climbmix", "--shards", 3)
    assert "downloading 5 files" in said
    assert documents(tmp_path, "validation") == texts(6542)
    assert documents(tmp_path, "test") == texts(6541)
    assert documents(tmp_path, "train") == texts(0) + texts(1) + texts(2)
    source = manifest_of(tmp_path)["source"]
    assert (source["dataset"], source["revision"]) == (CLIMBMIX, climbmix.commit)
    assert source["pinned"] == {"validation": 1, "test": 1}
    assert source["names"]["train"] == [f"shard_{k:05d}.parquet" for k in range(3)]
    assert source["names"]["validation"] == [VALIDATION]
    assert source["names"]["test"] == [TEST]
    assert str(tmp_path) not in json.dumps(manifest_of(tmp_path))
    assert not hub.sent("shard_00003.parquet")


def test_any_dataset_whose_files_are_pinned_by_name(tmp_path: Path, hub: Hub) -> None:
    files = {
        "README.md": b"words",
        "LICENSE.txt": b"You may.",
        "data/train-0.jsonl": jsonl(texts(0)),
        "data/train-1.jsonl": jsonl(texts(1)),
        "data/validation.jsonl": jsonl(texts(2)),
        "data/test.jsonl": jsonl(texts(3)),
    }
    hub.add("someone/text", files)
    pins = ("--validation-files", "data/validation.jsonl", "--test-files", "data/te*")
    succeed(tmp_path, hub, "--dataset", "someone/text", *pins)
    assert documents(tmp_path, "train") == texts(0) + texts(1)
    assert documents(tmp_path, "validation") == texts(2)
    assert documents(tmp_path, "test") == texts(3)


def test_without_pins_a_dataset_is_split_like_files(tmp_path: Path, hub: Hub) -> None:
    rows = texts(4, 800)
    hub.add("someone/text", {"a.parquet": parquet(rows[:500]), "b.parquet": parquet(rows[500:])})
    succeed(tmp_path, hub, "--source", "hf", "--dataset", "someone/text")
    (tmp_path / "a.jsonl").write_bytes(jsonl(rows))
    succeed(tmp_path, None, "--files", tmp_path / "a.jsonl", data="other")
    assert manifest_of(tmp_path)["files"] == manifest_of(tmp_path, "other")["files"]


def test_one_split_can_be_pinned_and_the_other_be_a_share(tmp_path: Path, hub: Hub) -> None:
    hub.add("someone/text", {"a.parquet": parquet(texts(5, 600)), "v.parquet": parquet(texts(6))})
    succeed(tmp_path, hub, "--dataset", "someone/text", "--validation-files", "v.parquet")
    assert documents(tmp_path, "validation") == texts(6)
    assert 10 <= len(documents(tmp_path, "test")) <= 60  # 5 % of 600
    assert set(documents(tmp_path, "test")) < set(texts(5, 600))


def test_local_files_can_be_pinned_too(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 8), ("v", 9), ("t", 10)):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(texts(seed)))
    pins = ("--validation-files", tmp_path / "v.jsonl", "--test-files", tmp_path / "t.jsonl")
    succeed(tmp_path, None, "--files", tmp_path / "*.jsonl", *pins)
    assert documents(tmp_path, "train") == texts(7) + texts(8)
    assert documents(tmp_path, "validation") == texts(9)
    assert documents(tmp_path, "test") == texts(10)
    twice = ("--files", tmp_path / "a.jsonl", *pins[:2], "--test-files", pins[1])
    line = fail(tmp_path, None, *twice, data="other")
    assert "validation_files and test_files meet" in line


def test_training_text_that_is_near_pinned_text_is_left_out(tmp_path: Path, hub: Hub) -> None:
    rows, held_out = texts(11, 400, 200), texts(12, 100, 200)
    near = [text.replace(text.split()[50], "changed", 1) for text in held_out[:50]]
    files = {
        "a.parquet": parquet(rows + near + held_out[50:]),
        "v.parquet": parquet(held_out),
        "t.parquet": parquet(texts(13, 100)),
    }
    hub.add("someone/text", files)
    pins = ("--validation-files", "v.parquet", "--test-files", "t.parquet")
    succeed(tmp_path, hub, "--dataset", "someone/text", *pins)
    assert documents(tmp_path, "train") == rows
    assert documents(tmp_path, "validation") == held_out
    left_out = manifest_of(tmp_path)["left_out"]
    assert (left_out["duplicates"], left_out["near_duplicates"]) == (50, 50)


def test_a_limit_is_shared_between_pinned_splits_and_the_rest(tmp_path: Path, hub: Hub) -> None:
    hub.add("someone/text", {f"{name}.parquet": parquet(texts(ord(name), 2000)) for name in "atv"})
    pins = ("--validation-files", "v.parquet", "--test-files", "t.parquet")
    shares = ("--limit-mb", 0.4, "--validation-share", 0.25, "--test-share", 0.125)
    succeed(tmp_path, hub, "--dataset", "someone/text", *pins, *shares)
    sizes = {split: r["bytes"] for split, r in manifest_of(tmp_path)["splits"].items()}
    for split, share in (("train", 0.625), ("validation", 0.25), ("test", 0.125)):
        assert 0 <= sizes[split] - 400_000 * share < 1000, sizes


# ---- what is asked, and what is kept -------------------------------------------------------------


def test_a_second_run_asks_nothing(tmp_path: Path, hub: Hub, climbmix: Dataset) -> None:
    words = ("--source", "climbmix", "--shards", 2)
    succeed(tmp_path, hub, *words)
    hub.requests.clear()
    assert "nothing to do" in succeed(tmp_path, hub, *words)
    assert "nothing to do" in succeed(tmp_path, None, *words, HF_HUB_OFFLINE="1")
    succeed(tmp_path, hub, *words, "--force")
    succeed(tmp_path, hub, *words, data="other")  # what is here is here for all data beside it
    assert hub.requests == []


def test_downloading_alone_makes_no_data(tmp_path: Path, hub: Hub, climbmix: Dataset) -> None:
    words = ("--source", "climbmix", "--shards", 2)
    assert "is here" in succeed(tmp_path, hub, *words, "--download")
    assert is_whole(tmp_path, climbmix)
    assert not (tmp_path / "put" / "data").exists()
    succeed(tmp_path, None, *words, HF_HUB_OFFLINE="1")  # as a node without internet does it
    assert documents(tmp_path, "validation") == texts(6542)
    assert "nothing to do" in succeed(tmp_path, None, *words, "--download")


def test_a_branch_that_moves_is_what_it_was_at_first(tmp_path: Path, hub: Hub) -> None:
    dataset = hub.add("someone/text", {"a.parquet": parquet(texts(14, 600))})
    words = ("--dataset", "someone/text")
    succeed(tmp_path, hub, *words)
    first, dataset.commit = dataset.commit, "b" * 40
    dataset.files["a.parquet"] = parquet(texts(15, 600))
    succeed(tmp_path, hub, *words, data="again")
    assert manifest_of(tmp_path, "again")["source"]["revision"] == first
    succeed(tmp_path, hub, *words, "--revision", "b" * 40, data="new")
    assert manifest_of(tmp_path, "new")["source"]["revision"] == "b" * 40
    assert set(documents(tmp_path, "train", "new")) < set(texts(15, 600))


def test_no_more_than_four_files_come_at_once(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    for name in large.files:
        hub.fail(name, "slow", 10)
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert 2 <= hub.most_streams <= 4
    assert is_whole(tmp_path, large)


def test_small_files_are_checked_by_the_hash_git_knows_them_by(tmp_path: Path, hub: Hub) -> None:
    hub.add("someone/text", {"a.jsonl": jsonl(texts(16, 600))})
    words = ("--dataset", "someone/text")
    succeed(tmp_path, hub, *words, "--download")
    (path,) = here(tmp_path, "a.jsonl")
    path.write_bytes(path.read_bytes().replace(b"a", b"e", 1))
    assert "a.jsonl is damaged: it is fetched again" in succeed(tmp_path, hub, *words)
    assert path.read_bytes() == jsonl(texts(16, 600))


def test_a_file_that_was_damaged_here_is_fetched_again(
    tmp_path: Path, hub: Hub, climbmix: Dataset
) -> None:
    words = ("--source", "climbmix", "--shards", 2)
    succeed(tmp_path, hub, *words, "--download")
    (path,) = here(tmp_path, VALIDATION)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    hub.requests.clear()
    assert f"{VALIDATION} is damaged: it is fetched again" in succeed(tmp_path, hub, *words)
    assert {r.name for r in hub.requests} == {VALIDATION}
    assert documents(tmp_path, "validation") == texts(6542)


def test_a_name_that_points_elsewhere_is_not_followed(tmp_path: Path, hub: Hub) -> None:
    files = {name: parquet(texts(17, 600)) for name in ("a.parquet", "x/../../../b.parquet")}
    hub.add("someone/odd", {**files, ".record.json": b"{}", "/c.parquet": b"", "x/.d.parquet": b""})
    succeed(tmp_path, hub, "--dataset", "someone/odd")
    assert manifest_of(tmp_path)["source"]["names"]["train"] == ["a.parquet"]


# ---- what goes wrong on the way ------------------------------------------------------------------


def test_a_cut_connection_goes_on_where_it_stopped(
    tmp_path: Path, hub: Hub, large: Dataset
) -> None:
    """Each file is cut at three places; no byte that arrived is sent a second time."""
    rng = random.Random(18)
    cuts = {name: [rng.randrange(1, 100_000) for _ in range(3)] for name in large.files}
    for name, places in cuts.items():
        for place in places:
            hub.fail(name, "cut", place)
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert is_whole(tmp_path, large)
    for name, places in cuts.items():
        sent = hub.sent(name.rpartition("/")[2])
        assert [r.sent for r in sent[:-1]] == places
        starts = [sum(places[:k]) for k in range(4)]
        assert [r.range for r in sent] == ["", *(f"bytes={start}-" for start in starts[1:])]
        assert sum(r.sent for r in sent) == len(large.files[name])


def test_a_server_without_ranges_begins_again(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    hub.fail("part-0.parquet", "cut", 50_000)
    hub.fail("part-0.parquet", "whole")
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert [r.status for r in hub.sent("part-0.parquet")] == [200, 200]
    assert is_whole(tmp_path, large)


def test_wrong_bytes_are_not_taken(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    hub.fail("part-1.parquet", "wrong")
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert len(hub.sent("part-1.parquet")) == 2
    assert is_whole(tmp_path, large)


def test_wrong_bytes_again_and_again_are_one_line(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    hub.fail("part-1.parquet", "wrong", times=100)
    line = fail(tmp_path, hub, "--dataset", large.name)
    wanted = hashlib.sha256(large.files["data/part-1.parquet"]).hexdigest()
    assert f"part-1.parquet should have the checksum {wanted}, but came otherwise 3 times" in line
    assert not here(tmp_path, "part-1.parquet*")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_server_that_is_busy_is_asked_again(
    tmp_path: Path, hub: Hub, large: Dataset, status: int, method: str
) -> None:
    hub.fail("part-2.parquet", "status", status, method=method)
    impatient(tmp_path, hub, "--dataset", large.name, "--download", code=0)
    assert is_whole(tmp_path, large)


def test_a_server_says_how_long_to_wait(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    for headers in ({"Retry-After": "1"}, {"RateLimit": '"resolvers";r=0;t=1'}):
        hub.fail("revision/main", "status", 429, headers=headers)
    before = time.monotonic()
    impatient(tmp_path, hub, "--dataset", large.name, "--download", code=0)
    assert time.monotonic() - before > 2  # a bound that no machine is too slow for
    assert is_whole(tmp_path, large)


def test_a_connection_that_is_dropped_is_made_again(
    tmp_path: Path, hub: Hub, large: Dataset
) -> None:
    for method, name in (("GET", "revision/main"), ("HEAD", "part-0.parquet")):
        hub.fail(name, "drop", method=method)
    hub.fail("part-3.parquet", "drop")
    impatient(tmp_path, hub, "--dataset", large.name, "--download", code=0)
    assert is_whole(tmp_path, large)


def test_a_server_that_stays_down_is_one_line_and_what_came_is_kept(
    tmp_path: Path, hub: Hub, large: Dataset
) -> None:
    hub.fail("part-0.parquet", "cut", 123_456)
    hub.fail("part-0.parquet", "status", 503, times=100, after=2)  # the answers before the cut
    line = impatient(tmp_path, hub, "--dataset", large.name)
    assert f"{hub.url} should let us download data/part-0.parquet, but: 503 Service" in line
    assert "what is here is kept" in line
    (part,) = here(tmp_path, "part-0.parquet.part")
    assert part.read_bytes() == large.files["data/part-0.parquet"][: part.stat().st_size]
    hub.faults.clear()
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert sum(r.sent for r in hub.sent("part-0.parquet")) == len(
        large.files["data/part-0.parquet"]
    )
    assert is_whole(tmp_path, large)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_download_goes_on_where_it_was(
    tmp_path: Path, hub: Hub, large: Dataset, number: signal.Signals
) -> None:
    """What lies here when it dies is not sent again, whether of a whole file or of a part."""
    for name in large.files:
        hub.fail(name, "slow", 15)
    words = ("--dataset", large.name, "--download")
    with start(tmp_path, hub, *words) as child:
        until(tmp_path, "part-*.parquet*", 600_000, child)
        child.send_signal(number)
        _, said = child.communicate()
    assert child.returncode == (1 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert said.count("\n") == 1
        assert "interrupted; run it again to finish" in said
    kept = {p.name.removesuffix(".part"): p.stat().st_size for p in here(tmp_path, "part-*")}
    assert 600_000 <= sum(kept.values()) < sum(map(len, large.files.values()))
    hub.faults.clear()
    hub.requests.clear()
    succeed(tmp_path, hub, *words)
    assert is_whole(tmp_path, large)
    for path, data in large.files.items():
        name = path.rpartition("/")[2]
        assert sum(r.sent for r in hub.sent(name)) == len(data) - kept.get(name, 0)
    assert {r.method for r in hub.requests} == {"GET"}  # what it asked before it knows


def test_ctrl_c_does_not_wait_for_a_server_that_is_silent(
    tmp_path: Path, hub: Hub, large: Dataset
) -> None:
    for name in large.files:
        hub.fail(name, "slow", 300_000)
    with start(tmp_path, hub, "--dataset", large.name, "--download") as child:
        until(tmp_path, "part-*.part", 4 * 16384, child)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=25)  # its own patience with the server is longer
    assert child.returncode == 1
    assert "interrupted" in said
    assert said.count("\n") == 1


def test_a_part_that_is_too_long_is_begun_again(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    folder = tmp_path / "put/downloads/someone--large" / large.commit / "data"
    folder.mkdir(parents=True)
    (folder / "part-0.parquet.part").write_bytes(bytes(500_000))
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert is_whole(tmp_path, large)


def test_a_full_disk_is_one_line_and_no_loss(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    """A limit on file size fails writes as a full disk does: in the middle, with an OSError."""
    for name in large.files:
        hub.fail(name, "slow", 5)
    words = ("--dataset", large.name, "--download")
    with start(tmp_path, hub, *words) as child:
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))
        _, line = child.communicate()
    assert child.returncode == 1
    assert line.count("\n") == 1
    assert "File too large" in line
    hub.faults.clear()
    succeed(tmp_path, hub, *words)
    assert is_whole(tmp_path, large)


def test_too_little_room_is_told_before_anything_comes(
    tmp_path: Path, hub: Hub, large: Dataset
) -> None:
    patch = "prepare.shutil.disk_usage = lambda path: type('Usage', (), {'free': 10 ** 6})"
    line = impatient(tmp_path, hub, "--dataset", large.name, patch=patch)
    assert "should have room for 2 MB, but has 1 MB" in line
    assert not any(r.sent for r in hub.requests)


def test_two_runs_do_not_fill_one_folder(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    for name in large.files:
        hub.fail(name, "slow", 50)
    words = ("--dataset", large.name, "--download")
    with start(tmp_path, hub, *words) as child:
        until(tmp_path, "*.part", 1, child)
        line = fail(tmp_path, hub, *words, data="other")
        assert "someone--large is being filled by another process; wait" in line
        child.kill()


# ---- what cannot be had --------------------------------------------------------------------------


def test_a_dataset_that_is_not_there_is_one_line(tmp_path: Path, hub: Hub) -> None:
    line = fail(tmp_path, hub, "--dataset", "no/such")
    assert f"there should be a dataset no/such at {hub.url}, but there is none" in line


def test_a_revision_that_is_not_there_is_one_line(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    line = fail(tmp_path, hub, "--dataset", large.name, "--revision", "v2")
    assert "someone/large should have a revision 'v2', but has none" in line


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    line = fail(tmp_path, hub, "--dataset", large.name, "--test-files", "data/part-7.parquet")
    assert "someone/large should have a file 'data/part-7.parquet', but has none; there are" in line
    hub.fail("part-3.parquet", "status", 404, method="HEAD", times=10)
    line = fail(tmp_path, hub, "--dataset", large.name)
    assert f"{hub.url} should have data/part-3.parquet, but has not" in line


def test_a_gated_dataset_needs_its_terms_accepted(tmp_path: Path, hub: Hub) -> None:
    gated = hub.add(
        "someone/gated", {"a.parquet": parquet(texts(19, 600))}, is_gated=True, token="hf_right"
    )
    line = fail(tmp_path, hub, "--dataset", gated.name)
    assert f"do so at {hub.url}/datasets/someone/gated, then `hf auth login`" in line
    line = fail(tmp_path, hub, "--dataset", gated.name, HF_TOKEN="hf_wrong")
    assert "accept its terms" in line
    succeed(tmp_path, hub, "--dataset", gated.name, HF_TOKEN="hf_right")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hf_right" in path.read_bytes() for path in written)


def test_a_token_that_is_refused_is_one_line(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    hub.fail("part-0.parquet", "status", 403, method="HEAD", times=10)
    line = fail(tmp_path, hub, "--dataset", large.name)
    assert "should let you have data/part-0.parquet, but says: 403 Forbidden" in line


def test_a_saved_token_does_not_go_to_a_mirror(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    token = tmp_path / "home/.cache/huggingface/token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_saved")
    succeed(tmp_path, hub, "--dataset", large.name, "--download")
    assert not any("Authorization" in r.headers for r in hub.requests)


def test_no_internet_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        line = fail(tmp_path, None, "--source", "climbmix", HF_ENDPOINT=url)
    assert f"{url} should let us download the list of files of {CLIMBMIX}, but:" in line
    assert "refused" in line
    assert "HF_ENDPOINT" in line
    assert not (tmp_path / "put/data").exists()


def test_being_told_to_stay_offline_is_one_line(tmp_path: Path, hub: Hub) -> None:
    line = fail(tmp_path, hub, "--source", "climbmix", HF_HUB_OFFLINE="1")
    assert "should be downloaded, but HF_HUB_OFFLINE is set" in line


def test_a_server_that_is_no_hub_is_one_line(tmp_path: Path, hub: Hub) -> None:
    hub.fail("revision/main", "status", 200, times=10)
    assert "what answers is no hub" in impatient(tmp_path, hub, "--source", "climbmix")


def test_a_mirror_without_an_address_is_one_line(tmp_path: Path) -> None:
    line = fail(tmp_path, None, "--source", "climbmix", HF_ENDPOINT="hub.example.org")
    assert "HF_ENDPOINT should be the address of a mirror such as https://" in line


def test_files_that_hold_no_text_are_one_line(tmp_path: Path, hub: Hub) -> None:
    hub.add("someone/images", {"README.md": b"", "a.png": b"", "b.png": b""})
    line = fail(tmp_path, hub, "--dataset", "someone/images")
    assert "someone/images should have files that end in one of .txt, .jsonl, .parquet" in line
    line = fail(tmp_path, hub, "--dataset", "someone/images", "--files", "a.png")
    assert "a.png should end in one of" in line


def test_a_file_in_two_splits_is_one_line(tmp_path: Path, hub: Hub, large: Dataset) -> None:
    pins = ("--validation-files", "data/part-[01]*", "--test-files", "data/part-[12]*")
    line = fail(tmp_path, hub, "--dataset", large.name, *pins)
    assert "a file should be in one split, but 'data/part-1.parquet' is in two" in line


def test_a_strange_directory_is_refused_before_anything_comes(
    tmp_path: Path, hub: Hub, climbmix: Dataset
) -> None:
    (tmp_path / "put/data").mkdir(parents=True)
    (tmp_path / "put/data/thesis.txt").write_text("mine")
    assert "holds 'thesis.txt'" in fail(tmp_path, hub, "--source", "climbmix")
    assert hub.requests == []
