"""W&B and a real Slurm: results that it alone brings home, pilots that are killed, a node that sees
no server, a server that is away.

Nodes have folders for temporary files of their own, and files that they write are marked by their
mode: so it shows who has written what.
"""

import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bigram import write_task
from nights import NAP, WHIMS, Night, lost_attempts, pilot_record
from testbeds import Testbed, until
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.entry import Entry
from autoresearch.experiment import State
from autoresearch.history import History
from autoresearch.mirror.records import read
from autoresearch.tracking.naming import run_id

pytestmark = pytest.mark.slurm
SLOW = pytest.mark.slow

ONLINE = ("tracker=wandb", "tracker.entity=lab", "tracker.poll_seconds=1", "tracker.mode=online")
CARRIED = (*ONLINE, "cluster.results=wandb")
NODE_MASK = 0o027  # so nobody else may read what a node has written
CUT_OFF = "h100-01"  # the node without network

# In place of Python on nodes. What is left in a node's folder waits there for its next pilot.
NODE = """\
#!/usr/bin/env bash
umask {mask:o}
export TMPDIR={nodes}/$SLURMD_NODENAME
mkdir -p "$TMPDIR"
env >"{nodes}/$SLURM_JOB_ID.env"
exec {python} "$@"
"""
# The same, and all that is in the folder is gone when its pilot has ended.
WIPED = """\
#!/usr/bin/env bash
umask {mask:o}
mkdir -p {nodes}
TMPDIR=$(mktemp -d {nodes}/XXXXXX)
export TMPDIR
env >"{nodes}/$SLURM_JOB_ID.env"
{python} "$@"
code=$?
rm -rf "$TMPDIR"
exit $code
"""
# The same, and on one node in a network namespace of its own, whose loopback is its own too.
LONELY = """\
#!/usr/bin/env bash
if [ "$SLURMD_NODENAME" = {cut_off} ] && [ -z "$ALONE" ]; then
  export ALONE=yes
  exec unshare --map-root-user --net sh -c 'ip link set lo up; exec "$@"' sh "$0" "$@"
fi
(: </dev/tcp/127.0.0.1/{port}) 2>/dev/null || touch "{nodes}.$SLURMD_NODENAME.cut-off"
"""

# A program whose first start logs a few rows and then hangs.
TORN = """

def linger(whim, rows=[]):
    import pathlib, time
    if not whim.startswith("torn:"):
        return
    flag = pathlib.Path(whim.removeprefix("torn:"))
    if not rows and flag.exists():
        return
    flag.touch()
    rows.append(None)
    time.sleep(1.2 if len(rows) < 5 else 600)
"""
LOG = "        run.log(loss=loss.item())\n"
LINGERING = (NAP + WHIMS + TORN).replace(LOG, f"{LOG}        linger(config.whim)\n")


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def night(quiet_testbed: Testbed, server: WandbServer, tmp_path: Path) -> Iterator[Night]:
    """Its user has the key in ~/.netrc, which nodes read, and in the environment as well."""
    home = tmp_path / "home"
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine {server.url[7:]} login user password {server.key}\n")
    netrc.chmod(0o600)
    night = Night(quiet_testbed, tmp_path)
    night.more = {"HOME": str(home), "WANDB_API_KEY": server.key}
    night.overrides += (f"tracker.url={server.url}",)
    yield night
    night.leave()


def python_on_nodes(night: Night, script: str) -> str:
    """The override that puts a script in the place of Python there."""
    path = night.root / "python"
    path.write_text(
        script.format(
            mask=NODE_MASK,
            nodes=night.root / "nodes",
            python=shlex.quote(sys.executable),
            cut_off=CUT_OFF,
            port=night.overrides[-1].rpartition(":")[2],
        )
    )
    path.chmod(0o755)
    (night.root / "nodes").mkdir()
    return f"cluster.python={path}"


def is_of_a_node(path: Path) -> bool:
    return not stat.S_IMODE(path.stat().st_mode) & 0o004


def run_of(entry: Entry, attempt: int | None = None) -> str:
    return run_id("night", entry.experiment.id, attempt or entry.attempt)


def check_journal(night: Night, history: History) -> None:
    """Every experiment has finished, once."""
    finished = [event["experiment"] for event in night.events if event["type"] == "finished"]
    assert sorted(finished) == sorted(history.entries)
    assert all(entry.state is State.finished for entry in history.entries.values())


