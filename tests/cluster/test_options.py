"""What a tier's settings ask Slurm for."""

from dataclasses import replace

import pytest

from autoresearch.cluster.options import arguments, sbatch_options
from autoresearch.settings import Cluster, Tier

PLAIN = Cluster("slurm")
GPU = Tier("h100", threads=8, gpus=1)


def test_a_plain_tier_asks_for_its_gpu_cores_and_memory() -> None:
    assert sbatch_options(PLAIN, GPU, "gpu", memory_gb=40.5) == {
        "partition": "gpu",
        "gres": "gpu:h100:1",
        "cpus-per-task": "8",
        "mem": "41472M",
    }


def test_a_tier_on_cores_asks_for_no_gpu() -> None:
    assert sbatch_options(PLAIN, Tier("cpu-2", threads=2), "") == {"cpus-per-task": "2"}


@pytest.mark.parametrize(
    ("device", "given", "gres"),
    [
        ("h100", "", "gpu:h100:1"),
        ("fake-h100", "", "gpu:h100:1"),
        ("auto", "", "gpu:1"),
        ("a100-1g.5gb", "gpu:a100_1g.5gb:1", "gpu:a100_1g.5gb:1"),
    ],
)
def test_a_gpu_is_asked_for_by_its_type_unless_the_site_calls_it_otherwise(
    device: str, given: str, gres: str
) -> None:
    assert sbatch_options(PLAIN, replace(GPU, device=device, gres=given), "gpu")["gres"] == gres


def test_cores_may_differ_from_threads() -> None:
    assert sbatch_options(PLAIN, replace(GPU, cpus=12), "gpu")["cpus-per-task"] == "12"


def test_the_tiers_own_words_come_before_the_clusters() -> None:
    cluster = Cluster("slurm", account="lab", qos="long", constraint="ib", exclude="n1,n2")
    options = sbatch_options(cluster, GPU, "gpu")
    assert (options["account"], options["qos"], options["constraint"]) == ("lab", "long", "ib")
    tier = replace(GPU, qos="short", constraint="nvme")
    options = sbatch_options(cluster, tier, "gpu", exclude=["n9", "n3"])
    assert (options["qos"], options["constraint"]) == ("short", "nvme")
    assert options["exclude"] == "n1,n2,n3,n9"


def test_a_users_own_options_have_the_last_word() -> None:
    own: dict[str, bool | int | float | str] = {
        "partition": "other",
        "nice": 100,
        "exclusive": True,
        "requeue": False,
        "comment": "",
        "ntasks_per_core": 1,
        "--reservation": "friday",
    }
    options = sbatch_options(replace(PLAIN, options=own), GPU, "gpu")
    assert arguments(options) == [
        *("--gres=gpu:h100:1", "--cpus-per-task=8", "--partition=other", "--nice=100"),
        *("--exclusive", "--ntasks-per-core=1", "--reservation=friday"),
    ]


@pytest.mark.parametrize(
    ("own", "ours"), [("mem_per_cpu", "mem"), ("gpus_per_node", "gres"), ("gpus", "gres")]
)
def test_what_says_the_same_as_an_option_of_ours_replaces_it(own: str, ours: str) -> None:
    options = sbatch_options(replace(PLAIN, options={own: "1"}), GPU, "gpu", memory_gb=4)
    assert ours not in options
    assert options[own.replace("_", "-")] == "1"


def test_an_option_of_ours_can_be_taken_away() -> None:
    cluster = replace(PLAIN, options={"mem": False, "gres": ""})
    assert sbatch_options(cluster, GPU, "gpu", memory_gb=4).keys() == {"partition", "cpus-per-task"}
