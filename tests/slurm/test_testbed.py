"""The testbed itself: a Slurm that is real where it matters, and leaves nothing behind."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbeds import NODES, SCRIPT, Testbed, execute, free_ports, script, until

pytestmark = pytest.mark.slurm

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Room for a testbed of a test's own: pytest's own folders have names too long for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    yield folder
    script({"TESTBED_DIR": str(folder)}, "down", "--wipe", check=False)
    shutil.rmtree(folder, ignore_errors=True)


def processes_with(text: str) -> list[str]:
    """The commands of all processes that hold a file whose name begins with `text`."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
            environment = (folder / "environ").read_bytes()
            command = (folder / "comm").read_text().strip()
        except OSError:  # it has ended, or is another user's
            continue
        if any(link.startswith(text) for link in links) or f"={text}/".encode() in environment:
            found.add(f"{folder.name} {command}")
    return sorted(found)


def one_line(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """What a refused call printed, which has to be a single line for its user."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(r"testbed: .*\n", done.stderr)
    return done.stderr


def test_sixteen_typed_gpu_tasks_get_sixteen_gpus(quiet_testbed: Testbed) -> None:
    say = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; sleep 3"
    jobs = [
        quiet_testbed.submit(say, f"--partition={gpu}", f"--gres=gpu:{gpu}:1", "--array=0-7")
        for gpu in ("h100", "h200")
    ]
    until(lambda: list(quiet_testbed.squeue().values()).count("RUNNING") == 16)
    until(lambda: not quiet_testbed.squeue())
    given = [output.strip() for job in jobs for output in quiet_testbed.outputs(job)]
    assert sorted(given) == [f"{node} {gpu}" for node in NODES[2:] for gpu in range(4)]


def test_accounting_knows_the_type_of_the_gpus(quiet_testbed: Testbed) -> None:
    job = quiet_testbed.submit("true", "--partition=scavenge", "--gres=gpu:h200:2")
    until(lambda: "COMPLETED" in str(quiet_testbed.sacct(job, "State", "-X")))
    (row,) = quiet_testbed.sacct(job, "Account,AllocTRES", "-X")
    assert row["Account"] == "lab"
    assert "gres/gpu:h200=2" in row["AllocTRES"].split(",")


def test_nvidia_smi_names_the_gpus_of_a_job(quiet_testbed: Testbed) -> None:
    job = ("srun", "--partition=h100", "--gres=gpu:h100:2", "nvidia-smi")
    listed = quiet_testbed.run(*job, "-L").stdout.splitlines()
    assert len(set(listed)) == 2
    assert all(re.fullmatch(rf"GPU \d: {H100} \(UUID: GPU-[0-9a-f-]{{36}}\)", x) for x in listed)
    query = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    queried = quiet_testbed.run(*job, *query).stdout.splitlines()
    assert [line.rsplit(", ", 1)[0] for line in queried] == [f"{H100}, 81559 MiB"] * 2


@pytest.mark.parametrize("where", [[], ["srun", "--partition=h100"]])
def test_nvidia_smi_sees_no_gpu_where_none_was_given(
    quiet_testbed: Testbed, where: list[str]
) -> None:
    done = quiet_testbed.run(*where, "nvidia-smi", "-L", check=False)
    assert done.stdout == "No devices were found\n"
    assert done.returncode == 6


def test_a_killed_node_takes_its_jobs_along_and_comes_back(quiet_testbed: Testbed) -> None:
    quiet_testbed.tb("reconfigure", "TESTBED_SLURMD_TIMEOUT=5", "TESTBED_MESSAGE_TIMEOUT=3")
    orphan = "env -i setsid sleep 1234 & sleep 1234"
    job = quiet_testbed.submit(orphan, "--no-requeue", "--nodelist=h100-02", "--partition=h100")
    quiet_testbed.wait_until(job, "RUNNING")
    until(lambda: len(sleepers()) == 2)
    quiet_testbed.tb("kill-node", "h100-02")
    assert sleepers() == []
    quiet_testbed.wait_until(job, "NODE_FAIL")
    until(lambda: "NODE_FAIL" in str(quiet_testbed.sacct(job, "State", "-X")))
    assert quiet_testbed.nodes()["h100-02"].startswith("down")
    quiet_testbed.tb("start-node", "h100-02")
    assert quiet_testbed.run("srun", "-p", "h100", "-w", "h100-02", "echo", "hi").stdout == "hi\n"


def sleepers() -> list[str]:
    return execute(["pgrep", "-fx", "sleep 1234"], {}, check=False).stdout.split()


def test_slurmctld_has_an_outage_that_jobs_survive(quiet_testbed: Testbed) -> None:
    job = quiet_testbed.submit("sleep 1000")
    quiet_testbed.wait_until(job, "RUNNING")
    with quiet_testbed.outage("slurmctld"):
        assert quiet_testbed.run("scontrol", "ping", check=False).returncode == 1
        assert quiet_testbed.tb("status", check=False).returncode == 1
    assert quiet_testbed.squeue() == {job: "RUNNING"}


def test_slurmdbd_has_an_outage_without_which_jobs_run(quiet_testbed: Testbed) -> None:
    with quiet_testbed.outage("slurmdbd"):
        assert quiet_testbed.run("sacct", check=False).returncode == 1
        assert quiet_testbed.run("srun", "echo", "hi").stdout == "hi\n"
    assert quiet_testbed.run("sacct").returncode == 0


def test_settings_change_in_a_running_testbed_and_are_remembered(quiet_testbed: Testbed) -> None:
    array = ("sbatch", "--array=9", "--output=/dev/null", "--wrap=true")
    quiet_testbed.run(*array)
    quiet_testbed.tb("reconfigure", "TESTBED_MAX_ARRAY=5", "TESTBED_GRACE=3")
    assert "Invalid job array" in quiet_testbed.run(*array, check=False).stderr
    assert "GraceTime=3" in quiet_testbed.run("scontrol", "show", "partition", "scavenge").stdout
    directory = {"TESTBED_DIR": str(quiet_testbed.directory)}
    refused = script(directory | {"TESTBED_GRACE": "4"}, "up", check=False)
    assert "TESTBED_GRACE should be 3" in one_line(refused)


def test_everything_listens_on_the_loopback_only(quiet_testbed: Testbed) -> None:
    heard = []
    for line in execute(["ss", "-Hltn"], {}).stdout.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if int(port) in range(quiet_testbed.port, quiet_testbed.port + 20):
            heard.append(address)
    assert heard == ["127.0.0.1"] * (
        3 + len(NODES)
    )  # MariaDB, slurmdbd, slurmctld; munged has none


def test_up_leaves_alone_what_runs(quiet_testbed: Testbed) -> None:
    before = quiet_testbed.tb("status").stdout
    quiet_testbed.tb("up")
    assert quiet_testbed.tb("status").stdout == before
    assert before.count("up, process") == 4 + len(NODES)


def test_down_leaves_no_process_even_of_a_stubborn_job(short_folder: Path) -> None:
    own = Testbed.start(short_folder)
    job = own.submit("trap '' TERM; while :; do sleep 1; done")
    own.wait_until(job, "RUNNING")
    assert len(processes_with(str(short_folder))) > 4 + len(NODES)
    own.tb("down")
    assert processes_with(str(short_folder)) == []
    assert (short_folder / "log" / "slurmctld.log").exists()
    own.tb("down", "--wipe")
    assert not short_folder.exists()


def test_an_unknown_verb_is_refused_in_a_line() -> None:
    assert "'frobnicate'" in one_line(script({}, "frobnicate", check=False), code=2)


def test_help_lists_every_verb_and_setting() -> None:
    text = script({}, "help").stdout
    source = SCRIPT.read_text()
    named = re.findall(r'^  \[(TESTBED_\w+)\]="?([^"\s]+)"?$', source, re.MULTILINE)
    assert len(named) == 9
    assert [pair for pair in named if "=".join(pair) not in text] == []
    assert script({}).stdout == text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("kill-node", "h100-03"), "'h100-03'"),
        (("stop-daemon", "munged"), "'munged'"),
        (("reconfigure", "TESTBED_GRACE=soon"), "whole number, but is 'soon'"),
        (("reconfigure", "TESTBED_PORT=1"), "'TESTBED_PORT=1' should be a setting"),
    ],
)
def test_a_wrong_word_is_refused_in_a_line(
    testbed: Testbed, words: tuple[str, ...], says: str
) -> None:
    assert says in one_line(testbed.tb(*words, check=False))


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TESTBED_DIR": "/tmp/" + "long" * 20}, "at most 63 characters"),
        ({"TESTBED_DIR": "/tmp/with space"}, "'/tmp/with space'"),
        ({"TESTBED_DIR": str(SCRIPT.parent)}, "holds other files"),
        ({"TESTBED_DIR": "/tmp/tb-none", "TESTBED_PORT": "80"}, "TESTBED_PORT should be"),
        ({"TESTBED_DIR": "/tmp/tb-none", "TESTBED_CGROUP": "2"}, "0 or 1, but is '2'"),
    ],
)
def test_up_refuses_what_cannot_work_in_a_line(environment: dict[str, str], says: str) -> None:
    assert says in one_line(script(environment, "up", check=False))
    assert not Path("/tmp/tb-none").exists()


def test_missing_packages_are_named_in_a_line(tmp_path: Path, short_folder: Path) -> None:
    """A PATH with all of this machine's commands, but not Slurm's."""
    for folder in ("/usr/bin", "/bin"):
        for command in Path(folder).iterdir():
            link = tmp_path / command.name
            if not command.name.startswith(("sbatch", "squeue", "sinfo")) and not link.is_symlink():
                link.symlink_to(command)
    environment = {"PATH": str(tmp_path), "TESTBED_DIR": str(short_folder)}
    assert "up --install" in one_line(script(environment, "up", check=False))


def test_a_busy_port_is_named_in_a_line(testbed: Testbed, short_folder: Path) -> None:
    environment = {"TESTBED_DIR": str(short_folder), "TESTBED_PORT": str(testbed.port)}
    refused = script(environment, "up", check=False)
    assert refused.returncode == 1
    last = refused.stderr.splitlines()[-1]
    assert f"port {testbed.port + 1} of 127.0.0.1 should be free" in last


def test_two_testbeds_live_side_by_side(testbed: Testbed, short_folder: Path) -> None:
    other = Testbed.start(short_folder)
    assert other.port != testbed.port != free_ports()
    job = other.submit("sleep 100")
    other.wait_until(job, "RUNNING")
    assert job not in testbed.squeue()
    other.tb("down")
    testbed.tb("status")
