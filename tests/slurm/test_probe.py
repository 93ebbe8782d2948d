"""`autoresearch probe` at a real Slurm: the file it writes can be used as it stands."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbeds import Testbed, TestbedError, until

from autoresearch.cluster.limits import read_limits

pytestmark = pytest.mark.slurm
COMPOSE = """
import json
from autoresearch.config import compose
cluster = compose(["cluster=testbed"]).cluster
tiers = cluster.tiers.values()
print(json.dumps([[p, tier.gres, cluster.account] for tier in tiers for p in tier.partitions]))
"""
VERB = (sys.executable, "-m", "autoresearch")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def probe(testbed: Testbed, *words: str) -> str:
    return testbed.run(*VERB, "probe", *words).stdout


@pytest.fixture
def short(testbed: Testbed) -> Iterator[str]:
    """A QOS that lets its user have two GPUs."""
    mine = ("user", testbed.run("id", "-un").stdout.strip(), "where", "account=lab", "set")
    limits = ("MaxTRESPerUser=gres/gpu=2", "MaxSubmitJobsPerUser=9", "MaxWall=60")
    testbed.run("sacctmgr", "-i", "add", "qos", "short", *limits)
    testbed.run("sacctmgr", "-i", "modify", *mine, "qos+=short")
    yield "short"
    testbed.run("sacctmgr", "-i", "modify", *mine, "qos-=short")
    testbed.run("sacctmgr", "-i", "delete", "qos", "short")


def test_what_it_writes_can_be_used_unchanged(testbed: Testbed, here: Path) -> None:
    said = probe(testbed)
    assert "autoresearch run cluster=testbed" in said
    text = (here / "conf/cluster/testbed.yaml").read_text()
    assert "no GPUs" in text
    words = ("run", "--cfg", "job", "cluster=testbed", "name=x")
    settings = testbed.run(*VERB, *words, AUTORESEARCH_DATA=str(here)).stdout
    for line in (
        *("kind: slurm", "account: lab", "device: fake-h100", "device: fake-h200"),
        *("gres: gpu:h100:1", "gres: gpu:h200:1", "- h100", "- h200", "- scavenge"),
    ):
        assert line in settings.replace("  ", "")


def test_slurm_takes_what_it_proposes(quiet_testbed: Testbed, here: Path) -> None:
    """Every partition of every tier: a job as the file describes it is accepted."""
    probe(quiet_testbed)
    done = quiet_testbed.run(sys.executable, "-c", COMPOSE, AUTORESEARCH_DATA=str(here))
    for partition, gres, account in json.loads(done.stdout):
        asked = (f"--partition={partition}", f"--gres={gres}", f"--account={account}")
        quiet_testbed.run("sbatch", "--test-only", *asked, "--wrap=true")


def test_it_overwrites_nothing_unless_told(testbed: Testbed, here: Path) -> None:
    path = here / "conf/cluster/mine.yaml"
    assert "kind: slurm" in probe(testbed, "mine", "--print")
    assert not path.exists()
    probe(testbed, "mine")
    path.write_text("precious")
    with pytest.raises(TestbedError, match="should not be there yet, but is"):
        probe(testbed, "mine")
    assert path.read_text() == "precious"
    probe(testbed, "mine", "--force")
    assert "kind: slurm" in path.read_text()


def test_a_site_whose_accounting_is_silent_is_probed_too(
    quiet_testbed: Testbed, here: Path
) -> None:
    with quiet_testbed.outage("slurmdbd"):
        said = probe(quiet_testbed)
    assert "accounts are not known" in said
    assert "No accounts to be seen: sacctmgr" in (here / "conf/cluster/testbed.yaml").read_text()


def test_limits_are_found_and_named(
    quiet_testbed: Testbed, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in quiet_testbed.environment.items():
        monkeypatch.setenv(name, value)
    limits = read_limits("lab", short)
    assert (limits.max_array, limits.max_submit, limits.max_minutes["h100"]) == (1001, 9, 60)
    words = ("--partition=h100", "--gres=gpu:h100:1", "--array=0-3", f"--qos={short}")
    quiet_testbed.submit("sleep 30", *words)
    shown = ("squeue", "--noheader", "--array", "--format=%r", "--states=PENDING")
    reason = "QOSMaxGRESPerUser"
    until(lambda: reason in quiet_testbed.run(*shown).stdout.split())
    described = limits.describe(reason, "lab", short, "h100")
    assert described == "QOS short allows gres/gpu=2 per user (MaxTRESPerUser)"
    quiet_testbed.wait_idle()
