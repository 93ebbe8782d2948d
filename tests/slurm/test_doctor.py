"""`autoresearch doctor` on a real Slurm: silent where all is well, and finds what is planted."""

import hashlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testbeds import Testbed, clean_environment, until

pytestmark = pytest.mark.slurm

SCREEN = "cluster.tiers.screen"
# Changes mounts for itself alone, as root or as an ordinary user.
UNSHARE = "unshare -m" if os.getuid() == 0 else "unshare -rm"


@dataclass(frozen=True)
class Clinic:
    """A site: the testbed, prepared data, a place for campaigns, and a home."""

    testbed: Testbed
    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def words(self, *words: str) -> list[str]:
        """One tier with one partition, for speed; what a test says comes last."""
        options = [word for word in words if word.startswith("--")]
        site = ["task=tiny", "cluster=testbed", "~cluster.tiers.validate"]
        places = [f"dir={self.root}/campaigns/c", f"task.data.directory={self.data}"]
        command = [sys.executable, "-m", "autoresearch", "doctor", "--json", *options]
        return [*command, *site, *places, *(word for word in words if word not in options)]

    def examine(self, *words: str, code: int = 1, **more: str) -> dict[str, Any]:
        """What doctor says; `words` are options and overrides."""
        done = self.testbed.run(
            *self.words(*words), check=False, timeout=120, HOME=str(self.root), **more
        )
        assert done.returncode == code, done.stdout + done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        assert record["ok"] is (code == 0)
        return record

    def problems(self, *words: str, code: int = 1, **more: str) -> dict[str, str]:
        """What is wrong, by check. None of it may come without advice."""
        findings = self.examine(*words, code=code, **more)["findings"]
        wrong = [finding for finding in findings if finding["state"] == "problem"]
        assert all(finding["cure"] for finding in wrong)
        return {finding["check"]: finding["found"] for finding in wrong}

    def script(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def python(self, before: str) -> str:
        """cluster.python as a wrapper that does something first, with mounts of its own."""
        inner = self.script("inner", f'{before}\nexec {shlex.quote(sys.executable)} "$@"')
        outer = self.script("python", f'exec {UNSHARE} {inner} "$@"')
        return f"cluster.python={outer}"


@pytest.fixture
def clinic(quiet_testbed: Testbed, tmp_path: Path) -> Clinic:
    clinic = Clinic(quiet_testbed, tmp_path)
    clinic.data.mkdir()
    (tmp_path / "campaigns").mkdir()
    (clinic.data / "train.bin").write_bytes(b"tokens")
    files = {"train.bin": {"sha256": hashlib.sha256(b"tokens").hexdigest(), "bytes": 6}}
    (clinic.data / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}))
    return clinic


def test_a_healthy_site_has_no_problems(clinic: Clinic) -> None:
    tier = "{device:fake-h200,gpus:1,pilots:1,partitions:[h200,scavenge],memory_gb:4}"
    record = clinic.examine(f"+cluster.tiers.validate={tier}", code=0)
    states = {finding["state"] for finding in record["findings"]}
    assert states <= {"ok", "note"}
    places = {(f["tier"], f["partition"], f["node"][:4]) for f in record["findings"]}
    assert places >= {
        ("screen", "h100", "h100"),
        ("validate", "h200", "h200"),
        ("validate", "scavenge", "h200"),
    }
    assert list((clinic.root / "campaigns").iterdir()) == []
    assert clinic.testbed.squeue() == {}


