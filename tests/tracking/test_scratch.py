"""The working folder on the node. Loggers that are killed for real: see test_logger."""

import os
import tempfile
from pathlib import Path

import pytest

from autoresearch.tracking.scratch import Scratch, isolate


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with its own temporary folder."""
    path = tmp_path / "node"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "campaign"
    path.mkdir()
    return path


def write_run(scratch: Scratch, name: str = "offline-run-1-a") -> None:
    folder = scratch.path / "wandb" / name
    (folder / "logs").mkdir(parents=True)
    (folder / "run-a.wandb").write_bytes(b":W&B")
    (folder / "logs" / "debug.log").write_text("much")


def belongs_to(scratch: Scratch, home: Path) -> None:
    scratch.home = home


def test_a_folder_is_an_orphan_once_its_logger_is_gone() -> None:
    scratch = Scratch.create()
    assert not list(Scratch.orphans())
    os.close(scratch.lock)  # what the kernel does when a process dies
    [orphan] = Scratch.orphans()
    assert orphan.path == scratch.path
    assert not list(Scratch.orphans()), "one logger takes it, not two"
    orphan.remove()
    assert not scratch.path.exists()


def test_what_is_not_a_scratch_folder_is_left_alone(node: Path) -> None:
    (node / f"{Scratch.prefix()}empty").mkdir()
    (node / f"{Scratch.prefix()}file").touch()
    assert not list(Scratch.orphans())
    assert len(list(node.iterdir())) == 2


def test_runs_come_home_without_their_debug_logs(campaign: Path) -> None:
    scratch = Scratch.create()
    belongs_to(scratch, campaign / "wandb")
    write_run(scratch)
    scratch.bring_home()
    home = campaign / "wandb"
    assert [str(path.relative_to(home)) for path in sorted(home.rglob("*"))] == [
        "offline-run-1-a",
        "offline-run-1-a/run-a.wandb",
    ]
    assert not list((scratch.path / "wandb").iterdir())
    scratch.remove()


def test_what_grows_here_grows_at_home(campaign: Path) -> None:
    """A copy that was cut short is completed, one that is complete is left alone."""
    scratch = Scratch.create()
    home = campaign / "wandb"
    belongs_to(scratch, home)
    write_run(scratch, "run-1-a")
    scratch.carry()
    copy = home / "offline-run-1-a" / "run-a.wandb"
    assert copy.read_bytes() == b":W&B"
    (scratch.path / "wandb" / "run-1-a" / "run-a.wandb").write_bytes(b":W&Bmore")
    copy.write_bytes(b":W")
    scratch.carry()
    scratch.carry()
    assert copy.read_bytes() == b":W&Bmore"
    scratch.bring_home()
    assert copy.read_bytes() == b":W&Bmore"
    assert [path.name for path in home.iterdir()] == ["offline-run-1-a"]
    assert not scratch.runs
    scratch.remove()


def test_runs_without_a_home_stay_until_somebody_takes_them() -> None:
    scratch = Scratch.create()
    scratch.home = None
    write_run(scratch)
    scratch.carry()
    assert [run.name for run in scratch.runs] == ["offline-run-1-a"]
    scratch.leave()
    [orphan] = Scratch.orphans()
    assert orphan.home is None
    assert orphan.runs
    orphan.remove()


def test_a_campaign_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    scratch = Scratch.create()
    belongs_to(scratch, tmp_path / "gone" / "wandb")
    write_run(scratch)
    scratch.bring_home()
    assert not (tmp_path / "gone").exists()
    scratch.remove()


def test_wandb_is_kept_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"WANDB_API_KEY": "k", "WANDB_MODE": "online", "HOME": "/h"})
    isolate(tmp_path)
    assert "k" not in os.environ.values()
    kept = {name for name in os.environ if "DIR" not in name}
    assert kept == {"HOME", "WANDB_ERROR_REPORTING", "WANDB_SILENT"}
    assert os.environ["WANDB_CONFIG_DIR"].startswith(str(tmp_path))
    assert tempfile.gettempdir() == str(tmp_path)
