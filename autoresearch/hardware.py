"""What a GPU is called: the short type that makes two devices one cell.

Shared by the controller, which reads `nvidia-smi -L`, and the node, which asks CUDA.

A type that begins with `fake-` is dealt out by Slurm like the type that follows, but is no GPU:
programs run on the CPU. For test clusters without GPUs; every table shows the whole name.
"""

import re
import subprocess

FAKE = "fake-"

# Peak FLOPS of dense matrix products in bfloat16 (V100, T4: float16), from NVIDIA's data sheets.
PEAK_FLOPS = {
    "v100": 125e12,
    "t4": 65e12,
    "a100": 312e12,
    "a40": 149.7e12,
    "a10": 125e12,
    "a30": 165e12,
    "rtxa6000": 154.8e12,
    "rtx3090": 71e12,
    "rtx4090": 165.2e12,
    "l4": 121e12,
    "l40": 181e12,
    "l40s": 362e12,
    "h100": 989e12,
    "h200": 989e12,
    "gh200": 989e12,
    "b200": 2250e12,
}

MEMORY = re.compile(r"\d+gb|hbm.*|pcie|sxm.*|nvl")  # where the model ends and its make begins
MAKERS = {"nvidia", "geforce", "tesla", "quadro", "generation", "graphics"}


def gpu_type(name: str) -> str:
    """The short type in a GPU's full name; a MIG slice is its own type.

    "NVIDIA A100-SXM4-40GB MIG 1g.5gb" -> "a100-1g.5gb"
    """
    model, _, part = name.lower().partition(" mig ")
    kept: list[str] = []
    for word in re.split(r"[ _-]", model):
        if MEMORY.fullmatch(word):
            break
        if word not in MAKERS:
            kept.append(word)
    short = "".join(kept) or "gpu"
    return f"{short}-{part}" if part else short


def peak_flops(device: str) -> float:
    """Of a GPU type; 0 where nobody knows: another type, a MIG slice, a CPU, none at all."""
    return PEAK_FLOPS.get(device, 0.0)


def is_fake(device: str) -> bool:
    return device.startswith(FAKE)


def gpus_here() -> list[str]:
    """The type of every GPU that `nvidia-smi -L` shows us; a MIG slice is its own type."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return gpus_of(listing)


def gpus_of(listing: str) -> list[str]:
    """What `nvidia-smi -L` says, as types. A GPU cut into MIG slices counts as its slices."""
    found: list[str] = []
    whole = ""  # the GPU whose slices may follow
    for line in listing.splitlines():
        gpu = re.match(r"GPU \d+: (.+?) \(UUID", line)
        part = re.match(r"\s+MIG (\S+)", line)
        if gpu:
            whole = gpu_type(gpu[1])
            found.append(whole)
        elif part:
            if found and found[-1] == whole:
                found.pop()
            found.append(f"{whole}-{part[1]}")
    return found
