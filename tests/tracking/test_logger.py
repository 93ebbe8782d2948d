"""The W&B logger as the referee starts it: a real process, real offline runs, read back."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from autoresearch.errors import RecordError
from autoresearch.tracking.logger import events
from autoresearch.tracking.naming import run_id

COMMAND = [sys.executable, "-P", "-m", "autoresearch.tracking.logger"]
SECRET = "k" * 40
SECONDS = 60


# ---- what a .wandb file says -----------------------------------------------------------------


@dataclass
class Record:
    """One offline run as written. `exit_code` is None if it has no end."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def payloads(data: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log with a 7-byte header; a torn tail ends it quietly."""
    assert data[:7] == struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
    at, parts = 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + 7 : at + 7 + length]
        if kind == 0 or len(part) < length:
            return
        assert zlib.crc32(bytes([kind]) + part) == checksum
        at, parts = at + 7 + length, parts + part
        if kind in (1, 4):  # whole, or the last piece
            yield parts
            parts = b""


def items(updates: Any) -> dict[str, Any]:
    return {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in updates}


def read_run(path: Path) -> Record:
    record = Record()
    for payload in payloads(path.read_bytes()):
        message = wandb_internal_pb2.Record.FromString(payload)  # type: ignore[attr-defined]
        match message.WhichOneof("record_type"):
            case "run":
                run = message.run
                record.run = {
                    "id": run.run_id,
                    "project": run.project,
                    "group": run.run_group,
                    "job_type": run.job_type,
                    "tags": list(run.tags),
                }
                record.config |= items(run.config.update)
            case "config":
                record.config |= items(message.config.update)
            case "history":
                record.history.append(items(message.history.item))
            case "summary":
                record.summary |= items(message.summary.update)
            case "exit":
                record.exit_code = message.exit.exit_code
    return record


# ---- the referee's part ----------------------------------------------------------------------


@dataclass
class Site:
    """A campaign directory, and a node with its own temporary folder."""

    campaign: Path
    node: Path
    launched: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, experiment: str = "a" * 12, **tracker: str) -> dict[str, Any]:
        return {
            "event": "start",
            "run": {
                "campaign": "night",
                "experiment": experiment,
                "attempt": 1,
                "tier": "screen",
                "config": {"parameters": {"lr": 0.04, "depth": 8}, "note": "größer"},
            },
            "dir": str(self.campaign / "wandb"),
            "tracker": {"kind": "wandb", "mode": "offline", "project": "p", "entity": ""} | tracker,
        }

    def launch(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "HOME": "/proc/nowhere",
            "TMPDIR": str(self.node),
            "WANDB_API_KEY": SECRET,
            "WANDB_MODE": "online",
            "WANDB_BASE_URL": "http://127.0.0.1:9",
            "PYTHONWARNINGS": "error",
        }
        process = subprocess.Popen(
            COMMAND, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.launched.append(process)
        return process

    def folders(self) -> list[Path]:
        return sorted(p for p in (self.campaign / "wandb").glob("*") if p.is_dir())

    def read(self) -> dict[str, Record]:
        """Every run that came home, by id."""
        files = [path for folder in self.folders() for path in folder.glob("*.wandb")]
        assert len(files) == len(self.folders())
        return {path.stem.removeprefix("run-"): read_run(path) for path in files}

    def on_the_node(self) -> list[Path]:
        """The .wandb files on the node that hold a record; `latest-run` links to one of them."""
        files = self.node.glob("*/wandb/offline-run-*/*.wandb")
        return [path for path in files if path.stat().st_size > 7]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "campaign", tmp_path / "node")
    site.campaign.mkdir()
    site.node.mkdir()
    yield site
    for process in site.launched:
        process.kill()
        process.communicate()


def log(step: int) -> dict[str, Any]:
    return {"event": "log", "step": step, "values": {"loss": 1 / (step + 1)}}


def finish(exit_code: int = 0) -> dict[str, Any]:
    return {"event": "finish", "summary": {"bpb": 1.25}, "exit_code": exit_code}


def encode(*sent: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in sent)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def wait_until_flushed(site: Site) -> None:
    wait_for(lambda: any(len(read_run(p).history) == 5 for p in site.on_the_node()))


def test_finished_runs_come_home_complete(site: Site) -> None:
    """Two runs through one process: the second needs no new start of wandb."""
    sent = [site.start("a" * 12), *map(log, range(5)), finish()]
    sent += [site.start("b" * 12), log(0), finish(1)]
    process = site.launch()
    _, errors = process.communicate(encode(*sent), timeout=SECONDS)
    assert (process.returncode, errors) == (0, b"")

    runs = site.read()
    first = runs[run_id("night", "a" * 12, 1)]
    assert first.run == {
        "id": run_id("night", "a" * 12, 1),
        "project": "p",
        "group": "night",
        "job_type": "screen",
        "tags": ["screen"],
    }
    assert first.config["parameters"] == {"lr": 0.04, "depth": 8}
    assert first.config["note"] == "größer"
    assert [(row["_step"], row["loss"]) for row in first.history] == [
        (step, 1 / (step + 1)) for step in range(5)
    ]
    assert first.summary["bpb"] == 1.25
    assert first.exit_code == 0
    assert runs[run_id("night", "b" * 12, 1)].exit_code == 1

    assert all(folder.name.startswith("offline-run-") for folder in site.folders())
    assert all(len(list(folder.iterdir())) == 1 for folder in site.folders()), "inodes are scarce"
    assert not list(site.node.iterdir())


