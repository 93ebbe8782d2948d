"""The W&B logger where a node reaches a server, and where it does not any more: a real process,
real runs, a local server. Without a server: see test_logger."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tracked import netrc
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.mirror.records import Facts, read
from autoresearch.node import kernel
from autoresearch.node.runlog import COMMAND
from autoresearch.tracking.naming import run_id

SECONDS = 120
FIRST, SECOND = "a" * 12, "b" * 12
SECRET = "v" * 40  # in the environment, where it is not to be used


@dataclass
class Node:
    """A node, a campaign, and a server; loggers end with the test."""

    server: WandbServer
    folder: Path
    launched: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def campaign(self) -> Path:
        return self.folder / "campaign"

    @property
    def scratch(self) -> Path:
        return self.folder / "node"

    def start(self, experiment: str = FIRST, home: str | None = None, **tracker: str) -> Any:
        run = {"campaign": "night", "experiment": experiment, "attempt": 2, "tier": "screen"}
        run |= {"wave": 3, "planner": "greedy", "purpose": "screen"}
        ours = {"kind": "wandb", "mode": "auto", "project": "p", "url": self.server.url}
        return {
            "event": "start",
            "run": {**run, "config": {"lr": 0.04, "nested": {"a": [1]}, "cell": "gpu", "ö": "ü"}},
            "dir": str(self.campaign / "wandb") if home is None else home,
            "tracker": ours | {"poll_seconds": 15.0} | tracker,
        }

    def launch(self) -> "subprocess.Popen[bytes]":
        ours = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        theirs = {"WANDB_API_KEY": SECRET, "WANDB_MODE": "disabled", "PYTHONWARNINGS": "error"}
        process = subprocess.Popen(
            COMMAND,
            env={
                **(ours | theirs),
                "HOME": str(self.folder),
                "NETRC": str(self.folder / "netrc"),
                "TMPDIR": str(self.scratch),
            },
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.launched.append(process)
        return process

    def run(self, experiment: str = FIRST) -> Run:
        return self.server.run(run_id("night", experiment, 2))

    def has_rows(self, count: int, experiment: str = FIRST) -> bool:
        id = run_id("night", experiment, 2)
        return any(name == id for _, _, name in self.server.runs) and (
            len(self.run(experiment).history) >= count
        )

    def came_home(self) -> dict[str, Facts]:
        """By experiment, the runs in the campaign."""
        folders = sorted((self.campaign / "wandb").glob("*"))
        assert all(folder.name.startswith("offline-run-") for folder in folders)
        files = [path for folder in folders for path in folder.iterdir()]
        assert all(path.suffix == ".wandb" for path in files)
        return {path.stem.removeprefix("run-").partition("-")[0]: read(path) for path in files}

    def on_the_node(self) -> list[Path]:
        return list(self.scratch.iterdir())

    def with_secrets(self) -> list[Path]:
        files = [path for path in self.campaign.rglob("*") if path.is_file()]
        secrets = (self.server.key.encode(), SECRET.encode())
        return [path for path in files if any(s in path.read_bytes() for s in secrets)]


@pytest.fixture(scope="module")
def shared() -> Iterator[WandbServer]:
    with WandbServer() as server:
        yield server


@pytest.fixture
def node(tmp_path: Path, shared: WandbServer) -> Iterator[Node]:
    node = Node(shared, tmp_path)
    node.campaign.mkdir()
    node.scratch.mkdir()
    netrc(tmp_path, shared)
    yield node
    for process in node.launched:
        for pid in [*kernel.tree(process.pid), process.pid]:
            kill(pid)
        process.communicate()
    shared.heal()
    shared.up()
    for _, _, id in shared.runs:
        shared.forget(id)
    assert node.with_secrets() == []


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def log(step: int) -> dict[str, Any]:
    return {"event": "log", "step": step, "values": {"loss": 1 / (step + 1)}}


def finish(**summary: str) -> dict[str, Any]:
    return {"event": "finish", "summary": {"bpb": 1.25, **summary}, "exit_code": 0}


def encode(*sent: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in sent)


def tell(process: "subprocess.Popen[bytes]", *sent: dict[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(encode(*sent))
    process.stdin.flush()


def end(process: "subprocess.Popen[bytes]", *sent: dict[str, Any]) -> str:
    """The last words to a logger, and its own."""
    _, said = process.communicate(encode(*sent), timeout=SECONDS)
    assert process.returncode == 0, said.decode()
    return said.decode()


def hang_up(process: "subprocess.Popen[bytes]") -> None:
    """Let a logger go, as the referee does; `communicate` would close its input once more."""
    assert process.stdin
    process.stdin.close()
    process.stdin = None


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def cores(process: "subprocess.Popen[bytes]") -> list[int]:
    """wandb's own processes below a logger."""
    return [p for p in kernel.tree(process.pid) if b"wandb-core" in command_of(p)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def steps(run: Run) -> list[int]:
    return [row["_step"] for row in run.history]


# ---- a server that answers -------------------------------------------------------------------


def test_runs_are_on_the_server_and_nowhere_else(node: Node) -> None:
    ended = (*map(log, range(5)), finish())
    failed = (log(0), {"event": "finish", "summary": {"failure": "diverged"}, "exit_code": 1})
    asked = node.server.count("Viewer")
    assert (
        end(node.launch(), node.start(), *ended, node.start(SECOND, mode="online"), *failed) == ""
    )
    run = node.run()
    assert (run.entity, run.project, run.creations) == ("researcher", "p", 1)
    assert (run.group, run.job_type, run.name) == ("night", "screen", f"{FIRST}-2")
    assert run.tags == ["screen", "wave 3", "greedy", "cell gpu", "attempt 2"]
    assert run.config == {"lr": 0.04, "nested": {"a": [1]}, "cell": "gpu", "ö": "ü"}
    assert [(row["_step"], row["loss"]) for row in run.history] == [
        (step, 1 / (step + 1)) for step in range(5)
    ]
    assert (run.summary["bpb"], run.state, run.exit_code) == (1.25, "finished", 0)
    assert (run.commit, run.system, run.log) == (None, [], []), "nobody's business"
    assert "wandb-metadata.json" not in run.files
    other = node.run(SECOND)
    assert (other.summary["failure"], other.state, other.exit_code) == ("diverged", "failed", 1)
    assert len(node.server.runs) == 2
    assert node.came_home() == {}
    assert node.on_the_node() == []
    assert asked < node.server.count("Viewer")


def test_offline_is_offline(node: Node) -> None:
    before = node.server.count()
    assert end(node.launch(), node.start(mode="offline"), log(0), finish()) == ""
    assert node.server.count() == before
    assert node.came_home()[FIRST].exit_code == 0


def test_files_are_no_tracker_of_runs(node: Node) -> None:
    before = node.server.count()
    process = node.launch()
    _, said = process.communicate(encode(node.start(kind="files")), timeout=SECONDS)
    assert process.returncode == 1
    assert said == b"W&B logger: the W&B logger should get tracker 'wandb', but got files\n"
    assert node.server.count() == before


# ---- a server that does not ------------------------------------------------------------------


def is_kept(node: Node, said: str, reason: str) -> bool:
    """One line says why runs are at home, and both are, complete."""
    first, second = (node.came_home().get(name) for name in (FIRST, SECOND))
    return (
        said.startswith("W&B logger: ")
        and said.count("\n") == 1
        and reason in said
        and said.endswith("/wandb, from where `autoresearch sync` sends them\n")
        and first is not None
        and second is not None
        and (first.rows, first.exit_code, first.summary["bpb"]) == (2, 0, 1.25)
        and (second.rows, second.exit_code) == (1, 0)
        and not node.on_the_node()
    )


@pytest.mark.parametrize("mood", ["down", "no key", "wrong key", "slow", "takes no run"])
def test_runs_are_kept_where_the_server_does_not_take_them(node: Node, mood: str) -> None:
    """It is asked once: the second run does not wait for it."""
    server, path = node.server, node.folder / "netrc"
    reason = "cannot be reached"
    match mood:
        case "down":
            server.down()
        case "slow":
            server.slow(30, "Viewer")
        case "no key":
            path.unlink()
            reason = "there is no key for 127.0.0.1"
        case "wrong key":
            path.write_text(path.read_text().replace("local", "wrong"))
            reason = "does not accept the key (`wandb login --relogin --host="
        case "takes no run":
            server.fail("UpsertBucket", status=403, times=99)
            reason = f"{server.url} takes no run ("
    before = server.count("Viewer")
    both = (node.start(), log(0), log(1), finish(), node.start(SECOND), log(0), finish())
    said = end(node.launch(), *both)
    assert is_kept(node, said, reason), said
    assert server.count("Viewer") - before == (0 if mood in ("down", "no key") else 1)
    assert not server.runs


def test_a_server_that_dies_in_mid_run_costs_no_row(node: Node) -> None:
    process = node.launch()
    tell(process, node.start(), *map(log, range(5)))
    wait_for(lambda: node.has_rows(1))
    node.server.down()
    tell(process, *map(log, range(5, 20)), finish())
    said = end(process, node.start(SECOND), log(0), finish())
    assert "does not take the end of a run" in said
    assert said.count("\n") == 1
    node.server.up()
    home = node.came_home()
    assert (home[FIRST].rows, home[FIRST].exit_code) == (20, 0)
    assert (home[SECOND].rows, home[SECOND].exit_code) == (1, 0), "it did not ask again so soon"
    assert len(node.server.runs) == 1
    assert node.on_the_node() == []


# ---- kills -----------------------------------------------------------------------------------


def test_a_killed_logger_leaves_its_run_to_the_next(node: Node) -> None:
    killed = node.launch()
    tell(killed, node.start(), *map(log, range(5)))
    wait_for(lambda: node.has_rows(5) and flushed(node) == 5)
    killed.kill()
    killed.wait(SECONDS)
    assert node.on_the_node()
    assert end(node.launch()) == ""
    torn = node.came_home()[FIRST]
    assert (torn.rows, torn.exit_code) == (5, None)
    assert node.on_the_node() == []
    assert node.run().state != "finished"


def flushed(node: Node) -> int:
    """Rows of the run that is being written on the node."""
    files = node.scratch.glob("*/wandb/run-*/*.wandb")
    return max((read(path).rows for path in files), default=0)


def test_sigterm_is_a_kill_unless_the_referee_says_how_it_ended(node: Node) -> None:
    """Both were told; what was logged counts."""
    killed, ended = node.launch(), node.launch()
    tell(killed, node.start(FIRST), *map(log, range(5)))
    tell(ended, node.start(SECOND), *map(log, range(5)))
    wait_for(lambda: node.has_rows(1, FIRST) and node.has_rows(1, SECOND))
    for process in (killed, ended):
        process.terminate()
    tell(ended, log(5), finish())
    assert (killed.wait(SECONDS), ended.wait(SECONDS)) == (0, 0)
    first, second = node.run(FIRST), node.run(SECOND)
    assert (first.state, first.exit_code, steps(first)) == ("failed", 143, [*range(5)])
    assert "bpb" not in first.summary
    assert (second.state, second.exit_code, steps(second)) == ("finished", 0, [*range(6)])
    assert second.summary["bpb"] == 1.25
    assert node.came_home() == {}
    assert node.on_the_node() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_wandb_may_be_killed_in_mid_run(node: Node, number: signal.Signals) -> None:
    """As Slurm does, whose signals go to every process of a job: the next run is as any other."""
    process = node.launch()
    tell(process, node.start(), *map(log, range(5)))
    wait_for(lambda: node.has_rows(5) and flushed(node) == 5)
    [core] = cores(process)
    kill(core, number)
    wait_for(lambda: core not in cores(process))
    tell(process, log(5), finish())
    assert end(process, node.start(SECOND), log(0), finish()) == ""
    [(name, torn)] = node.came_home().items()
    assert (name, torn.rows, torn.exit_code) == (FIRST, 5, None)
    assert node.run().state != "finished"
    assert (node.run(SECOND).state, steps(node.run(SECOND))) == ("finished", [0])
    ours = [path for path in node.on_the_node() if path.name.startswith("autoresearch-")]
    assert ours == [], "what remains is the empty folder of a socket, if wandb could not clear up"


# ---- results that nothing but W&B brings home ------------------------------------------------

SEALED = {"result": '{"bpb": 1.25}\n', "signature": "s" * 64}


def test_a_result_is_delivered_when_the_server_is_back(node: Node) -> None:
    process = node.launch()
    tell(process, node.start(home="", mode="online"), *map(log, range(3)))
    wait_for(lambda: node.has_rows(1))
    node.server.down()
    tell(process, finish(**SEALED))
    hang_up(process)
    assert process.stderr
    line = process.stderr.readline().decode()
    assert "does not take the end of a run" in line
    assert line.endswith("; runs are kept on this node until it answers\n")
    node.server.up()
    assert process.wait(SECONDS) == 0
    assert process.stderr.read() == b""
    assert is_delivered(node.run())
    assert node.came_home() == {}
    assert node.on_the_node() == []


def is_delivered(run: Run) -> bool:
    held = {key: run.summary.get(key) for key in SEALED}
    return (held, run.state, run.exit_code) == (SEALED, "finished", 0)


def test_a_result_is_delivered_though_wandb_has_died(node: Node) -> None:
    process = node.launch()
    tell(process, node.start(home=""), *map(log, range(3)))
    wait_for(lambda: node.has_rows(3))
    for core in cores(process):
        kill(core, signal.SIGTERM)
    wait_for(lambda: not cores(process))
    other = SEALED | {"signature": "t" * 64}
    end(process, finish(**SEALED), node.start(SECOND, home=""), log(0), finish(**other))
    assert is_delivered(node.run())
    assert steps(node.run()) == [0, 1, 2]
    assert node.run(SECOND).summary["signature"] == other["signature"]
    assert node.came_home() == {}
    assert node.on_the_node() == []


def test_a_result_is_delivered_though_the_server_was_down_all_along(node: Node) -> None:
    node.server.down()
    process = node.launch()
    tell(process, node.start(home=""), log(0), finish(**SEALED))
    assert process.stderr
    assert b"cannot be reached" in process.stderr.readline()
    hang_up(process)
    node.server.up()
    assert process.wait(SECONDS) == 0
    assert is_delivered(node.run())
    assert node.on_the_node() == []
