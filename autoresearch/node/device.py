"""What this node is: its device's type, its software. Decides whether a cell's numbers can be made.

Imports no torch: what only torch knows (a GPU's name) comes from the harness.
"""

import importlib.metadata
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from autoresearch.experiment import Scalar
from autoresearch.hardware import FAKE, gpu_type, gpus_here, is_fake

AUTO = "auto"


def software() -> str:
    """What a cell calls its software: "python 3.11 torch 2.13.0"."""
    torch = importlib.metadata.version("torch").partition("+")[0]
    return f"python {sys.version_info.major}.{sys.version_info.minor} torch {torch}"


def threads_available() -> int:
    return len(os.sched_getaffinity(0))


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def mismatch(wanted: str, threads: int, facts: Mapping[str, Scalar]) -> str:
    """Why this node cannot make numbers for a cell's device; empty if it can.

    `facts` are the harness's: `name` of the device, `kind` "cuda" or "cpu".
    """
    if wanted == AUTO:
        return ""
    if wanted.startswith("cpu-"):
        return cpu_mismatch(wanted, threads)
    if is_fake(wanted):
        return fake_mismatch(wanted)
    name = str(facts.get("name", ""))
    if facts.get("kind") == "cuda" and same_gpu(wanted, name):
        return ""
    return f"the device should be {wanted}, but is {name}; check the tier's device and partition"


def same_gpu(wanted: str, name: str) -> bool:
    squeezed = re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", ""))
    ours = re.sub(r"[^a-z0-9]", "", wanted.lower().replace("nvidia", ""))
    return ours in (squeezed, re.sub(r"[^a-z0-9]", "", gpu_type(name)))


def cpu_mismatch(wanted: str, threads: int) -> str:
    if wanted != f"cpu-{threads}":
        return f"the device should be {wanted}, but the tier's pilots have {threads} threads"
    if threads_available() < threads:
        return f"the device should be {wanted}, but only {threads_available()} cores are ours"
    return ""


def fake_mismatch(wanted: str) -> str:
    """A test cluster's stand-in for `nvidia-smi` says what this job was dealt."""
    found = gpus_here()
    if found == [wanted.removeprefix(FAKE)]:
        return ""
    return f"the device should be one {wanted}, but nvidia-smi shows {', '.join(found) or 'none'}"


def host_facts() -> dict[str, Scalar]:
    """What is worth keeping about a node beside its device."""
    facts: dict[str, Scalar] = {"host": socket.gethostname(), "kernel": os.uname().release}
    driver = Path("/sys/module/nvidia/version")
    if driver.exists():
        facts["driver"] = driver.read_text(encoding="ascii").strip()
    return facts
