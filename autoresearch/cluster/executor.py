"""submitit's Slurm executor, which starts a pilot instead of a pickled function.

What crosses to a node is a command line: no pickle that another Python could not read, and no
process between Slurm and the pilot that would take its signals.
"""

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import submitit
from submitit.core.utils import (
    DelayedSubmission,
    FailedJobError,
    FailedSubmissionError,
    JobPaths,
)

from autoresearch.cluster.commands import complaint
from autoresearch.cluster.interface import Refused
from autoresearch.errors import ClusterError

SBATCH_SECONDS = 90  # then we stop waiting for an answer
TIMED_OUT = 124  # what `timeout` exits with
# What sbatch says when the request may have arrived all the same.
UNCERTAIN = ("Socket timed out", "Zero Bytes", "Connection reset", "Transport endpoint")
# What passes by itself: limits of users and sites, and a Slurm that is down or busy.
PASSING = (
    *("Job violates accounting/QOS policy", "SubmitJobLimit", "SubmitJobPer", "MaxJobCount"),
    *("Unable to contact slurm controller", "temporarily", "Required partition not available"),
    *("Protocol authentication error", "I/O error writing script", "Job got killed"),
    *("controller", "Connection refused", "Requested partition configuration not available now"),
)


class PilotExecutor(submitit.SlurmExecutor):
    """Submits arrays whose task K runs `command` with a last argument `BATCH-K`.

    `command` is shell text: it may use what the setup lines have set.
    """

    def __init__(self, folder: Path, command: str, batch: str) -> None:
        super().__init__(folder, max_num_timeout=0)
        self.line = f'{command} {shlex.quote(batch)}-"$SLURM_ARRAY_TASK_ID"'

    def array(self, count: int) -> str | None:
        """Submit `count` tasks by one sbatch; return the job's id, None if it is not certain.

        Raises Refused, or ClusterError for what would be refused for ever.
        """
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):  # submitit prints what it also raises
                (job,) = self.map_array(nothing, range(count))
        except FailedSubmissionError:  # no id in the answer
            return None
        except FailedJobError as error:
            weigh(error)
            return None
        return str(job.job_id)

    def _internal_process_submissions(
        self, delayed_submissions: list[DelayedSubmission]
    ) -> list[submitit.Job[object]]:
        """Where submitit would pickle a function per task: the command line says it all."""
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.parameters["map_count"] = len(delayed_submissions)
        job = self._submit_command(self.line)
        for link in folder.glob(".submission_file_*"):
            link.unlink()
        return [job]

    @staticmethod
    def _get_job_id_from_submission_command(string: str | bytes) -> str:
        """A site's own sbatch may say more: its last word on a job counts."""
        said = string.decode(errors="replace") if isinstance(string, bytes) else string
        found = re.findall(r"^Submitted batch job (\d+)", said, re.MULTILINE)
        if not found:
            raise FailedSubmissionError("sbatch names no job")
        return str(found[-1])

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["timeout", str(SBATCH_SECONDS), "sbatch", str(submission_file_path)]


def nothing(_: int) -> None:
    """What submitit would run."""


def weigh(error: FailedJobError) -> None:
    """Return if a failed sbatch may have been accepted all the same; else raise what it is."""
    cause, said = error.__cause__, str(error)
    code = cause.returncode if isinstance(cause, subprocess.CalledProcessError) else 1
    is_cut = code == TIMED_OUT or code < 0 or code > 128 or not said.strip()  # by a signal
    if is_cut or any(words in said for words in UNCERTAIN):
        return
    reason = complaint(said)
    if any(words in said for words in PASSING):
        raise Refused(reason)
    raise ClusterError(f"Slurm should take our pilots, but sbatch says: {reason}")
