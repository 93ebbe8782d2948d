"""What GPUs are called, by the controller and by the node."""

import pytest

from autoresearch.hardware import gpu_type
from autoresearch.node import device


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada"),
        ("Quadro RTX 8000", "rtx8000"),
        ("NVIDIA RTX A6000", "rtxa6000"),
        ("NVIDIA TITAN RTX", "titanrtx"),
        ("NVIDIA L4", "l4"),
    ],
)
def test_a_gpus_type_is_its_short_name(name: str, short: str) -> None:
    assert gpu_type(name) == short
    assert device.mismatch(short, 1, {"kind": "cuda", "name": name}) == ""  # the node agrees