# ---- found before anything is submitted ------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"{SCREEN}.partitions=[nope]", "Invalid partition name"),
        ("cluster.account=nope", "Invalid account"),
        ("cluster.qos=nope", "Invalid qos"),
        (f"{SCREEN}.gres=gpu:a100:1", "node configuration is not available"),
        (f"{SCREEN}.memory_gb=1000", "node configuration is not available"),
        ("+cluster.options.constraint=nope", "Invalid feature"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(clinic: Clinic, override: str, words: str) -> None:
    found = clinic.problems(override)
    assert list(found) == ["options"]
    assert words in found["options"]


def test_data_that_was_never_prepared(clinic: Clinic) -> None:
    found = clinic.problems(f"task.data.directory={clinic.root}/nothing")
    assert list(found) == ["data"]


def test_no_slurm_at_all(clinic: Clinic) -> None:
    found = clinic.problems(PATH="/nowhere")
    assert list(found) == ["sbatch", "squeue", "sacct"]
    assert "should be on PATH" in found["sbatch"]


def test_a_shell_inside_of_a_job_is_told_so(clinic: Clinic) -> None:
    found = clinic.problems(code=0, SLURM_JOB_ID="17", SLURM_MEM_PER_NODE="1")
    assert list(found) == ["inside"]  # and none of its variables reached our job


# ---- found on the node -----------------------------------------------------------------------


def test_a_gpu_of_another_type(clinic: Clinic) -> None:
    found = clinic.problems(f"{SCREEN}.device=fake-h200", f"{SCREEN}.gres=gpu:h100:1")
    assert found == {"gpu": "h100; should be h200"}


def test_a_gpu_that_nobody_asked_slurm_for(clinic: Clinic) -> None:
    found = clinic.problems("+cluster.options.gres=none")
    assert set(found) == {"gpu", "visible"}
    assert "No devices were found" in found["gpu"]


def test_more_gpus_visible_than_asked_for(clinic: Clinic) -> None:
    python = f"env CUDA_VISIBLE_DEVICES=0,1,2 {sys.executable}"
    found = clinic.problems(f'cluster.python="{python}"')
    assert found == {"visible": "CUDA_VISIBLE_DEVICES=0,1,2; should show 1"}


def test_a_python_without_our_packages(clinic: Clinic) -> None:
    venv.create(clinic.root / "bare", with_pip=False)
    found = clinic.problems(f"cluster.python={clinic.root}/bare/bin/python")
    assert list(found) == ["numpy", "torch"]
    assert found["torch"].endswith("No module named 'torch'")


OTHER_PYTHON = """\
import sys
sys.version_info = (3, {minor}, 1, "final", 0)
"""


@pytest.mark.parametrize(
    ("minor", "words"), [(9, "should be 3.11 or newer"), (99, "here it is")], ids=["old", "other"]
)
def test_a_python_of_another_version(clinic: Clinic, minor: int, words: str) -> None:
    folder = clinic.root / "lib"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(OTHER_PYTHON.format(minor=minor))
    found = clinic.problems(f'cluster.python="env PYTHONPATH={folder} {sys.executable}"')
    assert words in found["python"]


def test_a_python_that_is_not_there(clinic: Clinic) -> None:
    found = clinic.problems("cluster.python=/opt/nonesuch/bin/python")
    assert list(found) == ["python"]
    assert "No such file" in found["python"]


def test_a_clock_that_is_an_hour_ahead(clinic: Clinic) -> None:
    folder = clinic.root / "lib"
    folder.mkdir()
    ahead = "import time\nreal = time.time\ntime.time = lambda: real() + 3600\n"
    (folder / "sitecustomize.py").write_text(ahead)
    found = clinic.problems(f'cluster.python="env PYTHONPATH={folder} {sys.executable}"', code=0)
    assert list(found) == ["clock"]
    assert "node +3600." in found["clock"]


def test_data_that_the_node_does_not_see(clinic: Clinic) -> None:
    found = clinic.problems(clinic.python(f"mount -t tmpfs none {clinic.data}"))
    assert list(found) == ["data"]
    assert "No such file" in found["data"]


def test_data_with_another_manifest_on_the_node(clinic: Clinic) -> None:
    manifest = clinic.data / "manifest.json"
    other = clinic.root / "other.json"
    other.write_text(json.dumps(json.loads(manifest.read_text()) | {"old": True}))
    found = clinic.problems(clinic.python(f"mount --bind {other} {manifest}"))
    assert list(found) == ["data"]
    assert "another manifest" in found["data"]


def test_data_with_a_damaged_file(clinic: Clinic) -> None:
    (clinic.data / "train.bin").write_bytes(b"tok")
    found = clinic.problems()
    assert list(found) == ["data"]
    assert "train.bin" in found["data"]


def test_no_room_for_temporary_files(clinic: Clinic) -> None:
    small = clinic.root / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {small}; export TMPDIR={small}"
    found = clinic.problems(clinic.python(mount))
    assert list(found) == ["disk"]
    assert f"0.0 GB free in {small}" in found["disk"]


def test_too_little_memory(clinic: Clinic) -> None:
    found = clinic.problems(f"{SCREEN}.memory_gb=2")
    assert found == {"memory": "2.0 GiB by Slurm; a program may hold 4 GiB"}


def test_a_key_in_the_environment(clinic: Clinic) -> None:
    line = 'cluster.setup=["export WANDB_API_KEY=0123456789abcdef"]'
    assert clinic.problems(line, code=0) == {"secrets": "WANDB_API_KEY"}
    assert clinic.problems(code=0, WANDB_API_KEY="0123456789abcdef") == {}  # ours stays here


def test_no_key_for_wandb(clinic: Clinic) -> None:
    assert list(clinic.problems("tracker=wandb", code=0)) == ["key"]
    netrc = clinic.root / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password 0123456789\n")
    netrc.chmod(0o600)
    assert clinic.problems("tracker=wandb", code=0) == {}


def test_a_setup_line_that_fails(clinic: Clinic) -> None:
    found = clinic.problems('cluster.setup=["module load cuda"]')
    assert found == {"setup": "module load cuda: exit 127"}


@pytest.fixture
def hiding_node(clinic: Clinic) -> Iterator[str]:
    """A node that does not see the campaigns' file system."""
    node = "h100-01"
    clinic.testbed.tb("kill-node", node)
    mount = f"mount -t tmpfs none {clinic.root}/campaigns && exec slurmd -N {node}"
    clinic.testbed.run(*UNSHARE.split(), "sh", "-c", mount)
    until(lambda: clinic.testbed.nodes()[node] == "idle")
    yield node
    clinic.testbed.tb("kill-node", node)
    clinic.testbed.tb("start-node", node)


def test_a_campaign_directory_that_the_node_does_not_see(clinic: Clinic, hiding_node: str) -> None:
    found = clinic.problems(f"+cluster.options.nodelist={hiding_node}")
    assert found == {"shared": f"the node does not see {clinic.root}/campaigns"}


def test_a_container_that_does_not_see_the_campaign_directory(clinic: Clinic) -> None:
    found = clinic.problems(clinic.python(f"mount -t tmpfs none {clinic.root}/campaigns"))
    assert found == {"shared": f"the node does not see {clinic.root}/campaigns"}


# ---- jobs that never start -------------------------------------------------------------------


@pytest.fixture
def tight_qos(clinic: Clinic) -> Iterator[str]:
    """A QOS that allows no GPU, in which jobs may be submitted all the same."""
    sacctmgr, user = clinic.testbed.run, clinic.testbed.run("id", "-un").stdout.strip()
    sacctmgr("sacctmgr", "-i", "add", "qos", "tight", "MaxTRESPerUser=gres/gpu=0")
    sacctmgr("sacctmgr", "-i", "modify", "user", user, "set", "qos+=tight")
    yield "tight"
    sacctmgr("sacctmgr", "-i", "modify", "user", user, "set", "qos-=tight")
    sacctmgr("sacctmgr", "-i", "delete", "qos", "tight")


def test_a_limit_that_no_job_can_keep(clinic: Clinic, tight_qos: str) -> None:
    found = clinic.problems("--minutes=0.1", f"cluster.qos={tight_qos}")
    assert list(found) == ["queue"]
    assert "QOSMaxGRESPerUser" in found["queue"]
    assert clinic.testbed.squeue() == {}


def test_a_job_that_is_held(clinic: Clinic) -> None:
    found = clinic.problems("+cluster.options.hold=true")
    assert "JobHeldUser" in found["queue"]
    assert clinic.testbed.squeue() == {}


def test_a_busy_cluster_is_no_problem_but_nothing_was_checked(clinic: Clinic) -> None:
    clinic.testbed.submit("sleep 600", "--partition=h100", "--exclusive", "--nodes=2")
    until(lambda: "RUNNING" in clinic.testbed.squeue().values())
    record = clinic.examine("--minutes=0.1", code=0)
    queue = [finding for finding in record["findings"] if finding["check"] == "queue"]
    assert [finding["state"] for finding in queue] == ["could not be checked"]
    assert len(clinic.testbed.squeue()) == 1


def test_ctrl_c_cancels_the_jobs(clinic: Clinic) -> None:
    environment = clean_environment() | dict(clinic.testbed.environment)
    process = subprocess.Popen(
        clinic.words("--minutes=5", "+cluster.options.begin=now+1hour"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: list(clinic.testbed.squeue().values()) == ["PENDING"])
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    until(lambda: clinic.testbed.squeue() == {})
    assert list((clinic.root / "campaigns").iterdir()) == []
