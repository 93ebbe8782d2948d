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
    scratch.home = campaign / "wandb"
    write_run(scratch)
    scratch.bring_home()
    home = campaign / "wandb"
    assert [str(path.relative_to(home)) for path in sorted(home.rglob("*"))] == [
        "offline-run-1-a",
        "offline-run-1-a/run-a.wandb",
    ]
    assert not list((scratch.path / "wandb").iterdir())
    scratch.remove()


def test_a_move_that_was_cut_short_is_done_again(campaign: Path) -> None:
    """Killed while it copied, or after the copy was complete but before the original was gone."""
    scratch = Scratch.create()
    scratch.home = home = campaign / "wandb"
    (home / ".offline-run-1-a").mkdir(parents=True)
    (home / ".offline-run-1-a" / "run-a.wandb").write_bytes(b":")
    write_run(scratch)
    scratch.bring_home()
    write_run(scratch)
    scratch.bring_home()
    assert [path.name for path in home.iterdir()] == ["offline-run-1-a"]
    assert (home / "offline-run-1-a" / "run-a.wandb").read_bytes() == b":W&B"
    scratch.remove()


def test_a_campaign_that_is_gone_takes_nothing(tmp_path: Path) -> None:
    scratch = Scratch.create()
    scratch.home = tmp_path / "gone" / "wandb"
    write_run(scratch)
    scratch.bring_home()
    assert not (tmp_path / "gone").exists()
    scratch.remove()


def test_wandb_is_kept_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"WANDB_API_KEY": "k", "WANDB_MODE": "online", "HOME": "/h"})
    isolate(tmp_path)
    assert "k" not in os.environ.values()
    assert {name for name in os.environ if "DIR" not in name} == {"HOME", "WANDB_ERROR_REPORTING"}
    assert os.environ["WANDB_CONFIG_DIR"].startswith(str(tmp_path))
    assert tempfile.gettempdir() == str(tmp_path)