def test_nothing_secret_is_written(site: Site) -> None:
    process = site.launch()
    process.communicate(encode(site.start(), log(0), finish()), timeout=SECONDS)
    [folder] = site.folders()
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"loss" in written
    assert SECRET.encode() not in written
    assert COMMAND[-1].encode() not in written


@pytest.mark.parametrize("tail", [b"", b'{"event": "finish", "summary": {}, "exit_'])
def test_the_end_of_input_is_a_kill(site: Site, tail: bytes) -> None:
    """A referee that dies, even in the middle of a line, leaves no run that looks finished."""
    process = site.launch()
    process.communicate(encode(site.start(), *map(log, range(5))) + tail, timeout=SECONDS)
    [run] = site.read().values()
    assert (len(run.history), run.exit_code) == (5, 143)


def test_sigterm_is_a_kill_and_ctrl_c_is_not(site: Site) -> None:
    process = site.launch()
    assert process.stdin
    process.stdin.write(encode(site.start(), *map(log, range(5))))
    process.stdin.flush()
    wait_until_flushed(site)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    [run] = site.read().values()
    assert (len(run.history), run.exit_code) == (5, 143)


def test_what_was_sent_before_sigterm_still_counts(site: Site) -> None:
    """The referee says how the attempt ended, then is gone before the logger has read it."""
    process = site.launch()
    assert process.stdin
    process.stdin.write(encode(site.start(), *map(log, range(5))))
    process.stdin.flush()
    wait_until_flushed(site)
    process.send_signal(signal.SIGSTOP)
    process.stdin.write(encode(log(5), finish()))
    process.stdin.flush()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(SECONDS) == 0
    [run] = site.read().values()
    assert (len(run.history), run.exit_code) == (6, 0)


def test_a_loss_that_is_no_number_is_no_end(site: Site) -> None:
    odd = {"event": "log", "step": 0, "values": {"loss": float("nan"), "lr": float("inf")}}
    failed = {"event": "finish", "summary": {"bpb": None, "failure": "diverged"}, "exit_code": 1}
    process = site.launch()
    _, errors = process.communicate(encode(site.start(), odd, failed), timeout=SECONDS)
    assert (process.returncode, errors) == (0, b"")
    [run] = site.read().values()
    assert run.summary["failure"] == "diverged"
    assert run.summary["bpb"] is None
    assert (len(run.history), run.exit_code) == (1, 1)


def test_the_runs_of_a_killed_logger_are_brought_home_by_the_next(site: Site) -> None:
    killed = site.launch()
    assert killed.stdin
    killed.stdin.write(encode(site.start("a" * 12), *map(log, range(5))))
    killed.stdin.flush()
    wait_until_flushed(site)
    alive = site.launch()
    assert alive.stdin
    alive.stdin.write(encode(site.start("b" * 12), *map(log, range(5))))
    alive.stdin.flush()
    wait_for(lambda: len(site.on_the_node()) == 2)
    killed.kill()
    killed.wait(SECONDS)

    later = site.launch()
    later.communicate(b"", timeout=SECONDS)
    assert later.returncode == 0
    [torn] = site.read().values()
    assert (torn.run["id"], torn.exit_code) == (run_id("night", "a" * 12, 1), None)
    assert len(torn.history) == 5

    alive.communicate(encode(finish()), timeout=SECONDS)
    assert site.read()[run_id("night", "b" * 12, 1)].exit_code == 0
    assert not list(site.node.iterdir())


def test_a_campaign_that_cannot_be_written_costs_no_run(site: Site) -> None:
    (site.campaign / "wandb").write_text("in the way")
    process = site.launch()
    _, errors = process.communicate(encode(site.start(), log(0), finish()), timeout=SECONDS)
    assert process.returncode == 1
    assert errors.startswith(b"W&B logger: [Errno")
    assert errors.count(b"\n") == 1
    (site.campaign / "wandb").unlink()
    site.launch().communicate(b"", timeout=SECONDS)
    [run] = site.read().values()
    assert run.exit_code == 0


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"nonsense\n", "a W&B event should be a line of JSON"),
        (
            encode(Site(Path("/c"), Path("/n")).start(kind="files")),
            "should get tracker 'wandb', but got files",
        ),
    ],
)
def test_what_it_cannot_do_is_one_line(site: Site, sent: bytes, message: str) -> None:
    process = site.launch()
    _, errors = process.communicate(sent, timeout=SECONDS)
    assert process.returncode == 1
    assert message in errors.decode()
    assert errors.count(b"\n") == 1


def test_events_are_objects(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b'{"event": "log"}\n[1]\n')
    with path.open("rb") as stream:
        stream_events = events(stream)
        assert next(stream_events) == {"event": "log"}
        with pytest.raises(RecordError, match="should be a JSON object"):
            next(stream_events)
