"""Which device this is, and whether a cell's numbers can be made on it."""

import importlib.metadata
import platform

import pytest

from autoresearch.hardware import gpu_type
from autoresearch.node import device


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "a100-1g.5gb"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "h100-1g.10gb"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("Tesla T4", "t4"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A40", "a40"),
        ("NVIDIA RTX A6000", "rtxa6000"),
        ("Quadro RTX 6000", "rtx6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx2080ti"),
        ("NVIDIA GeForce GTX 1080", "gtx1080"),
        ("NVIDIA TITAN RTX", "titanrtx"),
        ("NVIDIA A10G", "a10g"),
    ],
)
def test_gpu_names_have_short_types(name: str, type_: str) -> None:
    assert gpu_type(name) == type_
    facts = {"kind": "cuda", "name": name}
    assert device.mismatch(type_, 1, facts) == ""
    assert device.mismatch(name, 1, facts) == ""
    assert "the device should be k80, but is" in device.mismatch("k80", 1, facts)


def test_a_mig_slice_is_not_its_whole_gpu() -> None:
    slice_ = {"kind": "cuda", "name": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"}
    assert device.mismatch("a100", 1, slice_)
    assert device.mismatch("a100-1g.5gb", 1, {"kind": "cuda", "name": "NVIDIA A100-SXM4-40GB"})


def test_a_name_alone_is_no_gpu() -> None:
    assert "check the tier's device" in device.mismatch("h100", 1, {"kind": "cpu", "name": "H100"})


def test_cpus_are_counted() -> None:
    have = device.threads_available()
    assert device.mismatch(f"cpu-{have}", have, {}) == ""
    assert "only" in device.mismatch(f"cpu-{have + 1}", have + 1, {})
    assert "pilots have 1 threads" in device.mismatch("cpu-2", 1, {})


def test_a_device_that_was_left_open_is_whatever_there_is() -> None:
    assert device.mismatch("auto", 1, {"kind": "cuda", "name": "NVIDIA H100"}) == ""


def test_software_names_python_and_torch_without_importing_it() -> None:
    major, minor, _ = platform.python_version_tuple()
    torch = importlib.metadata.version("torch").split("+")[0]
    assert device.software() == f"python {major}.{minor} torch {torch}"


def test_host_facts_are_plain() -> None:
    facts = device.host_facts()
    assert facts["host"] == platform.node()
    assert device.cpu_name()
