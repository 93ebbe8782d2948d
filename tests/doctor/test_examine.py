"""The examination from end to end on this machine, and how jobs that go wrong are told."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from worlds import make_settings

from autoresearch.cli import main
from autoresearch.cluster.commands import NoAnswer
from autoresearch.cluster.interface import Phase, Sighting
from autoresearch.doctor import examine as examination
from autoresearch.doctor.advice import Finding, State
from autoresearch.doctor.checkup import UNSEEN
from autoresearch.doctor.examine import Patient, diagnose, examine, exchange, wait, wants
from autoresearch.doctor.jobs import LocalJobs, Place, script
from autoresearch.experiment import Budget
from autoresearch.settings import Cluster, Data, Settings, Task, Tier

TIER = Tier("cpu-1", pilots=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A campaign to be, with prepared data of one file."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.bin").write_bytes(b"tokens")
    sha256 = hashlib.sha256(b"tokens").hexdigest()
    files = {"train.bin": {"sha256": sha256, "bytes": 6}}
    (data / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}))
    return make_settings(
        dir=str(tmp_path / "campaigns" / "c"),
        task=Task("tiny", "train", Data(str(data)), Budget(tokens=1000)),
        cluster=Cluster("local", {"screen": TIER}),
    )


def problems(findings: list[Finding]) -> dict[str, str]:
    return {f.check: f.found for f in findings if f.state is State.problem}


def quiet(_: str) -> None:
    """Nobody watches."""


# ---- this machine ----------------------------------------------------------------------------


def test_a_healthy_machine_has_no_problems_and_nothing_is_left_behind(
    settings: Settings, tmp_path: Path
) -> None:
    said: list[str] = []
    found = examine(settings, 1.0, said.append)
    assert problems(found) == {}
    assert {f.tier for f in found} == {"", "screen"}
    assert [f.state for f in found if f.check == "torch"] == [State.ok]
    assert not any(f.state is State.unknown for f in found)
    assert said
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_damaged_data_is_found_here_and_there(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "data" / "train.bin").write_bytes(b"tok")
    found = [f for f in examine(settings, 1.0, quiet) if f.check == "data"]
    assert [(f.tier, f.state) for f in found] == [
        ("", State.problem),
        ("screen", State.problem),
    ]
    assert all("train.bin" in f.found for f in found)


def test_a_folder_that_cannot_be_written_ends_it_before_any_job(settings: Settings) -> None:
    found = examine(replace(settings, dir="/proc/sys/c"), 1.0, quiet)
    assert list(problems(found)) == ["directory"]
    assert "/proc/sys" in problems(found)["directory"]


def test_the_verb_prints_json_and_ends_with_1_if_a_campaign_would_fail(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Finding] = [Finding("secrets", State.problem, "A_KEY", "screen")]
    monkeypatch.setattr("autoresearch.verbs.doctor.examine", lambda *_: made)
    overrides = [f"task.data.directory={settings.task.data.directory}", "task=tiny"]
    assert main(["doctor", "--json", *overrides]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["ok"]) == (1, True)
    assert record["findings"] == [made[0].to_json()]
    made.append(Finding("torch", State.problem, "[red]none[/red]", "screen", "gpu"))
    assert main(["doctor", *overrides]) == 1
    printed = capsys.readouterr().out
    assert "[red]none[/red]" in printed
    assert "screen in gpu" in printed
    assert "Problems: 2; 1 would break a campaign" in printed


HANGING = """
import sys
from autoresearch.cli import main
from autoresearch.doctor import jobs
jobs.SCRIPT = "echo $$ > {folder}/../../../pid; sleep 1000"
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_the_jobs_and_takes_the_files_away(settings: Settings, tmp_path: Path) -> None:
    data = f"task.data.directory={settings.task.data.directory}"
    words = ["doctor", data, f"dir={tmp_path}/campaigns/c"]
    (tmp_path / "campaigns").mkdir()
    process = subprocess.Popen([sys.executable, "-c", HANGING, *words], stderr=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    until(lambda: pid.exists() and pid.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert list((tmp_path / "campaigns").iterdir()) == []
    until(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- the job's script ------------------------------------------------------------------------


def run_script(folder: Path, *setup: str, python: str = "echo python") -> str:
    """What the job of a Slurm cluster would do, with a stand-in for srun."""
    bin = folder / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "srun").write_text('#!/bin/bash\nshift 2\nexec "$@"\n')
    (bin / "srun").chmod(0o755)
    text = script(Cluster("slurm", {}, setup=setup, python=python), TIER, folder)
    env = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}"}
    (folder / "script").write_text(text)
    done = subprocess.run(
        ["bash", "script"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_setup_lines_come_before_the_nodes_own_python(tmp_path: Path) -> None:
    said = run_script(tmp_path, "export WORD=spoken", python='bash -c "echo $WORD"')
    assert said == "spoken\n"
    assert not (tmp_path / "setup").exists()


def test_a_setup_line_that_fails_is_noted_and_the_next_one_runs(tmp_path: Path) -> None:
    lines = ("nonesuch load 'cuda'", "false || true", "if false; then", "false; fi", "echo on")
    assert run_script(tmp_path, *lines).startswith("on\npython")
    assert (tmp_path / "setup").read_text() == "nonesuch load 'cuda': exit 127\n"


def test_what_fails_inside_of_a_sourced_script_is_its_own_business(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("false\nexport A=1\n")
    run_script(tmp_path, f"source {tmp_path}/profile")
    assert not (tmp_path / "setup").exists()


def test_a_folder_that_a_node_does_not_see_is_told_by_the_exit_code(tmp_path: Path) -> None:
    text = script(Cluster("slurm", {}), TIER, tmp_path / "hidden place")
    assert subprocess.run(["bash", "-c", text], check=False).returncode == UNSEEN


def test_here_neither_setup_lines_nor_another_python_count(tmp_path: Path) -> None:
    text = script(Cluster("local", {}, setup=("nonesuch",), python="nonesuch"), TIER, tmp_path)
    assert "nonesuch" not in text
    assert sys.executable in text


# ---- jobs that do not end well ---------------------------------------------------------------


@dataclass
class Queue:
    """A queue that says what the test says."""

    sighting: Sighting | None = None
    exit_code: int | None = None
    is_silent: bool = False
    cancelled: bool = False
    looks: list[float] = field(default_factory=list)

    def start(self, place: Place, folder: Path) -> str:
        return "7"

    def look(self) -> Mapping[str, Sighting]:
        self.looks.append(time.monotonic())
        if self.is_silent:
            raise NoAnswer("squeue: cannot contact")
        return {"7": self.sighting} if self.sighting else {}

    def code(self, id: str) -> int | None:
        return self.exit_code

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Patient:
    for name in ("QUEUE_SECONDS", "NEVER_SECONDS", "GRACE_SECONDS"):
        monkeypatch.setattr(examination, name, 0.1)
    room = tmp_path / "room" / "0"
    room.mkdir(parents=True)
    return Patient(Place("screen", TIER, "gpu"), room, "7", time.monotonic())


def told(queue: Queue, patient: Patient, settings: Settings, minutes: float) -> list[Finding]:
    """What is found at a place whose queue says always the same."""
    wait(queue, settings, [patient], minutes, quiet)
    return diagnose(queue, patient, wants(settings, patient.place, patient.folder))


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("Priority", State.unknown),
        ("Resources", State.unknown),
        ("QOSMaxGRESPerUser", State.problem),
        ("AssocGrpGRESMinutes", State.problem),
        ("ReqNodeNotAvail, UnavailableNodes:n1", State.problem),
    ],
)
def test_a_job_that_waits_too_long_is_told_with_slurms_reason(
    settings: Settings, patient: Patient, reason: str, state: State
) -> None:
    found = told(Queue(Sighting(Phase.waiting, reason)), patient, settings, 0.005)
    assert [(f.check, f.state) for f in found] == [("queue", state)]
    assert found[0].found == f"job 7 still waited after 0 s: {reason}"
    assert (found[0].tier, found[0].partition) == ("screen", "gpu")


@pytest.mark.parametrize(
    "reason", ["JobHeldUser", "PartitionTimeLimit", "QOSMaxCpuPerJobLimit", "BadConstraints"]
)
def test_what_will_never_run_is_not_waited_for(
    settings: Settings, patient: Patient, reason: str
) -> None:
    started = time.monotonic()
    found = told(Queue(Sighting(Phase.waiting, reason)), patient, settings, 10.0)
    assert time.monotonic() - started < 5
    assert reason in problems(found)["queue"]


def test_a_node_that_sees_nothing_of_the_folder_is_told(
    settings: Settings, patient: Patient
) -> None:
    gone = Queue(Sighting(Phase.gone, "failed", "n1"))
    assert "does not see" in problems(told(gone, patient, settings, 1.0))["shared"]


def test_a_node_that_cannot_start_python_is_told_in_its_own_words(
    settings: Settings, patient: Patient
) -> None:
    (patient.folder / "setup").write_text("module load python: exit 127\n")
    output = "script: line 9: python: command not found\nsrun: error: task 0: exit 127\n"
    (patient.folder / "output").write_text(output)
    found = problems(told(Queue(Sighting(Phase.gone, "failed", "n1"), 127), patient, settings, 1.0))
    assert found["setup"] == "module load python: exit 127"
    assert found["python"] == "does not start: script: line 9: python: command not found"


def test_a_job_that_is_killed_half_way_is_told_with_what_it_knew(
    settings: Settings, patient: Patient
) -> None:
    facts = {"cores": {"value": 1}, "secrets": {"value": ["A_KEY"]}}
    (patient.folder / "facts.json").write_text(json.dumps(facts))
    (patient.folder / "output").write_text("slurmstepd: error: exceeded memory limit\n")
    killed = Queue(Sighting(Phase.gone, "was killed for want of memory", "n1"), 0)
    found = told(killed, patient, settings, 1.0)
    assert "want of memory before the end: slurmstepd" in problems(found)["job"]
    assert problems(found)["secrets"] == "A_KEY"
    assert [f.state for f in found if f.check == "torch"] == [State.unknown]


def test_a_job_that_the_queue_knows_no_more_has_ended(settings: Settings, patient: Patient) -> None:
    found = told(Queue(None), patient, settings, 1.0)
    assert problems(found)["job"] == "left the queue: it printed nothing"


def test_a_queue_that_does_not_answer_is_asked_again(settings: Settings, patient: Patient) -> None:
    queue = Queue(is_silent=True)
    found = told(queue, patient, settings, 0.01)
    assert len(queue.looks) > 1
    assert [f.check for f in found] == ["queue"]


def test_a_greeting_is_answered(settings: Settings, patient: Patient) -> None:
    (patient.folder / "hello.json").write_text(json.dumps({"time": time.time() - 3, "host": "n1"}))
    patient.answer()
    assert (patient.folder / "reply.json").exists()
    assert patient.node == "n1"
    assert patient.delay is not None
    assert 2.9 < patient.delay < 30


def test_a_folder_of_ours_is_gone_in_the_end_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exchange(tmp_path):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_process_that_hangs_is_ended(settings: Settings, tmp_path: Path) -> None:
    jobs = LocalJobs(settings.cluster, settings.dir)
    (tmp_path / "checkup.py").write_text("import time; time.sleep(1000)")
    id = jobs.start(Place("screen", TIER), tmp_path)
    assert jobs.look()[id].phase is Phase.running
    jobs.cancel()
    assert jobs.look()[id].phase is Phase.gone
    assert jobs.code(id) == -signal.SIGKILL
