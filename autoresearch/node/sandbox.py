"""The wall between the program and everything it must not touch: a command line and an environment.

`none` is no wall: the program runs as the user. Its results are marked unprotected. What it does
keep out is the user's environment: no API key reaches the program.
"""

import os
import site
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch.errors import ConfigError, nearest

KINDS = ("none",)

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "ROCR_", "HIP_", "CONDA_PREFIX")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Command:
    """What to execute, with exactly which environment."""

    argv: tuple[str, ...]
    env: dict[str, str]


def command(kind: str, argv: tuple[str, ...], scratch: Path, threads: int) -> Command:
    """Wrap `argv` so that it may write to `scratch` only. Raises ConfigError if it cannot be."""
    if kind not in KINDS:
        raise ConfigError(
            f"sandbox should be one of {', '.join(KINDS)}, but was '{kind}'; {nearest(kind, KINDS)}"
        )
    return Command(argv, environment(os.environ, scratch, threads))


def environment(outer: Mapping[str, str], scratch: Path, threads: int) -> dict[str, str]:
    """A short list of variables: what Python, torch and CUDA need, nothing personal."""
    kept = {
        name: value
        for name, value in outer.items()
        if name in KEPT or name.startswith(KEPT_PREFIXES)
    }
    home = dict.fromkeys(("HOME", "TMPDIR"), str(scratch))
    counts = dict.fromkeys(THREADS, str(threads))
    # A new HOME would hide packages installed with `pip install --user`.
    python = {"PYTHONUSERBASE": site.getuserbase(), "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    return {**kept, **home, **counts, **python}
