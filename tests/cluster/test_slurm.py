"""What of the Slurm side needs no Slurm; the rest is in tests/slurm/test_cluster.py."""

from pathlib import Path

import pytest
from submitit.core.utils import FailedJobError, FailedSubmissionError

from autoresearch.cluster.executor import PilotExecutor, weigh
from autoresearch.cluster.interface import Refused
from autoresearch.cluster.pause import BACK_OFF, Pause
from autoresearch.cluster.slurm import identity
from autoresearch.errors import ClusterError
from autoresearch.layout import Layout


def test_a_campaigns_jobs_are_called_alike_however_its_path_is_spelled(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "campaign")
    layout.identity.parent.mkdir(parents=True)
    (tmp_path / "link").symlink_to(layout.root)
    spellings = [layout.root, tmp_path / "link", layout.root / ".." / "campaign"]
    assert len({identity(Layout(path)) for path in spellings}) == 1
    layout.identity.write_text("0123456789\n", encoding="ascii")
    assert {identity(Layout(path)) for path in spellings} == {"0123456789"}
    moved = layout.root.rename(tmp_path / "moved")
    assert identity(Layout(moved)) == "0123456789"


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"x y", b"../../etc"])
def test_a_broken_id_is_none(tmp_path: Path, garbage: bytes) -> None:
    layout = Layout(tmp_path)
    by_path = identity(layout)
    layout.identity.parent.mkdir()
    layout.identity.write_bytes(garbage)
    assert identity(layout) == by_path


@pytest.mark.parametrize(
    "answer",
    [
        "Submitted batch job 17",
        "Submitted batch job 17 on cluster testbed\n",
        "see the policy for job 1 of your project\nSubmitted batch job 17\nBe nice.\n",
    ],
)
def test_a_jobs_id_is_what_sbatch_itself_says(answer: str) -> None:
    assert PilotExecutor._get_job_id_from_submission_command(answer) == "17"


@pytest.mark.parametrize("answer", ["", "job 5 is not yours", "error"])
def test_an_answer_without_an_id_is_uncertain(answer: str) -> None:
    with pytest.raises(FailedSubmissionError):
        PilotExecutor._get_job_id_from_submission_command(answer)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("", None),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv", None),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates accounting", Refused),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", Refused),
        ("sbatch: error: Protocol authentication error", Refused),
        ("sbatch: error: invalid partition specified: nope", ClusterError),
    ],
)
def test_what_sbatch_says_passes_or_not(said: str, raised: type[Exception] | None) -> None:
    if raised is None:
        weigh(FailedJobError(said))
    else:
        with pytest.raises(raised):
            weigh(FailedJobError(said))


def test_a_pause_grows_with_each_refusal_and_is_bounded() -> None:
    assert not Pause().is_on
    pause = Pause()
    lengths = []
    for _ in range(10):
        lengths.append(pause.seconds)
        pause.lengthen("no")
    assert lengths[:3] == [BACK_OFF[0], 2 * BACK_OFF[0], 4 * BACK_OFF[0]]
    assert max(lengths) == BACK_OFF[1]
    assert pause.is_on
    pause.end()
    assert pause.seconds == BACK_OFF[0]
