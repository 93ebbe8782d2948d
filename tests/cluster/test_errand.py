"""An errand: where it may run, what it asks for, what of its log is shown. Slurm itself: slurm/."""

from dataclasses import replace
from pathlib import Path

import pytest
from recordings import recorded

from autoresearch.cluster import errand
from autoresearch.cluster.errand import Errand
from autoresearch.cluster.site import Site
from autoresearch.errors import ClusterError
from autoresearch.settings import Cluster, Tier

GPU = Tier(device="h100", gpus=1, partitions=("gpu",))
CORES = Tier(device="cpu-2", threads=2, partitions=("cores", "more"), qos="calm")


def slurm(**tiers: Tier) -> Cluster:
    return Cluster(kind="slurm", tiers=tiers, account="lab", qos="fast")


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a question to Slurm is an error."""
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_partition_that_is_named_comes_first() -> None:
    assert errand.place(slurm(a=GPU, b=CORES), "mine").partitions == ("mine",)


def test_then_the_first_tier_without_gpus() -> None:
    assert errand.place(slurm(a=GPU, b=CORES)) == CORES
    with pytest.raises(ClusterError, match="scontrol should be on PATH"):  # and then Slurm is asked
        errand.place(slurm(a=GPU, b=replace(CORES, gres="gpu:1")))


def test_then_what_slurm_shows() -> None:
    assert errand.without_gpus(recorded("testbed")).partitions == ("cpu",)


def test_of_partitions_without_gpus_the_one_a_campaign_would_take() -> None:
    campus = recorded("campus")
    (name,) = errand.without_gpus(campus).partitions
    (chosen,) = [p for p in campus.partitions if p.name == name]
    assert not chosen.gpus
    assert chosen.state == "UP"


def test_a_site_with_gpus_everywhere_asks_for_a_name() -> None:
    site = recorded("testbed")
    only: Site = replace(site, partitions=tuple(p for p in site.partitions if p.gpus))
    assert only.partitions
    with pytest.raises(ClusterError, match="say --partition NAME"):
        errand.without_gpus(only)


@pytest.mark.parametrize(("threads", "cpus", "memory"), [(0, "4", "3072M"), (16, "16", "6144M")])
def test_what_a_job_asks_for(
    threads: int, cpus: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "minutes", lambda *_: 60)
    ours = Errand("prepare-1", "true", Path("/logs/data"), {}, threads)
    found = errand.options(slurm(b=CORES), CORES, ours)
    assert found == {
        "partition": "cores,more",
        "account": "lab",
        "qos": "calm",
        "mem": memory,
        "job-name": "prepare-1",
        "time": "60",
        "output": "/logs/data-%j.log",
        "open-mode": "append",
        "cpus-per-task": cpus,
    }


def test_a_log_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    assert errand.copy(log, 0) == 0
    log.write_bytes("grün\n".encode())
    shown = errand.copy(log, 0)
    assert shown == 6
    with log.open("ab") as file:
        file.write(b"blue")
    assert errand.copy(log, shown) == 4
    assert capsys.readouterr().out == "grün\nblue"
