"""Asking Slurm: one process per question, text back, and a word for when it does not answer.

The only place that starts a Slurm command besides submitit. What is asked is counted nowhere and
cached nowhere: whoever asks is polite.
"""

import os
import re
import subprocess
from collections.abc import Mapping

from autoresearch.errors import AutoresearchError, ClusterError

PATIENCE = 120.0  # seconds: above every site's MessageTimeout
# Times as Unix seconds, and array indices written out however many there are.
# A user's own defaults for these commands would filter or reshape what we read.
HABITS = re.compile(
    r"^(SQUEUE|SACCT|SINFO|SACCTMGR|SCONTROL|SLURM_TIME_FORMAT|SLURM_JSON|SLURM_YAML)"
)
PREFIX = re.compile(
    r"^(\w+: )?((error|fatal): )?((allocation failure|Batch job submission failed): )?"
)
COMPLAINT_LENGTH = 400  # characters
FORMATS = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0", "LC_ALL": "C"}


class NoAnswer(AutoresearchError):  # noqa: N818 - it reports a fact, which passes
    """Slurm did not answer, or said that it cannot now: ask again later."""


def ask(*command: str, patience: float = PATIENCE, env: Mapping[str, str] | None = None) -> str:
    """What a Slurm command prints. Raises NoAnswer, or ClusterError if there is no such command.

    `env` is what it runs with, and what it may export to a job; by default our own environment.
    """
    variables = os.environ if env is None else env
    kept = {name: value for name, value in variables.items() if not HABITS.match(name)}
    try:
        done = subprocess.run(
            command,
            env=kept | FORMATS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=patience,
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} should be on PATH, but is not; go to a login node of the cluster, or "
            "load its Slurm module (cluster=local runs on this machine)"
        ) from error
    except OSError as error:  # no process, no memory, a file server that is gone
        raise NoAnswer(f"{command[0]} could not be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"{command[0]} has not answered within {patience:g} s") from error
    if done.returncode:
        raise NoAnswer(f"{command[0]}: {complaint(done.stderr) or f'exit {done.returncode}'}")
    return done.stdout


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def complaint(text: str) -> str:
    """What a Slurm command complains of, in one line without its prefixes."""
    lines = dict.fromkeys(PREFIX.sub("", line.strip()) for line in text.splitlines())
    return "; ".join(line for line in lines if line)[-COMPLAINT_LENGTH:]


def is_up() -> bool:
    """Whether a Slurm controller answers. Quick, unlike any other question to one that is down."""
    try:
        return " UP" in ask("scontrol", "ping", patience=10.0)
    except NoAnswer:
        return False
