"""The skill for Claude Code: its front matter, and every command in it on a real campaign.

The commands are run in the order in which they stand there, by a shell, on the shipped train.py
made tiny; where the skill says to wait, the test visits the campaign until nothing runs any more.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from bigram import write_data

from autoresearch.arguments import parser
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout, shipped
from autoresearch.lease import holder

SKILL = shipped("skills") / "autoresearch" / "SKILL.md"
NAME = "campaigns/night1"  # of the campaign, throughout the skill
KEY = "3f9c"  # what stands there for a candidate's key
PATIENCE = 300.0  # seconds

TASK = """\
name: tiny
dir: {train}
data: {{directory: {data}, vocabulary: 258, context: 16}}
budget: {{tokens: 4096}}
params: {{depth: 1, aspect_ratio: 16, head_dim: 16, total_batch_size: 128, device_batch_size: 8}}
scoring: {{rows: 16, length: 16, tokens: 2048, random: 16, challenges: 16}}
limits: {{setup_seconds: 120, token_seconds: 120, score_seconds: 120, grace_seconds: 10}}
"""
JUDGE = "{alpha: 0.05, baseline_seeds: 3, crown_seeds: 3, certify_seeds: 3}\n"


def text() -> str:
    return SKILL.read_text(encoding="utf-8")


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"(?ms)^```(bash|json)\n(.*?)^```$", text())


def commands() -> list[str]:
    """Every line that a reader may type, in order."""
    return [line for kind, block in blocks() if kind == "bash" for line in block.splitlines()]


# ---- what Claude Code reads first ----------------------------------------------------------------


def front_matter() -> dict[str, str]:
    _, head, _ = text().split("---\n", 2)
    record: dict[str, str] = yaml.safe_load(head)
    return record


def test_the_front_matter_is_what_claude_code_wants() -> None:
    head = front_matter()
    assert set(head) == {"name", "description", "allowed-tools"}
    assert head["name"] == SKILL.parent.name
    assert re.fullmatch(r"[a-z0-9-]{1,64}", head["name"])
    assert 100 < len(head["description"]) <= 1024
    assert "Use when" in head["description"]


def test_what_needs_no_permission_begins_and_ends_nothing() -> None:
    allowed = re.findall(r"Bash\(autoresearch (\w+):\*\)", front_matter()["allowed-tools"])
    assert "wave" in allowed
    assert not {"run", "resume", "stop", "step", "prepare", "doctor", "replay"} & set(allowed)


def test_it_is_short() -> None:
    assert len(text().splitlines()) < 200


def test_every_verb_it_speaks_of_exists() -> None:
    spoken = re.findall(r"`autoresearch (\w+)", text())
    assert spoken
    for verb in spoken:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([verb, "--help"])
        assert ended.value.code == 0


# ---- every command -------------------------------------------------------------------------------


@dataclass
class Story:
    """The skill, followed from top to bottom."""

    root: Path
    done: list["subprocess.CompletedProcess[str]"] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(self.root / NAME)

    @property
    def history(self) -> History:
        return History.of(replay(self.layout.journal).events)

    def follow(self) -> None:
        for kind, block in blocks():
            if kind == "json":
                (self.root / "wave.json").write_text(block, encoding="utf-8")
                continue
            for line in block.splitlines():
                self.done.append(self.type(line))
                assert self.done[-1].returncode == 0, (line, self.done[-1].stderr)
                self.wait(line)

    def type(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Have a shell run it. Through files: what goes on in the background keeps pipes open."""
        here = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        out, err = (self.root / f"{len(self.done)}.{name}" for name in ("out", "err"))
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                ["bash", "-c", line.replace(KEY, self.candidate())],
                cwd=self.root,
                env=here,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                check=False,
            )
        return subprocess.CompletedProcess(line, done.returncode, out.read_text(), err.read_text())

    def candidate(self) -> str:
        """One that is neither champion nor baseline and has a score, if there is one."""
        if not self.layout.journal.exists():
            return KEY
        groups = self.history.screened()
        scored = [key for key, entries in groups.items() if any(e.bpb for e in entries)]
        return scored[-1] if scored else KEY

    def status(self) -> dict[str, Any]:
        done = self.type(f"autoresearch status {NAME} --json")
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def wait(self, line: str) -> None:
        """As the skill says after what starts something."""
        deadline = time.monotonic() + PATIENCE
        verb = line.split()[1]
        if line.endswith("&"):
            while not self.status()["controller"] and time.monotonic() < deadline:
                time.sleep(0.5)
        elif verb == "stop":
            while self.status()["state"] != "ended" and time.monotonic() < deadline:
                time.sleep(0.5)
        elif verb in ("run", "step", "promote", "wave") and "--" not in line.replace("--leave", ""):
            while not self.is_idle() and time.monotonic() < deadline:
                self.type(f"autoresearch step {NAME} --json")
        assert time.monotonic() < deadline, line

    def is_idle(self) -> bool:
        """Whether nothing runs, waits or is due. A test or the end may be due once a run is in."""
        before = self.history
        if before.active or list(self.layout.waves.glob("*.json")):
            return False
        self.type(f"autoresearch step {NAME}")
        return not self.history.active and bool(before.ended or not before.search_ended)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    root = tmp_path_factory.mktemp("skill")
    write_data(root / "data")
    conf = {"task/tiny": TASK.format(train=shipped("train"), data=root / "data")}
    for name, content in {**conf, "judge/default": JUDGE}.items():
        path = root / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    story = Story(root)
    try:
        story.follow()
        yield story
    finally:
        controller = holder(story.layout.lease)
        if controller is not None and controller.is_alive:
            os.kill(controller.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", range(len(commands())), ids=lambda n: commands()[n][:60])
def test_every_command_works(story: Story, number: int) -> None:
    done = story.done[number]
    assert done.args == commands()[number]
    assert done.returncode == 0, done.stderr


def test_every_answer_that_is_json_is_one_object(story: Story) -> None:
    answers = [done.stdout for done in story.done if "--json" in str(done.args)]
    assert answers
    assert all(json.loads(answer)["schema"] == 1 for answer in answers)


def test_its_wave_was_run_with_what_it_says(story: Story) -> None:
    history = story.history
    wave = next(wave for wave, _ in history.waves if wave.proposals)
    (wanted,) = (json.loads(block) for kind, block in blocks() if kind == "json")
    assert wave.hypothesis == wanted["hypothesis"]
    assert [p.expected for p in wave.proposals] == [e["expected"] for e in wanted["experiments"]]
    (version,) = wave.versions
    assert version.message == wanted["experiments"][-1]["description"]
    tried = [entry for entries in history.screened().values() for entry in entries]
    assert all(entry.bpb is not None for entry in tried)
    assert version.program in {entry.experiment.candidate.program for entry in tried}


def test_its_notes_are_in_the_notebook(story: Story) -> None:
    texts = [note.text for note in story.history.notes]
    assert len(texts) == 2
    assert "sigma" in texts[-1]


def test_what_it_promoted_met_the_champion(story: Story) -> None:
    history = story.history
    (promoted,) = history.promoted
    assert promoted in [test.challenger for test in history.crowns]


def test_it_went_on_after_its_end_and_was_stopped(story: Story) -> None:
    assert story.history.amendments == ["budget.experiments=80"]
    assert story.history.ended == "stopped by request"