def check_runs(night: Night, server: WandbServer, history: History) -> None:
    """Every attempt has one run, with every row once; only what has finished is finished there."""
    attempts = {
        run_of(entry, number): entry if number == entry.attempt else None
        for entry in history.entries.values()
        for number in range(1, entry.attempt + 1)
    }
    assert sorted(run.id for run in server.runs.values()) == sorted(attempts)
    for id, entry in attempts.items():
        run = server.run(id)
        assert steps(run) == sorted(set(steps(run)))
        assert (run.state == "finished") == (entry is not None)
        if entry is not None:
            assert run.exit_code == 0
            assert run.summary["bpb"] == pytest.approx(entry.bpb)


def steps(run: Run) -> list[int]:
    return [row["_step"] for row in run.history]


def check_secrets(night: Night, server: WandbServer) -> None:
    """The keys are in no file of the campaign, in no job's environment, and in nothing that Slurm
    knows of its jobs."""
    signing = night.layout.key.read_bytes().strip()
    files = [path for path in night.layout.root.rglob("*") if path != night.layout.key]
    environments = list((night.root / "nodes").glob("*.env"))
    assert environments
    for path in (*files, *environments, night.root / "controller.log"):
        if path.is_file():
            content = path.read_bytes()
            assert server.key.encode() not in content, path
            assert signing not in content, path
    jobs = {str(pilot.job["id"]).partition("_")[0] for pilot in night.history.pilots.values()}
    for question in (
        ("scontrol", "show", "job", "-dd"),
        ("sacct", "-n", "-P", "-o", "ALL", "-j", ",".join(jobs)),
        *(("scontrol", "write", "batch_script", job, "-") for job in sorted(jobs)),
    ):
        said = night.testbed.run(*question).stdout
        assert said, question
        assert server.key not in said
        assert signing.decode() not in said


# ---- results that only W&B brings home -------------------------------------------------------


def watcher_of(night: Night) -> int:
    """The controller's child that asks W&B."""
    parent, found = night.controllers[-1].pid, 0

    def find() -> int:
        nonlocal found
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            for child in path.read_text().split():
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                if b"autoresearch.mirror.watcher" in command:
                    found = int(child)
        return found

    until(find, 60, "for the watcher")
    return found


def tamper_unseen(night: Night, server: WandbServer) -> Run:
    """While the watcher sleeps, a result that it cannot have seen becomes a better one."""
    watcher = watcher_of(night)
    os.kill(watcher, signal.SIGSTOP)
    try:
        time.sleep(1)  # what it has asked by now is answered
        before = {run.id for run in server.runs.values() if run.summary}

        def fresh() -> list[Run]:
            ended = [run for run in server.runs.values() if run.state == "finished"]
            return [run for run in ended if run.id not in before]

        until(fresh, 120, "for a result that nobody has seen")
        victim = fresh()[0]
        better = json.loads(victim.summary["result"]) | {"bpb": 0.5}
        server.tamper(victim.id, result=json.dumps(better, indent=1) + "\n", bpb=0.5)
    finally:
        os.kill(watcher, signal.SIGCONT)
    return victim


def test_results_come_by_wandb_alone_and_a_forged_one_is_refused(
    night: Night, server: WandbServer
) -> None:
    night.start(*CARRIED, python_on_nodes(night, WIPED))
    victim = tamper_unseen(night, server)
    night.until(lambda history: history.retries["node_failed"])
    told = night.ask("status", str(night.layout.root)).stdout
    history = night.end()

    check_journal(night, history)
    [lost] = lost_attempts(night)
    assert victim.id.startswith(lost["experiment"])
    assert "does not carry the referee's signature" in lost["reason"]
    assert history.entries[lost["experiment"]].attempt == 2
    for entry in history.entries.values():
        assert entry.bpb is not None
        assert entry.bpb > 0.5
        claim, result = night.layout.claim(entry.current), night.layout.result(entry.current)
        assert is_of_a_node(claim)
        assert not is_of_a_node(result)
        assert result.read_text() == server.run(run_of(entry)).summary["result"]
    assert not list(night.layout.experiments.glob("*/*/log.txt")), "nodes keep their own"
    assert not night.layout.wandb.exists()
    assert [path for path in (night.root / "nodes").iterdir() if path.is_dir()] == []
    check_secrets(night, server)
    said = next(line for line in told.splitlines() if "refused" in line)
    night.report("a result is forged at W&B", "refused, made again", said.strip())


