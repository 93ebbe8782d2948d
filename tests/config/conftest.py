"""A working directory with a small task and a conf/ of its own, as a user would have it."""

from pathlib import Path

import pytest

TASK = """\
name: tiny
dir: train
data: {directory: null, vocabulary: 1024, context: 128}
budget: {tokens: 100_000}
params: {depth: 2}
"""

SEARCH = """\
space:
  matrix_lr: tag(log, interval(0.01, 0.1))
  heads: choice(2,4)
rungs: [1, 2]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: train/train.py, conf/task/tiny.yaml, conf/search/tiny.yaml."""
    write(tmp_path / "train/train.py", "class Config: ...\n")
    write(tmp_path / "conf/task/tiny.yaml", TASK)
    write(tmp_path / "conf/search/tiny.yaml", SEARCH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
