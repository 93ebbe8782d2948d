"""`autoresearch prepare --slurm` on a real Slurm: downloads here, and a job that does the rest."""

import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub, serving
from testbeds import Testbed, clean_environment, until

pytestmark = pytest.mark.slurm

VERB = (sys.executable, "-m", "autoresearch", "prepare")
CLIMBMIX = "karpathy/climbmix-400b-shuffle"
WORDS = [a + b + c for a in "bcdfgklmnprst" for b in ("a", "e", "io", "u") for c in ("", "n", "rt")]
SMALL = (
    *("vocabulary=300", "context=64", "workers=1", "task.scoring.length=64"),
    *("task.scoring.rows=4", "task.scoring.tokens=1024"),
)


def shard(seed: int) -> bytes:
    rng = random.Random(seed)
    rows = [" ".join(rng.choice(WORDS) for _ in range(80)) for _ in range(300)]
    file = io.BytesIO()
    pq.write_table(pa.table({"text": rows}), file)
    return file.getvalue()


def is_free(default: str, words: tuple[str, ...]) -> bool:
    key = default.partition("=")[0]
    return not any(word.startswith(f"{key}=") for word in words)


@dataclass(frozen=True)
class Login:
    """A login node: the testbed, a hub that only it knows, and a place for data."""

    testbed: Testbed
    hub: Hub
    root: Path

    def words(self, *words: str) -> list[str]:
        place = f"task.data.directory={self.root}/data"
        site = ("task=tiny", "cluster=testbed", place, f"dir={self.root}/c")
        return [*VERB, *words, *site, *(word for word in SMALL if is_free(word, words))]

    @property
    def variables(self) -> dict[str, str]:
        home = {"HOME": str(self.root), "HF_TOKEN": "hf_secret"}
        return {**self.testbed.environment, "HF_ENDPOINT": self.hub.url, **home}

    def prepare(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.testbed.run(*self.words(*words), check=False, timeout=180.0, **self.variables)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        env = clean_environment() | self.variables
        return subprocess.Popen(self.words(*words), env=env, stdout=-1, stderr=-1, text=True)

    @property
    def jobs(self) -> list[str]:
        return list(self.testbed.squeue())

    @property
    def source(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.root / "data/manifest.json").read_text())
        return dict(record["source"])

    def log(self) -> str:
        return "".join(path.read_text() for path in self.root.glob("data-prepare-*.log"))


@pytest.fixture
def login(quiet_testbed: Testbed, tmp_path: Path) -> Iterator[Login]:
    with serving() as hub:
        names = {k: f"shard_{k:05d}.parquet" for k in (0, 1, 6541, 6542)}
        hub.add(CLIMBMIX, {name: shard(k) for k, name in names.items()})
        yield Login(quiet_testbed, hub, tmp_path)
        assert hub.strange == []


def is_accounted(login: Login, job: str) -> bool:
    """Whether Slurm has written down where a job was to run."""
    return any(row["Partition"] for row in login.testbed.sacct(job, "Partition", "-X"))


def test_it_downloads_here_and_prepares_there(login: Login) -> None:
    setup = (
        "cluster.setup=['echo set up on $SLURMD_NODENAME offline=$HF_HUB_OFFLINE key=$HF_TOKEN.']"
    )
    done = login.prepare("--slurm", "source=climbmix", "shards=2", setup)
    assert "downloading 4 files" in done.stdout
    assert "set up on cpu-0" in done.stdout
    assert "offline=1 key=." in done.stdout
    assert "prepared:" in done.stdout
    assert login.source["names"]["validation"] == ["shard_06542.parquet"]
    assert "hf_secret" not in login.log()
    job = done.stderr.split("job ")[1].split()[0]
    until(lambda: is_accounted(login, job), 60)  # it may lag
    (row,) = login.testbed.sacct(job, "JobName,Partition,State,AllocCPUS,Account", "-X")
    assert row["JobName"].startswith("autoresearch-prepare-")
    assert (row["Partition"], row["State"], row["AllocCPUS"]) == ("cpu", "COMPLETED", "1")
    asked = len(login.hub.requests)
    again = login.prepare("--slurm", "source=climbmix", "shards=2", setup)
    assert "nothing to do" in again.stdout
    assert "job" not in again.stderr
    assert len(login.hub.requests) == asked


def test_who_leaves_is_told_how_to_come_back(login: Login) -> None:
    """The job is held until its second asker is there."""
    words = ("--slurm", "limit_mb=2", "+cluster.options.hold=true")
    with login.begin(*words) as first:
        until(lambda: login.jobs, what="for the job")
        (job,) = login.jobs
        assert first.stderr is not None
        line = ""
        while "waits" not in line:
            line = first.stderr.readline()
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=30)
    assert first.returncode == 130
    assert f"job {job} goes on: `squeue -j {job}`" in said
    assert f"scancel {job}" in said
    with login.begin(*words) as second:
        assert second.stderr is not None
        assert f"job {job} does this already" in second.stderr.readline()
        login.testbed.run("scontrol", "release", job)
        said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "prepared:" in said
    assert login.source["kind"] == "stdlib"


def test_a_job_that_fails_is_one_line(login: Login) -> None:
    bad = login.root / "bad.jsonl"
    bad.write_text("no json\n")
    done = login.prepare("--slurm", "source=files", f"files=[{bad}]", code=1)
    assert "line 1 should be JSON" in done.stdout  # the job's own words
    line = done.stderr.splitlines()[-1]
    assert "should have prepared" in line
    assert "but it failed; see" in line


def test_a_job_that_is_cancelled_is_one_line(login: Login) -> None:
    with login.begin("--slurm", "limit_mb=2", "+cluster.options.hold=true") as child:
        until(lambda: login.jobs, what="for the job")
        login.testbed.run("scancel", *login.jobs)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "but it was cancelled; see" in said.splitlines()[-1]


def test_what_slurm_refuses_is_one_line(login: Login) -> None:
    done = login.prepare("--partition", "nope", code=1)
    assert done.stderr.count("\n") == 1
    assert "Slurm should take a job in partition nope, but says: " in done.stderr
    assert "nvalid partition" in done.stderr


def test_a_tier_without_gpus_says_where_it_runs(login: Login) -> None:
    tier = "+cluster.tiers.cores={device:cpu-2,threads:2,pilots:1,partitions:[cpu]}"
    done = login.prepare("--slurm", "limit_mb=2", tier, "workers=0")
    job = done.stderr.split("job ")[1].split()[0]
    until(lambda: is_accounted(login, job), 60)  # it may lag
    (row,) = login.testbed.sacct(job, "Partition,AllocCPUS,ReqMem", "-X")
    assert (row["Partition"], row["AllocCPUS"], row["ReqMem"]) == ("cpu", "4", "3G")
