"""The watcher as a controller starts it: a real process, beside a campaign and a local server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tracked import ROWS, Tracked, make, netrc, result_of
from wandb_runs import Run
from wandb_server import WandbServer

from autoresearch.experiment import Json
from autoresearch.layout import read_json
from autoresearch.mirror.sync import pending
from autoresearch.mirror.watching import COMMAND
from autoresearch.node import kernel
from autoresearch.node.signature import make_key, read_key, sign

# What a controller is to its watcher, until somebody kills it.
CONTROLLER = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@dataclass
class Night:
    """A campaign, its server, and a home with a key; watchers end with the test."""

    campaign: Tracked
    server: WandbServer
    folder: Path
    launched: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
        return {
            **ours,
            "HOME": str(self.folder / "home"),
            "NETRC": str(netrc(self.folder, self.server)),
            "TMPDIR": str(self.folder / "tmp"),
        }

    @property
    def command(self) -> list[str]:
        return [*COMMAND, str(self.campaign.layout.root)]

    def watch(self) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command, env=self.environment, stdin=pipe, stderr=pipe)
        self.launched.append(process)
        return process

    def finish(self, watcher: "subprocess.Popen[bytes]") -> None:
        """As a controller does that has ended."""
        _, complaint = watcher.communicate(timeout=120)
        assert (watcher.returncode, complaint) == (0, b"")
        assert not list((self.folder / "tmp").iterdir()), "nothing is left on the login node"

    def said(self) -> Json:
        return read_json(self.campaign.layout.watched) or {}

    def wait(self, condition: Callable[[Json], object], seconds: float = 90) -> Json:
        until = time.monotonic() + seconds
        while not condition(self.said()):
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)
        return self.said()

    def leave(self, *ids: str) -> None:
        """Runs that a node without a network has brought into the campaign."""
        settings = self.campaign.settings
        offline = replace(settings.tracker, mode="offline")
        self.campaign.settings = replace(settings, tracker=offline)
        self.campaign.write_runs(ids)
        self.campaign.settings = settings

    def carry(self, id: str, state: str = "finished", **changes: object) -> None:
        """A run as a node leaves it where W&B carries results."""
        text = json.dumps(result_of(self.campaign.entries[id]).to_json(), indent=1) + "\n"
        signature = sign(read_key(self.campaign.layout.key), text)
        entry = self.campaign.entries[id]
        summary = {"bpb": entry.bpb, "failure": None, "result": text, "signature": signature}
        name = f"{entry.experiment.id}-1"
        run = Run("", "", id, name=name, group="test", state=state, summary=summary | changes)
        self.server.seed("researcher", "p", [run])

    def has_secret(self, *secrets: bytes) -> list[Path]:
        """The files of the campaign that hold one; but for its own key."""
        root, key = self.campaign.layout.root, self.campaign.layout.key
        files = [path for path in root.rglob("*") if path.is_file() and path != key]
        return [path for path in files if any(s in path.read_bytes() for s in secrets)]


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    with WandbServer() as server:
        campaign = make(tmp_path / "campaign", server.url)
        tracker = replace(campaign.settings.tracker, mode="auto", poll_seconds=0.2)
        campaign.settings = replace(campaign.settings, tracker=tracker)
        campaign.node.write(campaign.layout.node_settings)
        campaign.layout.key.parent.mkdir(exist_ok=True)
        make_key(campaign.layout.key)
        night = Night(campaign, server, tmp_path)
        yield night
        for process in night.launched:
            for pid in [*kernel.tree(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def carried(night: Night) -> Night:
    """Nothing but W&B brings results home: two attempts are claimed, none has a result here."""
    made = night.campaign
    made.settings = replace(made.settings, cluster=replace(made.settings.cluster, results="wandb"))
    made.node.write(made.layout.node_settings)
    for entry in made.entries.values():
        made.layout.result(entry.current).unlink()
        made.layout.claim(entry.current).touch()
    return night


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- where W&B carries results ---------------------------------------------------------------


def test_results_are_taken_in_and_edited_ones_are_not(carried: Night) -> None:
    server, layout = carried.server, carried.campaign.layout
    good, edited, failed = carried.campaign.entries
    paths = {id: layout.result(entry.current) for id, entry in carried.campaign.entries.items()}
    carried.carry(good, "running", loss=2.5, _step=7, tokens_per_second=1e6, note="about")
    server.run(good).summary.pop("result")
    whole = server.run(good).summary.copy()
    carried.carry(edited)
    server.tamper(edited, result=server.run(edited).summary["result"].replace("1.2", "0.2"))
    watcher = carried.watch()

    said = carried.wait(lambda said: said.get("refused"))
    assert said["refused"] == {edited: "its result does not carry the referee's signature"}
    lost = json.loads(paths[edited].read_text())
    assert (lost["bpb"], lost["failure"]) == (None, "node_failed")
    assert said["states"] == {"running": 1, "finished": 1}
    name = server.run(good).name
    assert said["running"] == {name: {"loss": 2.5, "_step": 7, "tokens_per_second": 1e6}}
    assert not paths[good].exists()

    carried.carry(good)
    text = server.run(good).summary["result"]
    assert server.run(good).summary["signature"] == whole["signature"]
    carried.wait(lambda _: paths[good].exists())
    assert paths[good].read_text() == text
    server.tamper(good, bpb=0.1, result="{}")
    carried.wait(lambda said: said["states"] == {"finished": 2} and not said["running"])

    # The last turn finds what was edited, and what is missing, and puts it right.
    polled = carried.said()["polled"]
    carried.finish(watcher)
    said = carried.said()
    assert paths[good].read_text() == text
    assert said["polled"] > polled
    assert [said["schema"], said["problem"], said["unsent"]] == [1, "", 0]
    assert f"{good} has bpb 0.1 at W&B, but 1.101 here" in said["differences"]
    assert f"{failed} is missing at W&B" in said["differences"]
    assert server.run(good).summary["bpb"] == 1.101
    assert server.run(failed).state == "failed"
    signing = layout.key.read_bytes().strip()
    assert carried.has_secret(server.key.encode(), signing) == []
    assert signing.decode() not in json.dumps([r.variables for r in server.requests], default=str)


# ---- what nodes could not send ---------------------------------------------------------------


def test_what_nodes_left_is_sent_and_what_is_missing_is_sent_again(night: Night) -> None:
    server, made = night.server, night.campaign
    first, second, lost = made.entries
    night.leave(first, second)
    watcher = night.watch()
    night.wait(lambda said: said.get("polled") and not pending(made.layout))
    said = night.wait(lambda said: said["states"] == {"finished": 2})
    assert (said["unsent"], said["refused"], said["differences"]) == (0, {}, [])
    assert all(len(server.run(id).history) == ROWS for id in (first, second))
    assert len(server.runs) == 2

    server.forget(second)
    night.finish(watcher)
    assert night.said()["differences"] == [f"{id} is missing at W&B" for id in (second, lost)]
    assert server.run(lost).summary["failure"] == "diverged"
    assert server.run(second).summary["bpb"] == made.entries[second].bpb
    assert [run.creations for run in server.runs.values()] == [1, 1, 1]
    keys = "schema written polled problem states running unsent differences refused"
    assert list(night.said()) == keys.split()
    assert night.has_secret(server.key.encode(), made.layout.key.read_bytes().strip()) == []


@pytest.mark.parametrize(("count", "runs"), [(1, "1 run"), (2, "2 runs")])
def test_what_the_server_does_not_take_is_noted(night: Night, count: int, runs: str) -> None:
    """It is tried again at every turn, and again by the next watcher."""
    left = list(night.campaign.entries)[:count]
    night.leave(*left)
    night.server.fail("file_stream", status=400, times=999)
    watcher = night.watch()
    said = night.wait(lambda said: said.get("problem"))
    assert said["problem"] == f"{runs} could not be sent: Fatal error while uploading data"
    assert said["unsent"] == count
    night.server.heal()
    said = night.wait(lambda said: not said["problem"] and not said["unsent"])
    assert all(len(night.server.run(id).history) == ROWS for id in left)
    watcher.kill()


# ---- a server that is away -------------------------------------------------------------------


def test_a_server_that_is_away_is_noted_and_costs_little(night: Night) -> None:
    server = night.server
    server.down()
    watcher = night.watch()
    said = night.wait(lambda said: said)
    assert said["polled"] == 0
    assert said["problem"] == (
        f"W&B should answer, but {server.url} cannot be reached ([Errno 111] Connection refused)"
    )
    assert kernel.tree(watcher.pid) == [], "wandb's own process is not there"
    assert "/wandb/" not in Path(f"/proc/{watcher.pid}/maps").read_text()

    server.up()
    polled = night.wait(lambda said: said["polled"] and not said["problem"])["polled"]
    assert "wandb-core" in b"".join(map(kernel_name, kernel.tree(watcher.pid))).decode()
    server.key = "n" * 40
    said = night.wait(lambda said: said["problem"])
    assert said["polled"] >= polled
    polled = said["polled"]
    said = night.wait(lambda said: "does not accept the key" in said["problem"])
    assert said["polled"] == polled, "it stays when the last answer came"
    assert kernel.tree(watcher.pid) == [], "while nobody answers nothing waits"
    night.finish(watcher)
    assert "does not accept the key" in night.said()["problem"]


def kernel_name(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_watcher_without_a_key_says_so(night: Night) -> None:
    night.server.key = ""
    watcher = night.watch()
    said = night.wait(lambda said: said)
    assert "there is no key for 127.0.0.1" in said["problem"]
    night.finish(watcher)
    assert night.server.count() == 0


def test_a_killed_controller_ends_its_watcher(night: Night) -> None:
    pipe = subprocess.PIPE
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *night.command], env=night.environment, stdout=pipe
    )
    night.launched.append(controller)
    assert controller.stdout
    watcher = int(controller.stdout.readline())
    try:
        night.wait(lambda said: said.get("polled"))
        assert is_alive(watcher)
        written = night.said()["written"]
        controller.kill()
        night.wait(lambda _: not is_alive(watcher))
        assert night.said()["written"] > written
        assert len(night.server.runs) == 3, "it had a last turn"
    finally:
        if is_alive(watcher):
            os.kill(watcher, signal.SIGKILL)
