"""What depends on where we are: paths, cores, GPUs."""

import os
from pathlib import Path

import pytest

from autoresearch.config import compose
from autoresearch.errors import ConfigError
from autoresearch.hardware import gpus_of
from autoresearch.layout import shipped
from autoresearch.settings import Tier

H100S = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)\n"


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, listing: str, code: int = 0) -> None:
    """Put a program on PATH that answers `nvidia-smi -L` as NVIDIA's does."""
    program = folder / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat <<END\n{listing}END\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


# ---- paths -----------------------------------------------------------------------------------


def test_a_task_folder_is_seen_from_the_working_directory_first(here: Path) -> None:
    assert compose([]).task.dir == str(here / "train")
    (here / "other").mkdir()
    (here / "other/train.py").touch()
    assert compose(["task.dir=other"]).task.dir == str(here / "other")
    assert compose([f"task.dir={here}/other"]).task.dir == str(here / "other")


def test_a_task_folder_of_ours_is_found_by_its_name(here: Path) -> None:
    (here / "train/train.py").unlink()
    assert compose([]).task.dir == str(shipped("train"))


def test_a_folder_without_train_py_is_no_task(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.dir should be a folder with a train\.py"):
        compose(["task.dir=data"])


def test_data_lies_where_the_user_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compose([]).task.data.directory == str(here / "data/tiny")
    assert compose(["task.data.directory=d"]).task.data.directory == str(here / "d")
    monkeypatch.setenv("HOME", str(here))
    assert compose(["task.data.directory='~/d'"]).task.data.directory == str(here / "d")
    given = ["task.data.source=files", "task.data.files=['texts/*.txt',/a]"]
    assert compose(given).task.data.files == (str(here / "texts/*.txt"), "/a")


@pytest.mark.parametrize("override", ["seed=1", "~task.data.directory", "task.data.directory=''"])
def test_data_is_never_put_somewhere_silently(
    here: Path, monkeypatch: pytest.MonkeyPatch, override: str
) -> None:
    monkeypatch.delenv("AUTORESEARCH_DATA")
    with pytest.raises(ConfigError, match=r"e\.g\. export AUTORESEARCH_DATA=\$PWD/data") as caught:
        compose([override])
    assert "\n" not in str(caught.value)


# ---- tiers -----------------------------------------------------------------------------------


def test_pilots_share_the_cores_we_may_use(here: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert compose([]).cluster.tiers["cpu"] == Tier("cpu-1", pilots=cores)
    wide = compose([f"cluster.tiers.cpu.threads={cores}"]).cluster.tiers["cpu"]
    assert (wide.device, wide.pilots) == (f"cpu-{cores}", 1)


def test_given_numbers_are_kept(here: Path) -> None:
    tier = compose(["cluster.tiers.cpu.pilots=7"]).cluster.tiers["cpu"]
    assert (tier.device, tier.pilots) == ("cpu-1", 7)


def test_more_threads_than_cores_are_refused(here: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(ConfigError, match=f"should be at most {cores}, the cores"):
        compose([f"cluster.tiers.cpu.threads={cores + 1}"])


def test_gpus_are_looked_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(here, monkeypatch, H100S)
    tier = compose(["cluster=local_gpu"]).cluster.tiers["gpu"]
    assert (tier.device, tier.pilots, tier.gpus) == ("h100", 2, 1)
    one = compose(["cluster=local_gpu", "cluster.tiers.gpu.pilots=1"]).cluster.tiers["gpu"]
    assert (one.device, one.pilots) == ("h100", 1)


@pytest.mark.parametrize(("listing", "code"), [("No devices found.\n", 0), (H100S, 9)])
def test_no_gpu_is_one_clear_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, listing: str, code: int
) -> None:
    nvidia_smi(here, monkeypatch, listing, code)
    with pytest.raises(ConfigError, match="`nvidia-smi -L` shows none here"):
        compose(["cluster=local_gpu"])


def test_gpus_of_two_types_are_no_tier(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(here, monkeypatch, H100S + "GPU 2: NVIDIA L40S (UUID: GPU-3)\n")
    with pytest.raises(ConfigError, match="GPUs of one type, but here are h100, l40s"):
        compose(["cluster=local_gpu"])
    given = ["cluster.tiers.gpu.device=h100", "cluster.tiers.gpu.pilots=2"]
    assert compose(["cluster=local_gpu", *given]).cluster.tiers["gpu"].device == "h100"


def test_a_mig_slice_is_its_own_type() -> None:
    listing = (
        "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1)\n"
        "  MIG 1g.5gb      Device  0: (UUID: MIG-1)\n"
        "  MIG 1g.5gb      Device  1: (UUID: MIG-2)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2)\n"
    )
    assert gpus_of(listing) == ["a100-1g.5gb", "a100-1g.5gb", "a100"]
