"""`autoresearch prepare`: its command line, and what it leaves for a campaign."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub, serving

from autoresearch.config import compose
from autoresearch.errors import DataError
from autoresearch.layout import shipped
from autoresearch.opening import check_data

CLIMBMIX = "karpathy/climbmix-400b-shuffle"
WORDS = [a + b + c for a in "bcdfgklmnprst" for b in ("a", "e", "io", "u") for c in ("", "n", "rt")]
SMALL = (
    *("task=climbmix", "vocabulary=300", "context=64", "shards=2", "task.scoring.length=64"),
    *("task.scoring.rows=4", "task.scoring.tokens=1024"),
)


def shard(seed: int, count: int = 300) -> bytes:
    rng = random.Random(seed)
    rows = [" ".join(rng.choice(WORDS) for _ in range(80)) for _ in range(count)]
    file = io.BytesIO()
    pq.write_table(pa.table({"text": rows}), file)
    return file.getvalue()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        shards = {f"shard_{k:05d}.parquet": shard(k) for k in (0, 1, 2, 6541, 6542)}
        found.add(CLIMBMIX, shards)
        yield found
        assert found.strange == []


def environment(tmp_path: Path, hub: Hub | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "SLURM_"))}
    endpoint = {"HF_ENDPOINT": hub.url} if hub else {}
    return kept | endpoint | {"AUTORESEARCH_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "autoresearch", "prepare", *words]


def prepare(
    tmp_path: Path, hub: Hub | None, *words: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*words),
        cwd=tmp_path,
        env=environment(tmp_path, hub),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_climbmix_by_one_word(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, hub, *SMALL)
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    scoring = [word for word in SMALL if word.startswith("task")]
    check_data(compose([*scoring, f"dir={tmp_path}/c"]))
    manifest = json.loads((tmp_path / "data/climbmix/manifest.json").read_text())
    assert manifest["source"]["names"] == {
        "train": ["shard_00000.parquet", "shard_00001.parquet"],
        "validation": ["shard_06542.parquet"],
        "test": ["shard_06541.parquet"],
    }


def test_settings_of_the_data_go_without_their_prefix(tmp_path: Path, hub: Hub) -> None:
    words = ("source=hf", f"dataset={CLIMBMIX}", "files=[shard_0000*]", "shards=0", "limit_mb=0.5")
    tiny = ("task=tiny", "vocabulary=300", "context=64", *SMALL[4:])
    prepare(tmp_path, hub, *tiny, *words, "validation_files=['*_06542.parquet']", "workers=1")
    source = json.loads((tmp_path / "data/tiny/manifest.json").read_text())["source"]
    assert source["names"]["validation"] == ["shard_06542.parquet"]
    assert source["names"]["train"] == [f"shard_0000{k}.parquet" for k in range(3)]
    settings = json.loads((tmp_path / "data/tiny/settings.json").read_text())
    assert (settings["limit_mb"], settings["source"]) == (0.5, "hf")


def test_a_download_alone(tmp_path: Path, hub: Hub) -> None:
    done = prepare(tmp_path, hub, "--download", *SMALL)
    assert "is here" in done.stdout
    assert os.listdir(tmp_path / "data") == ["downloads"]


def test_json_is_the_manifest_and_nothing_else(tmp_path: Path, hub: Hub) -> None:
    done = prepare(tmp_path, hub, *SMALL, "--json", "--download")
    assert json.loads(done.stdout)["manifest"] is None
    done = prepare(tmp_path, hub, *SMALL, "--json")
    answer = json.loads(done.stdout)
    assert answer["directory"] == str(tmp_path / "data" / "climbmix")
    assert answer["manifest"]["splits"]["train"]["tokens"] > 0
    assert done.stderr
    refused = prepare(tmp_path, hub, *SMALL, "vocabulary=200", "--json", code=1)
    assert refused.stdout == ""


def test_a_wrong_short_name_is_one_line(tmp_path: Path) -> None:
    done = prepare(tmp_path, None, "sorce=climbmix", code=1)
    assert "there is no key 'sorce'; did you mean task.data.source" in done.stderr


def test_a_job_needs_a_slurm_cluster(tmp_path: Path) -> None:
    for words in (("--slurm",), ("--partition", "cpu")):
        done = prepare(tmp_path, None, *words, code=1)
        assert done.stderr.count("\n") == 1
        assert "--slurm should come with a Slurm cluster, but cluster.kind is local" in done.stderr


def test_data_that_is_missing_names_the_task(tmp_path: Path) -> None:
    settings = compose(["task=gpt", f"task.data.directory={tmp_path}/data", f"dir={tmp_path}/c"])
    with pytest.raises(DataError, match=r"holds none; run `autoresearch prepare task=gpt`"):
        check_data(settings)


def own_task(tmp_path: Path, program: str) -> str:
    """A task whose prepare.py is the user's own."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.py").write_bytes((shipped("train") / "train.py").read_bytes())
    if program:
        (folder / "prepare.py").write_text(program)
    return f"task.dir={folder}"


def test_a_task_without_prepare_py_is_one_line(tmp_path: Path) -> None:
    done = prepare(tmp_path, None, own_task(tmp_path, ""), code=1)
    assert "mine/prepare.py should make this task's data, but does not exist" in done.stderr


def test_a_task_brings_its_own_prepare_py_and_gets_all_settings(tmp_path: Path) -> None:
    program = (
        "import json, sys; print(json.loads(sys.argv[2])['source'], sys.argv[3:]); sys.exit(7)"
    )
    done = prepare(tmp_path, None, own_task(tmp_path, program), "shards=3", code=7)
    assert done.stdout == "stdlib []\n"


def test_a_prepare_py_that_is_killed_fails(tmp_path: Path) -> None:
    program = "import os; os.kill(os.getpid(), 9)"
    prepare(tmp_path, None, own_task(tmp_path, program), code=128 + 9)


def test_ctrl_c_lets_prepare_py_say_what_it_leaves(tmp_path: Path, hub: Hub) -> None:
    """A terminal interrupts the whole group."""
    hub.fail(".parquet", "slow", 300, times=100)
    with subprocess.Popen(
        command("--download", *SMALL),
        cwd=tmp_path,
        env=environment(tmp_path, hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        while not list(tmp_path.rglob("*.part")):
            assert child.poll() is None
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "prepare: interrupted; run it again to finish" in said
    assert said.count("\n") == 1
