"""Slurm's names for GPUs → what the node will call them, and which of two is the stronger.

A site names its types as it likes: `a100`, `nvidia_a100-sxm4-80gb`, `a100_1g.5gb`, `2080ti`, or not
at all; a feature of the node may then tell.
"""

import re
from collections.abc import Iterable

from autoresearch.hardware import MAKERS, gpu_type

# By the names that CUDA gives them, roughly as fast as they train, the fastest first.
STRONGEST_FIRST = (
    *("gb300", "b300", "gb200", "b200", "gh200", "h200", "h100", "h800", "a100", "a800", "h20"),
    *("rtxpro6000", "l40s", "rtx6000ada", "rtx5090", "rtx4090", "l40", "a40", "rtxa6000"),
    *("rtx5000ada", "a30", "v100s", "v100", "rtx3090", "rtxa5000", "a10g", "a10", "rtx8000"),
    *("titanrtx", "rtx6000", "rtx4080", "rtx3080", "titanv", "rtx2080ti", "rtxa4000", "l4"),
    *("rtx2080", "p100", "a16", "t4", "a2", "gtx1080ti", "titanxp", "titanx", "gtx1080", "p40"),
    *("m40", "k80", "k40"),
)
SLICE = re.compile(r"(?:mig[-_.]?)?(\d)g[._](\d{1,3})gb$", re.IGNORECASE)


def model(name: str) -> str:
    """The model in a name of a site's, such as "h100" in "nvidia_h100_80gb_hbm3"; "" if none."""
    words = [w for w in re.split(r"[ _.:-]+", name.lower()) if w and w not in MAKERS]
    ends = range(len(words), 0, -1)
    for run in ("".join(words[start:end]) for start in range(len(words)) for end in ends):
        for full in (run, f"rtx{run}", f"gtx{run}"):  # "2080ti", "a6000" are short for these
            if full in STRONGEST_FIRST:
                return full
    first = words[0] if words else ""
    return next((m for m in longest_first() if re.match(rf"{m}(?!\d)", first)), "")


def longest_first() -> list[str]:
    return sorted(STRONGEST_FIRST, key=len, reverse=True)


def device(slurm_type: str, features: Iterable[str] = ()) -> tuple[str, str]:
    """What the node calls such a GPU, and the feature that told it; ("", "") if nothing tells."""
    part = SLICE.search(slurm_type)
    whole = slurm_type[: part.start()] if part else slurm_type
    suffix = f"-{part[1]}g.{part[2]}gb" if part else ""
    if whole.strip("_-."):
        return (model(whole) or gpu_type(whole)) + suffix, ""
    told = [(model(feature), feature) for feature in features]
    known = {name: feature for name, feature in told if name}
    if len(known) != 1:
        return "", ""
    name, feature = known.popitem()
    return name + suffix, feature


def is_slice(slurm_type: str) -> bool:
    return bool(SLICE.search(slurm_type))


def strength(name: str) -> int:
    """Larger is stronger; 0 for a device that we do not know."""
    whole = SLICE.sub("", name).strip("-")
    if whole not in STRONGEST_FIRST:
        return 0
    return len(STRONGEST_FIRST) - STRONGEST_FIRST.index(whole)
