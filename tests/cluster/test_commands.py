"""Asking Slurm: what it says, and when it says nothing. Real commands, not Slurm's."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.cluster.commands import COMPLAINT_LENGTH, NoAnswer, ask, complaint, is_up
from autoresearch.errors import ClusterError


def test_an_answer_is_what_is_printed() -> None:
    assert ask("echo", "one", "two") == "one two\n"


def test_no_answer_says_who_was_silent_and_why() -> None:
    with pytest.raises(NoAnswer, match="sh: no such queue"):
        ask("sh", "-c", "echo 'sh: error: no such queue' >&2; exit 1")
    with pytest.raises(NoAnswer, match="false: exit 1"):
        ask("false")
    with pytest.raises(NoAnswer, match=r"sleep has not answered within 0\.1 s"):
        ask("sleep", "60", patience=0.1)


def test_a_machine_without_slurm_is_the_users_to_mend() -> None:
    with pytest.raises(ClusterError, match="nonesuch should be on PATH"):
        ask("nonesuch")


def test_a_users_own_habits_do_not_reshape_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SACCT_FORMAT", "JobID")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    told = ask("env").splitlines()
    assert "SLURM_TIME_FORMAT=%s" in told
    assert "SLURM_CONF=/etc/slurm.conf" in told
    assert not [line for line in told if line.startswith(("SQUEUE_", "SACCT_"))]
    assert ask("env", env={"PATH": os.environ["PATH"], "ONLY": "this"}).count("ONLY") == 1


@pytest.mark.parametrize(
    ("said", "short"),
    [
        (
            (
                "sbatch: error: invalid partition specified: nope\n"
                "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
            ),
            "invalid partition specified: nope; Invalid partition name specified",
        ),
        ("allocation failure: Invalid qos specification", "Invalid qos specification"),
        (
            (
                "sbatch: error: AssocMaxSubmitJobLimit\n"
                "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
            ),
            "AssocMaxSubmitJobLimit; Job violates accounting/QOS policy",
        ),
        ("", ""),
    ],
)
def test_a_complaint_is_one_line_without_prefixes(said: str, short: str) -> None:
    assert complaint(said) == short


@given(st.text())
def test_any_complaint_is_one_bounded_line(said: str) -> None:
    assert len(complaint(said)) <= COMPLAINT_LENGTH
    assert len(complaint(said).splitlines()) <= 1


def test_slurm_is_up_if_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in answers as scontrol(1) does: what counts is how it is read."""
    scontrol = tmp_path / "scontrol"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for state, expected in (("UP", True), ("DOWN", False)):
        scontrol.write_text(f"#!/bin/sh\necho 'Slurmctld(primary) at head is {state}'\n")
        scontrol.chmod(0o755)
        assert is_up() is expected
