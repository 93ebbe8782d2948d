"""prepare.py as a user meets it: a process, a directory, and what lies in it afterwards."""

import base64
import hashlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoresearch.layout import shipped
from autoresearch.settings import Data

SCRIPT = shipped("train") / "prepare.py"
SMALL = ("--vocabulary", "300", "--context", "64")
SPLITS = ("train", "validation", "test")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prepare"] = module
    spec.loader.exec_module(module)
    return module


prepare = load()


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "AUTORESEARCH_DATA"} | variables
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def succeed(*arguments: object, **variables: str) -> str:
    done = run(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(*arguments: object, **variables: str) -> str:
    """The one line that says what is wrong."""
    done = run(*arguments, **variables)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("prepare: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def manifest_of(directory: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return record


def encoding_of(directory: Path) -> tiktoken.Encoding:
    record = json.loads((directory / "tokenizer.json").read_text())
    ranks = {base64.b64decode(token): rank for rank, token in enumerate(record["ranks"])}
    return tiktoken.Encoding(
        "test",
        pat_str=record["pattern"],
        mergeable_ranks=ranks,
        special_tokens=record["special"],
    )


def documents_of(directory: Path, split: str) -> list[str]:
    """The text of every document of a split, decoded from its shards."""
    manifest, encoding = manifest_of(directory), encoding_of(directory)
    names = manifest["splits"][split]["files"]
    tokens = np.concatenate([np.fromfile(directory / name, "<u2") for name in names])
    starts = np.flatnonzero(tokens == manifest["bos"])
    assert starts[0] == 0
    return [encoding.decode(piece[1:].tolist()) for piece in np.split(tokens, starts[1:])]


WORDS = [a + b + c for a in "bcdfgklmnprst" for b in ("a", "e", "io", "u") for c in ("", "n", "rt")]


def sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(length))


def texts(seed: int, count: int, length: int = 80) -> list[str]:
    """Documents that have nothing in common but the words."""
    rng = random.Random(seed)
    return [sentence(rng, length) for _ in range(count)]


def write_jsonl(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """600 small documents: enough for three splits."""
    return write_jsonl(tmp_path / "corpus.jsonl", texts(1, 600))


# ---- what is written ---------------------------------------------------------------------------


def test_the_manifest_describes_exactly_what_lies_there(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--files", corpus, *SMALL)
    manifest = manifest_of(data)
    assert (manifest["schema"], manifest["vocabulary"], manifest["context"]) == (1, 300, 64)
    found = contents(data)
    described = set(manifest["files"])
    assert set(found) == described | {"manifest.json", "settings.json"}
    for name in described:
        record = {"sha256": hashlib.sha256(found[name]).hexdigest(), "bytes": len(found[name])}
        assert manifest["files"][name] == record
    assert str(tmp_path).encode() not in found["manifest.json"]
    for split in SPLITS:
        record = manifest["splits"][split]
        documents = documents_of(data, split)
        assert record["documents"] == len(documents)
        assert record["bytes"] == sum(len(text.encode()) for text in documents)
        assert record["tokens"] == sum(len(found[name]) // 2 for name in record["files"])


def test_every_document_comes_back_letter_by_letter_in_one_split(
    tmp_path: Path, corpus: Path
) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--files", corpus, *SMALL)
    by_split = {split: documents_of(data, split) for split in SPLITS}
    everything = sorted(text for split in SPLITS for text in by_split[split])
    assert everything == sorted(texts(1, 600))
    assert 10 <= len(by_split["validation"]) <= 60  # 5 % of 600, give or take luck
    assert 10 <= len(by_split["test"]) <= 60


def test_token_bytes_sum_up_to_the_bytes_of_the_text(tmp_path: Path) -> None:
    rows = [text + " ünï\N{GRINNING FACE}字" for text in texts(2, 400)]
    data = tmp_path / "data"
    succeed("--directory", data, "--files", write_jsonl(tmp_path / "a.jsonl", rows), *SMALL)
    sizes = np.fromfile(data / "token_bytes.bin", "<i4")
    manifest = manifest_of(data)
    assert len(sizes) == 300
    assert sizes[manifest["bos"]] == 0
    for split in SPLITS:
        record = manifest["splits"][split]
        tokens = np.concatenate([np.fromfile(data / name, "<u2") for name in record["files"]])
        assert int(sizes[tokens].sum()) == record["bytes"]


def test_the_text_of_a_special_token_is_plain_text(tmp_path: Path) -> None:
    rows = [f"{text} <|bos|> {k}" for k, text in enumerate(texts(3, 400))]
    data = tmp_path / "data"
    succeed("--directory", data, "--files", write_jsonl(tmp_path / "a.jsonl", rows), *SMALL)
    assert all("<|bos|>" in text for text in documents_of(data, "train"))


def test_the_tokenizer_never_sees_held_out_text(tmp_path: Path) -> None:
    """Held-out documents get a word of their own, frequent enough to become a token."""
    rows = texts(4, 600)
    key = {text: int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in rows}
    marked = [f"{t} " + " ".join(["zyzzyva"] * 40) for t in rows]
    key |= {t: int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") for t in marked}
    held_out = [t for t in marked if key[t] / 2**64 < 0.1]
    kept = [t for t in rows if key[t] / 2**64 >= 0.1]
    data = tmp_path / "data"
    corpus = write_jsonl(tmp_path / "a.jsonl", held_out + kept)
    succeed("--directory", data, "--files", corpus, *SMALL)
    ranks = json.loads((data / "tokenizer.json").read_text())["ranks"]
    assert any("zyzzyva" in text for text in documents_of(data, "validation"))
    assert not any(b"yz" in base64.b64decode(token) for token in ranks)


# ---- sources -----------------------------------------------------------------------------------


def test_the_standard_library_is_enough_to_start_with(tmp_path: Path) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--source", "stdlib", "--limit-mb", "2", *SMALL)
    source = manifest_of(data)["source"]
    assert source["kind"] == "stdlib"
    root = Path(sysconfig.get_paths()["stdlib"])
    assert all((root / name).is_dir() for name in source["folders"])
    size = sum(record["bytes"] for record in manifest_of(data)["splits"].values())
    assert 0.8e6 < size < 2.1e6  # a Debian Python comes without the largest of them


def test_who_gets_the_standard_library_is_told_so_when_it_is_made(
    tmp_path: Path, corpus: Path
) -> None:
    words = ("--directory", tmp_path / "data", "--limit-mb", "2", *SMALL)
    said = succeed(*words)
    assert "the text is that of this Python installation, 2 MB" in said
    assert "add source=climbmix, or source=files" in said
    assert "installation" not in succeed(*words)
    assert "installation" not in succeed(
        "--directory", tmp_path / "mine", "--files", corpus, *SMALL
    )


def test_python_works_without_the_folders_the_text_comes_from() -> None:
    """What the harness imports, imported with those folders hidden, as a sandbox will hide them."""
    program = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {prepare.FOLDERS!r}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import torch, numpy, torch.nn.functional\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_txt_jsonl_and_parquet_give_the_same_documents(tmp_path: Path) -> None:
    rows = texts(5, 500)
    jsonl = write_jsonl(tmp_path / "a.jsonl", rows)
    table = pa.table({"id": range(len(rows)), "text": rows})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    folder = tmp_path / "notes" / "deep"
    folder.mkdir(parents=True)
    for k, text in enumerate(rows):
        (folder / f"{k:04d}.txt").write_text(text)
    found = []
    for k, source in enumerate((jsonl, tmp_path / "*.parquet", tmp_path / "notes")):
        succeed("--directory", tmp_path / f"data{k}", "--files", source, *SMALL)
        found.append(manifest_of(tmp_path / f"data{k}"))
    assert found[0]["files"] == found[1]["files"] == found[2]["files"]


def test_running_text_is_cut_into_documents_that_join_to_the_original() -> None:
    rng = random.Random(6)
    text = "\n".join(sentence(rng, 12) + ("\n" if rng.random() < 0.3 else "") for _ in range(4000))
    documents = list(prepare.cut(text.splitlines(keepends=True)))
    assert "".join(documents) == text
    sizes = [len(document) for document in documents]
    assert len(documents) > 20
    assert max(sizes) <= prepare.LONG
    assert min(sizes[:-1]) >= prepare.SHORT


def test_an_edit_changes_only_the_documents_around_it() -> None:
    rng = random.Random(7)
    lines = [sentence(rng, 12) + ("\n\n" if rng.random() < 0.3 else "\n") for _ in range(6000)]
    lines = "".join(lines).splitlines(keepends=True)
    before = set(prepare.cut(lines))
    after = set(prepare.cut(["a new first line\n", *lines]))
    assert len(before - after) <= 3
    assert len(before) > 30


def test_a_line_without_end_is_cut_too() -> None:
    documents = list(prepare.row("x" * 300_000))
    assert "".join(documents) == "x" * 300_000
    assert max(map(len, documents)) <= prepare.LONG


@given(st.text(max_size=300))
def test_a_document_of_any_characters_can_be_surveyed(text: str) -> None:
    assert prepare.signature(text).shape == (128,)


def test_half_a_surrogate_pair_in_json_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [f'{{"text": "{text} \\ud800"}}\n' for text in texts(8, 400)]
    path.write_text("".join(rows))
    succeed("--directory", tmp_path / "data", "--files", path, *SMALL)
    assert all(text.endswith(" ?") for text in documents_of(tmp_path / "data", "train"))


def test_source_files_honour_their_declared_encoding(tmp_path: Path) -> None:
    latin, big5, binary = tmp_path / "a.py", tmp_path / "b.txt", tmp_path / "c.txt"
    latin.write_bytes("# -*- coding: latin-1 -*-\n# déjà vu\n".encode("latin-1"))
    big5.write_bytes("中文".encode("big5"))
    binary.write_bytes(b"text\0with a NUL")
    assert list(prepare.stdlib_documents(latin)) == ["# -*- coding: latin-1 -*-\n# déjà vu\n"]
    assert prepare.stdlib_documents(big5) is None
    assert prepare.stdlib_documents(binary) is None


# ---- splits and duplicates ---------------------------------------------------------------------


def split_of(data: Path) -> dict[str, str]:
    return {text: split for split in SPLITS for text in documents_of(data, split)}


def test_more_documents_move_none_to_another_split(tmp_path: Path) -> None:
    few, many = texts(9, 500), texts(9, 500) + texts(10, 300)
    random.Random(0).shuffle(many)
    for name, rows in (("few", few), ("many", many)):
        corpus = write_jsonl(tmp_path / f"{name}.jsonl", rows)
        succeed("--directory", tmp_path / name, "--files", corpus, *SMALL)
    before, after = split_of(tmp_path / "few"), split_of(tmp_path / "many")
    assert before.items() <= after.items()


def test_equal_documents_are_kept_once(tmp_path: Path) -> None:
    rows = texts(11, 500)
    corpus = write_jsonl(tmp_path / "a.jsonl", rows + rows[:200])
    succeed("--directory", tmp_path / "data", "--files", corpus, *SMALL)
    found = [text for split in SPLITS for text in documents_of(tmp_path / "data", split)]
    assert sorted(found) == sorted(rows)
    assert manifest_of(tmp_path / "data")["left_out"]["duplicates"] == 200


def edited(text: str, rng: random.Random, changes: int) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), changes):
        words[place] = "changed"
    return " ".join(words)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[k : k + 5]) for k in range(len(words) - 4)}


def similarity(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def test_no_near_duplicate_is_left_across_splits(tmp_path: Path) -> None:
    """Every document comes in six versions that differ in three of 200 words."""
    rng = random.Random(12)
    originals = texts(12, 150, length=200)
    versions = [[edited(text, rng, 3) for _ in range(6)] for text in originals]
    corpus = write_jsonl(tmp_path / "a.jsonl", [v for family in versions for v in family])
    data = tmp_path / "data"
    shares = ("--validation-share", "0.1", "--test-share", "0.1")
    succeed("--directory", data, "--files", corpus, *SMALL, *shares)
    kept = split_of(data)
    for family in versions:
        assert min(similarity(family[0], other) for other in family[1:]) > 0.6
        assert len({kept[v] for v in family if v in kept}) == 1
        if any(key_share(v) < 0.1 for v in family):
            assert {kept.get(v) for v in family} <= {"validation", None}
    dropped = 900 - len(kept)
    assert manifest_of(data)["left_out"]["near_duplicates"] == dropped > 100


def key_share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def test_documents_with_little_in_common_all_stay(tmp_path: Path) -> None:
    """A shared boilerplate of a third of the words is no duplicate."""
    notice = sentence(random.Random(13), 40)
    rows = [f"{notice} {text}" for text in texts(13, 500)]
    corpus = write_jsonl(tmp_path / "a.jsonl", rows)
    succeed("--directory", tmp_path / "data", "--files", corpus, *SMALL)
    assert manifest_of(tmp_path / "data")["left_out"]["near_duplicates"] == 0


@pytest.mark.parametrize("changes", [0, 2, 5, 10, 20, 60])
def test_minhash_estimates_the_jaccard_similarity_of_shingles(changes: int) -> None:
    rng = random.Random(changes)
    errors = []
    for text in texts(14, 40, length=300):
        other = edited(text, rng, changes)
        estimate = float((prepare.signature(text) == prepare.signature(other)).mean())
        errors.append(estimate - similarity(text, other))
    # 128 hashes: one estimate is off by at most 0.044, the mean of 40 by 0.007.
    assert abs(float(np.mean(errors))) < 0.03
    assert float(np.std(errors)) < 0.07


def brute_force(signatures: NDArray[np.uint32], others: NDArray[np.uint32]) -> NDArray[np.bool_]:
    close = (signatures[:, None, :] == others[None, :, :]).mean(axis=2) >= prepare.ALIKE
    near: NDArray[np.bool_] = close.any(axis=1)
    return near


def test_the_index_finds_what_comparing_all_pairs_finds() -> None:
    rng = random.Random(15)
    base = texts(15, 120, length=150)
    queries = [edited(t, rng, rng.choice((0, 1, 3, 100))) for t in base for _ in range(2)]
    others = np.stack([prepare.signature(t) for t in base[:60] * 2])  # some bands are shared
    signatures = np.stack([prepare.signature(t) for t in queries])
    found, wanted = prepare.Index(others).near(signatures), brute_force(signatures, others)
    assert wanted.sum() > 50
    assert not (found & ~wanted).any()
    assert (found & wanted).sum() >= 0.98 * wanted.sum()


def test_an_empty_index_finds_nothing() -> None:
    signatures = np.stack([prepare.signature(t) for t in texts(16, 3)])
    assert not prepare.Index(signatures[:0]).near(signatures).any()


# ---- the same bytes, whatever happens ----------------------------------------------------------


def test_running_again_does_nothing(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    first = succeed("--directory", data, "--files", corpus, *SMALL)
    assert "prepared:" in first
    stamps = {p.name: p.stat().st_mtime_ns for p in data.iterdir()}
    corpus.unlink()  # not even the source is looked at
    again = succeed("--directory", data, "--files", corpus, *SMALL)
    assert "nothing to do" in again
    assert {p.name: p.stat().st_mtime_ns for p in data.iterdir()} == stamps


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "a.jsonl", texts(17, 3000, length=200))
    for workers in (1, 2, 5):
        data = tmp_path / f"data{workers}"
        succeed("--directory", data, "--files", corpus, *SMALL, "--workers", workers)
    assert contents(tmp_path / "data1") == contents(tmp_path / "data2")
    assert contents(tmp_path / "data1") == contents(tmp_path / "data5")


def test_many_batches_and_shards_hold_the_same_documents(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {}
    for name, batch, shard in (("one", 1 << 20, 256), ("many", 4000, 3)):
        monkeypatch.setattr(prepare, "BATCH", batch)
        monkeypatch.setattr(prepare, "SHARD", shard)
        settings = prepare.check(
            {
                "directory": str(tmp_path / name),
                "source": "files",
                "files": [str(corpus)],
                "vocabulary": 300,
                "context": 64,
            }
        )
        prepare.prepare(settings, force=False)
        kept[name] = {split: documents_of(tmp_path / name, split) for split in SPLITS}
    assert len(manifest_of(tmp_path / "many")["splits"]["train"]["files"]) > 2
    assert kept["one"] == kept["many"]


def kill_when(ready: Callable[[], bool], *arguments: object) -> bool:
    """Start a run and SIGKILL it as soon as `ready`; whether it was still running then."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while child.poll() is None and not ready():
            time.sleep(0.002)
        running = child.poll() is None
        child.send_signal(signal.SIGKILL)
    return running


def elapsed(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def appeared(data: Path, pattern: str, count: int = 1) -> Callable[[], bool]:
    return lambda: len(list(data.glob(pattern))) >= count


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A corpus of several batches, and what preparing it undisturbed gives."""
    folder = tmp_path_factory.mktemp("large")
    corpus = write_jsonl(folder / "corpus.jsonl", texts(18, 4500, length=120))
    succeed("--directory", folder / "data", "--files", corpus, *SMALL)
    return corpus, contents(folder / "data")


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (".partial/survey-*.npz", 2),
        ("tokenizer.json", 1),
    ],
)
def test_a_killed_run_is_finished_by_the_next_one(
    tmp_path: Path, large: tuple[Path, dict[str, bytes]], pattern: str, count: int
) -> None:
    corpus, wanted = large
    data = tmp_path / "data"
    arguments = ("--directory", data, "--files", corpus, *SMALL)
    assert kill_when(appeared(data, pattern, count), *arguments)
    assert not (data / "manifest.json").exists()
    succeed(*arguments)
    assert contents(data) == wanted


DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
import prepare
prepare.BATCH, prepare.SHARD = 30_000, 3
last, whole = int(sys.argv.pop(1)), prepare.write
def write(path, data):
    global last
    last -= 1
    if last < 0:
        path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    whole(path, data)
prepare.write = write
prepare.main()
"""


def dying(writes: int, *arguments: object) -> int:
    """A run in many small batches that kills itself in the middle of a later write; its status."""
    command = [sys.executable, "-B", "-c", DYING, SCRIPT.parent, writes, *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode


def test_whichever_write_is_the_last_the_next_run_finishes(tmp_path: Path, corpus: Path) -> None:
    arguments = ("--files", corpus, *SMALL, "--directory")
    assert dying(1000, *arguments, tmp_path / "whole") == 0
    wanted = contents(tmp_path / "whole")
    for writes in (0, 1, 6, 11, 12, 13, 14, 17, 20):
        data = tmp_path / f"data{writes}"
        assert dying(writes, *arguments, data) == -signal.SIGKILL, writes
        assert dying(1000, *arguments, data) == 0
        assert contents(data) == wanted, writes


def test_kills_at_any_time_add_up_to_the_same_bytes(
    tmp_path: Path, large: tuple[Path, dict[str, bytes]]
) -> None:
    corpus, wanted = large
    data, rng = tmp_path / "data", random.Random(19)
    arguments = ("--directory", data, "--files", corpus, *SMALL)
    killed, seconds = 0, 2.0
    while killed < 6:
        if kill_when(elapsed(rng.uniform(0.1, 1.0) * seconds), *arguments):
            killed += 1
        else:  # this machine is faster than that: once more from nothing
            assert contents(data) == wanted
            shutil.rmtree(data)
            seconds /= 2
    succeed(*arguments)
    assert contents(data) == wanted


def test_half_done_work_on_other_text_is_not_used(
    tmp_path: Path, large: tuple[Path, dict[str, bytes]]
) -> None:
    _, wanted = large
    data, corpus = tmp_path / "data", tmp_path / "corpus.jsonl"
    write_jsonl(corpus, texts(20, 4500, length=120))
    arguments = ("--directory", data, "--files", corpus, *SMALL)
    assert kill_when(appeared(data, "tokenizer.json"), *arguments)
    write_jsonl(corpus, texts(18, 4500, length=120))
    succeed(*arguments)
    found = {k: v for k, v in contents(data).items() if k != "settings.json"}
    assert found == {k: v for k, v in wanted.items() if k != "settings.json"}


def test_a_source_that_changes_while_it_is_read_is_noticed(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = prepare.check(
        {
            "directory": str(tmp_path / "data"),
            "source": "files",
            "files": [str(corpus)],
            "vocabulary": 300,
            "context": 64,
        }
    )
    decide = prepare.fates

    def meanwhile(*arguments: Any) -> Any:
        write_jsonl(corpus, texts(21, 600))
        return decide(*arguments)

    monkeypatch.setattr(prepare, "fates", meanwhile)
    with pytest.raises(prepare.Unusable, match="changed while read; run again"):
        prepare.prepare(settings, force=False)
    assert not (tmp_path / "data" / "manifest.json").exists()


# ---- settings ----------------------------------------------------------------------------------


def test_it_understands_the_settings_of_the_project(tmp_path: Path, corpus: Path) -> None:
    """One for one the fields of settings.Data, as `autoresearch prepare` sends them."""
    names = {field.name for field in prepare.fields(prepare.Settings)}
    assert names == set(Data.__dataclass_fields__)
    data = Data(str(tmp_path / "data"), "files", (str(corpus),), 300, 64)
    record = json.dumps({name: getattr(data, name) for name in Data.__dataclass_fields__})
    succeed("--settings", record)
    assert manifest_of(tmp_path / "data")["vocabulary"] == 300


def test_other_settings_for_a_finished_directory_are_an_error(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--files", corpus, *SMALL)
    before = contents(data)
    line = fail("--directory", data, "--files", corpus, "--vocabulary", 400, "--context", 64)
    assert "vocabulary=300 (asked for: 400)" in line
    assert "another directory, or --force" in line
    assert contents(data) == before


def test_data_made_before_a_setting_existed_is_as_if_made_with_its_default(
    tmp_path: Path, corpus: Path
) -> None:
    words = ("--directory", tmp_path / "data", "--files", corpus, *SMALL)
    succeed(*words)
    path = tmp_path / "data" / "settings.json"
    older = {
        k: v for k, v in json.loads(path.read_text()).items() if k not in ("shards", "dataset")
    }
    path.write_text(json.dumps(older))
    assert "nothing to do" in succeed(*words)


def test_force_makes_the_data_anew(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--files", corpus, *SMALL)
    succeed("--directory", data, "--files", corpus, "--vocabulary", 400, "--context", 64, "--force")
    assert manifest_of(data)["vocabulary"] == 400
    succeed("--directory", tmp_path / "new", "--files", corpus, "--vocabulary", 400, *SMALL[2:])
    assert contents(data) == contents(tmp_path / "new")


def test_the_directory_comes_from_the_environment_or_not_at_all(
    tmp_path: Path, corpus: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    line = fail("--files", corpus, *SMALL, HOME=str(home))
    assert "AUTORESEARCH_DATA" in line
    assert list(home.iterdir()) == []
    succeed("--files", corpus, *SMALL, AUTORESEARCH_DATA=str(tmp_path / "data"))
    assert (tmp_path / "data" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocabulry": 300}, "no setting 'vocabulry'; did you mean vocabulary?"),
        ({"vocabulary": "300"}, "vocabulary should be"),
        ({"vocabulary": True}, "vocabulary should be"),
        ({"vocabulary": 100}, "vocabulary should lie in 257..65536"),
        ({"vocabulary": 70000}, "vocabulary should lie in 257..65536"),
        ({"context": 0}, "context should be at least 1"),
        ({"source": "web"}, "source should be one of stdlib, files, climbmix, hf"),
        ({"files": ["a.txt"]}, "source=stdlib should come without files"),
        ({"source": "climbmix", "files": ["a.txt"]}, "climbmix should come without files"),
        ({"source": "climbmix", "dataset": "a/b"}, "OWNER/NAME with source=hf, and only then"),
        ({"source": "hf"}, "dataset should be given as OWNER/NAME"),
        ({"source": "hf", "dataset": "../../etc"}, "dataset should be given as OWNER/NAME"),
        ({"source": "hf", "dataset": "a/b", "revision": ""}, "revision should be a branch"),
        ({"source": "hf", "dataset": "a/b", "shards": -1}, "shards should be 0"),
        ({"source": "files"}, "should come with files"),
        ({"limit_mb": -1}, "limit_mb should be 0"),
        ({"validation_share": 0.6, "test_share": 0.5}, "together below 1"),
        ({"test_share": 0.0}, "above 0"),
        ({"workers": -1}, "workers should be"),
        ({"files": "a.txt"}, "files should be"),
    ],
)
def test_wrong_settings_are_one_line(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    record = {"directory": str(tmp_path / "data"), **settings}
    with pytest.raises(prepare.Unusable, match=message.replace("?", r"\?")):
        prepare.Source(prepare.check(record))


def test_settings_that_are_no_json_are_one_line() -> None:
    assert "should be a JSON object" in fail("--settings", "{")
    assert "should be a JSON object" in fail("--settings", "[1]")


# ---- what users bring --------------------------------------------------------------------------


def write_bad(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_missing_files_are_named(tmp_path: Path) -> None:
    line = fail("--directory", tmp_path / "data", "--files", tmp_path / "nothing*.txt", *SMALL)
    assert "nothing*.txt' should name files that exist" in line
    assert not (tmp_path / "data").exists()


def test_a_folder_without_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = fail("--directory", tmp_path / "data", "--files", tmp_path / "empty", *SMALL)
    assert "empty' should hold .txt, .jsonl, .parquet files" in line


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"text\n", "should end in one of .txt, .jsonl, .parquet"),
        ("a.txt", b"", "should hold text"),
        ("a.txt", b" \n\n ", "should hold text"),
        ("a.txt", b"caf\xe9", "should be UTF-8 text"),
        ("a.txt", b"a\0b", "holds NUL bytes"),
        ("a.txt", b"too little", "give more text or"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "line 2 should be JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n{"body": "b"}\n', "line 3 should have a string 'text'"),
        ("a.jsonl", b'["text"]\n', "line 1 should have a string 'text'"),
        ("a.jsonl", b'{"text": 7}\n', "line 1 should have a string 'text'"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1 should be JSON"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', "should be UTF-8 text"),
        ("a.parquet", b"PAR1 no parquet", "should be a parquet file"),
        ("a.parquet", b"", "should be a parquet file"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = write_bad(tmp_path, name, data)
    assert message in fail("--directory", tmp_path / "data", "--files", path, *SMALL)


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts(22, 300)}), path)
    data = bytearray(path.read_bytes())
    data[200:4000] = bytes(3800)
    path.write_bytes(data)
    line = fail("--directory", tmp_path / "data", "--files", path, *SMALL)
    assert "should be a parquet file, but cannot be read" in line


@pytest.mark.parametrize("columns", [{"body": ["a"]}, {"text": [1]}])
def test_a_parquet_file_needs_a_column_of_text(tmp_path: Path, columns: dict[str, Any]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    line = fail("--directory", tmp_path / "data", "--files", tmp_path / "a.parquet", *SMALL)
    assert "should have a string column 'text', but has: " in line


def test_too_little_text_for_a_split_says_which(tmp_path: Path, corpus: Path) -> None:
    line = fail(
        "--directory", tmp_path / "data", "--files", corpus, "--vocabulary", 300, "--context", 9999
    )
    assert "validation split should hold more than 9999 tokens" in line


# ---- where it writes ---------------------------------------------------------------------------


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "thesis.txt").write_text("mine")
    line = fail("--directory", data, "--files", corpus, *SMALL)
    assert "holds 'thesis.txt'; choose another directory" in line
    assert contents(data) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("place", ["/dev/null/data", "/proc/data"])
def test_a_directory_that_cannot_be_made_is_one_line(place: str, corpus: Path) -> None:
    assert place.split("/")[1] in fail("--directory", place, "--files", corpus, *SMALL)


def test_a_full_disk_is_one_line_and_no_loss(tmp_path: Path) -> None:
    """A limit on file size fails writes as a full disk does: in the middle, with an OSError."""
    corpus = write_jsonl(tmp_path / "a.jsonl", texts(23, 3000))
    data = tmp_path / "data"
    command = [sys.executable, str(SCRIPT), "--directory", str(data), "--files", str(corpus)]
    with subprocess.Popen([*command, *SMALL], stderr=subprocess.PIPE, text=True) as child:
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
        assert child.stderr is not None
        line = child.stderr.read()
    assert child.returncode == 1
    assert line.startswith("prepare: ")
    assert "File too large" in line
    assert line.count("\n") == 1
    assert not list(data.rglob("*.tmp"))
    succeed("--directory", data, "--files", corpus, *SMALL)


def test_a_missing_shard_is_noticed(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    succeed("--directory", data, "--files", corpus, *SMALL)
    (data / "train-00000.bin").unlink()
    line = fail("--directory", data, "--files", corpus, *SMALL)
    assert "train-00000.bin should have" in line
    assert "--force" in line


def test_two_runs_in_one_directory_do_not_mix(tmp_path: Path, corpus: Path) -> None:
    data = tmp_path / "data"
    with prepare.exclusive(data):
        line = fail("--directory", data, "--files", corpus, *SMALL)
        assert "being prepared by another process" in line
    succeed("--directory", data, "--files", corpus, *SMALL)


# ---- where others work too ---------------------------------------------------------------------


@pytest.fixture
def sbatch(tmp_path: Path) -> str:
    """A PATH on which jobs can be submitted."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text("#!/bin/sh\n")
    (folder / "sbatch").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_on_a_login_node_others_come_first(
    tmp_path: Path, sbatch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setenv("PATH", sbatch)
    assert prepare.is_login_node()
    assert prepare.cores() == 4
    code = "import os, prepare; prepare.be_polite(); prepare.be_polite(); print(os.nice(0))"
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == max(10, os.nice(0))


def test_in_a_job_the_cores_are_those_of_the_job(
    sbatch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setenv("PATH", sbatch)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "12")
    assert not prepare.is_login_node()
    assert prepare.cores() == 12
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert prepare.cores() == 6


def test_a_machine_of_ones_own_is_used_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    assert prepare.cores() == 64
    before = os.nice(0)
    prepare.be_polite()
    assert os.nice(0) == before
