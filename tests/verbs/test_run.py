"""How a campaign begins at the command line: the user's own program is looked at, and taken."""

import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from bigram import PROGRAM, write_task

OVERRIDES = ("task=bigram", "search=bigram", "judge=quick", "budget.experiments=28", "dir=c")
CARELESS = PROGRAM.replace("import torch\n", "import os\nimport torch\n", 1)
SAID = "line 5 imports os: a program reads and writes no files"
TAKEN = "taken all the same, the baseline's train.py breaks a rule:"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_task(tmp_path, program=CARELESS)
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "autoresearch", *words]


def told(root: Path, *words: str) -> list[str]:
    """What `run` tells before the first line of its progress; then its controller leaves."""
    run = command("run", *OVERRIDES, *words)
    with subprocess.Popen(run, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = takewhile(lambda line: " asked " not in line, process.stderr)
        said = [line.rstrip() for line in lines]
        process.terminate()
    return said


def test_what_the_baseline_does_is_told_once_and_the_campaign_begins(root: Path) -> None:
    try:
        campaign = f"campaign {root}/c"
        assert told(root) == [f"autoresearch: {TAKEN} {SAID}", campaign]
        subprocess.run(command("stop", "c", "--now"), cwd=root, check=True, capture_output=True)
        assert told(root, "--continue")[0] == campaign
    finally:
        subprocess.run(command("step", "c"), cwd=root, check=True, capture_output=True)
