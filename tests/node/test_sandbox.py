"""What crosses into the program's process even without a wall: a short environment."""

from pathlib import Path

import pytest

from autoresearch.errors import ConfigError
from autoresearch.node import sandbox

SCRATCH = Path("/tmp/scratch")


def test_no_key_and_no_home_reach_the_program() -> None:
    outer = {
        "WANDB_API_KEY": "s",
        "ANTHROPIC_API_KEY": "s",
        "HF_TOKEN": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "SSH_AUTH_SOCK": "s",
        "SLURM_JOB_ID": "s",
        "HOME": "s",
        "PATH": "/bin",
        "PYTHONPATH": "/node",
        "CUDA_VISIBLE_DEVICES": "3",
    }
    inner = sandbox.environment(outer, SCRATCH, threads=4)
    assert "s" not in inner.values()
    assert (inner["PATH"], inner["PYTHONPATH"]) == ("/bin", "/node")
    assert inner["CUDA_VISIBLE_DEVICES"] == "3"
    assert inner["HOME"] == inner["TMPDIR"] == str(SCRATCH)
    assert inner["OMP_NUM_THREADS"] == "4"


def test_no_sandbox_leaves_the_command_as_it_is() -> None:
    command = sandbox.command("none", ("python", "-V"), SCRATCH, threads=1)
    assert command.argv == ("python", "-V")


def test_an_unknown_sandbox_is_an_error_and_never_no_sandbox() -> None:
    with pytest.raises(ConfigError, match="sandbox should be one of none, but was 'bubble'"):
        sandbox.command("bubble", ("python",), SCRATCH, threads=1)
