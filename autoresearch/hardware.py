"""What a GPU is called: the short type that makes two devices one cell.

Shared by the controller, which reads `nvidia-smi -L`, and the node, which asks CUDA.
"""

import re

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
