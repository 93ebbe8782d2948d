"""A night on Slurm with every kind of secret in its user's environment, and a look for them in all
that Slurm keeps of a job: its script, its environment, its accounts, its daemons' own files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from bigram import write_task
from leaks import NOSY, ROLES, SENTINELS, Leaks, Watch, nosy
from nights import Night
from testbeds import Testbed
from wandb_server import WandbServer

from autoresearch.node import sandbox

pytestmark = pytest.mark.slurm

LEAKS = Leaks(SENTINELS)
FEW = ("budget.experiments=11", "pilot.idle_seconds=1", "search.wave=4")
ONLINE = ("tracker=wandb", "tracker.entity=lab", "tracker.poll_seconds=1", "tracker.mode=online")
# A site may keep what jobs were submitted with for ever.
PILOT = "autoresearch.node.pilot"
KEEPING = "AccountingStoreFlags=job_comment,job_env,job_script\n"


@dataclass
class Ended:
    """A night that is over, and what was seen of its processes meanwhile."""

    night: Night
    watch: Watch
    wandb: WandbServer

    @property
    def jobs(self) -> list[str]:
        pilots = self.night.history.pilots.values()
        return sorted({str(pilot.job["id"]).partition("_")[0] for pilot in pilots})


@contextmanager
def keeping(testbed: Testbed) -> Iterator[None]:
    """While in it, the accounts take in scripts and environments."""
    conf = testbed.directory / "etc" / "slurm.conf"
    before = conf.read_text()
    conf.write_text(before + KEEPING)
    try:
        testbed.run("scontrol", "reconfigure")
        yield
    finally:
        conf.write_text(before)
        testbed.run("scontrol", "reconfigure")


@pytest.fixture(scope="module")
def ended(testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    testbed.wait_idle()
    root = tmp_path_factory.mktemp("secrets")
    night = Night(testbed, root)
    for folder in ("home", "tmp"):
        (root / folder).mkdir()
    is_walled = not sandbox.problem()
    netrc = root / "home" / ".netrc"
    write_task(root, program=nosy([str(netrc)] * is_walled, everywhere=is_walled))
    with keeping(testbed), WandbServer(key=SENTINELS["WANDB_API_KEY"]) as wandb:
        netrc.write_text(f"machine {wandb.url[7:]} login user password {wandb.key}\n")
        netrc.chmod(0o600)
        where = {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}
        night.more = SENTINELS | where
        kept = [testbed.directory / "spool", testbed.directory / "var" / "slurmctld"]
        job = f"SLURM_SUBMIT_DIR={root}"
        watch = Watch(LEAKS, night.layout.root, [root / "tmp", *kept], job)
        controller = night.start(*ONLINE, *FEW, f"tracker.url={wandb.url}")
        try:
            watch.until_end(controller, 300)
            night.end()
            yield Ended(night, watch, wandb)
        finally:
            night.leave()


def test_nothing_in_a_job_was_told_one(ended: Ended) -> None:
    assert set(ended.watch.seen) == set(ROLES), "somebody was never seen"
    assert not ended.watch.found


def test_slurm_keeps_none(ended: Ended) -> None:
    """What it says of its jobs, and every file of its daemons."""
    jobs = ",".join(ended.jobs)
    questions: dict[tuple[str, ...], str] = {
        ("scontrol", "show", "job", "--details", "--oneliner"): "JobName=ar-",
        ("sacct", "--parsable", "--format=ALL", f"--jobs={jobs}"): "ar-",
        ("sacct", "--batch-script", f"--jobs={jobs}"): PILOT,
        ("sacct", "--env-vars", f"--jobs={jobs}"): f"HOME={ended.night.root}",
    }
    for job in ended.jobs:
        questions["scontrol", "write", "batch_script", job, "-"] = PILOT
    for question, mark in questions.items():
        said = ended.night.testbed.run(*question).stdout
        assert mark in said, question
        assert not LEAKS.in_text(said, question)
    assert not LEAKS.in_folder(ended.night.testbed.directory)


def test_a_program_finds_none(ended: Ended) -> None:
    logs = [path.read_text() for path in ended.night.layout.experiments.glob("*/*/log.txt")]
    assert any(NOSY in log and "'HOME': " in log for log in logs), "nobody looked"
    assert not [found for log in logs for found in LEAKS.in_text(log, "a log")]


def test_no_file_holds_one(ended: Ended) -> None:
    """But ~/.netrc: not the campaign's, submitit's among them, not what is left elsewhere."""
    root: Path = ended.night.root
    assert not LEAKS.in_folder(root, allowed=[root / "home" / ".netrc"])
    assert not LEAKS.in_text(list(ended.wandb.runs.values()), "a run at W&B")
    assert {run.state for run in ended.wandb.runs.values()} == {"finished"}