# ---- pilots that are killed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "where"),
    [
        ("TERM", ONLINE),
        ("KILL", ONLINE),
        pytest.param("TERM", CARRIED, marks=SLOW),
        pytest.param("KILL", CARRIED, marks=SLOW),
    ],
    ids=["told", "killed", "told, carried", "killed, carried"],
)
def test_what_a_killed_pilot_has_logged_is_kept_and_never_finished(
    night: Night, server: WandbServer, number: str, where: tuple[str, ...]
) -> None:
    write_task(night.root, program=LINGERING)
    whim = f"task.params.whim=torn:{night.root}/flag"
    seen = "cluster.sandbox=none"  # the flag lies outside
    one = "cluster.tiers.screen.pilots=1"
    again = "+cluster.options.nodelist=h100-02"  # the next pilot finds what the killed one has left
    night.start(*where, whim, one, seen, again, python_on_nodes(night, NODE))
    entry = night.a_running_one()
    id = run_of(entry)
    kept = rows_on_a_node(night, id)
    if number == "TERM":
        night.testbed.run("scancel", night.job_of(entry))
    else:
        night.kill_job(entry)
    night.until(lambda history: history.entries[entry.experiment.id].attempt > 1)
    history = night.end()

    check_journal(night, history)
    check_runs(night, server, history)
    assert ("ended" in pilot_record(night, entry.pilot)) == (number == "TERM")
    killed = server.run(id)
    assert killed.state != "finished"
    assert killed.exit_code != 0
    if where is ONLINE:
        assert len(killed.history) >= kept
    [lost] = lost_attempts(night)
    assert history.entries[lost["experiment"]].attempt == 2
    how = f"SIG{number}, {'carried' if where is CARRIED else 'online'}"
    kept_what = "rows kept, run again" if where is ONLINE else "run again; rows not looked at"
    night.report(f"a pilot that W&B follows: {how}", kept_what, lost["reason"])


def rows_on_a_node(night: Night, id: str) -> int:
    """How many of a run's rows are written there, once it has stopped to write any."""
    rows = 0

    def are_written() -> bool:
        nonlocal rows
        for path in (night.root / "nodes").glob(f"*/autoresearch-wandb-*/wandb/*/run-{id}.wandb"):
            rows = read(path).rows
        return rows >= 4

    until(are_written, 90, "for rows in the run's file")
    return rows


# ---- a node that sees no server, a server that is away ---------------------------------------


def can_cut_off() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    command = ("unshare", "--map-root-user", "--net", "ip", "link", "set", "lo", "up")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_cut_off(), reason="needs network namespaces (unshare, ip)"
)


def check_cut_off(night: Night, history: History) -> set[str]:
    """One node could not connect, the others could; the ids of the runs that it made."""
    flags = {path.name.split(".")[1] for path in night.root.glob("nodes.*.cut-off")}
    assert flags == {CUT_OFF}
    there = {
        run_of(entry)
        for entry in history.entries.values()
        if history.pilots[entry.pilot].node == CUT_OFF
    }
    assert 0 < len(there) < len(history.entries)
    return there


def sent_from_here(night: Night) -> set[str]:
    return {
        path.stem.removeprefix("run-") for path in night.layout.wandb.glob("offline-run-*/*.wandb")
    }


@needs_namespaces
def test_runs_of_a_node_without_network_are_sent_from_the_login_node(
    night: Night, server: WandbServer
) -> None:
    script = python_on_nodes(night, LONELY + NODE.removeprefix("#!/usr/bin/env bash\n"))
    six = ("cluster.tiers.screen.pilots=6", "task.params.nap=2.0")  # four fit on one node
    night.start(*ONLINE, "tracker.mode=auto", script, *six, "budget.experiments=18")
    history = night.end()

    check_journal(night, history)
    check_runs(night, server, history)
    assert sent_from_here(night) == check_cut_off(night, history)
    assert {run.creations for run in server.runs.values()} == {1}
    assert not lost_attempts(night)
    check_secrets(night, server)
    night.report("a node without network", "its runs are sent from the login node", "")


@SLOW
@needs_namespaces
def test_nothing_of_200_experiments_is_lost_while_the_server_is_away(
    night: Night, server: WandbServer
) -> None:
    script = python_on_nodes(night, LONELY + NODE.removeprefix("#!/usr/bin/env bash\n"))
    # a few of the budget are kept for tests that never come: nobody is better
    many = ("budget.experiments=210", "budget.wall_hours=2", "search.wave=24")
    night.start(*ONLINE, script, *many, "cluster.tiers.screen.pilots=6")
    night.until(lambda history: finished(history) >= 60, 900)
    server.down()
    time.sleep(60)
    server.up()
    assert not night.history.ended, "it was too soon at its end"
    history = night.end(1800)
    sent = night.ask("sync", str(night.layout.root))
    assert sent.returncode == 0, sent.stderr

    assert len(history.entries) >= 200
    check_journal(night, history)
    check_runs(night, server, history)
    assert check_cut_off(night, history) <= sent_from_here(night)
    assert not lost_attempts(night)
    night.report("no server for 60 s, 200 experiments", "every run there once in the end", "")


def finished(history: History) -> int:
    return sum(entry.state is State.finished for entry in history.entries.values())
