"""Whatever a program does wrong is a named failure with a one-line cause, and the campaign goes on.

One real campaign whose space is a list of ways to fail.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bigram import PROGRAM, write_task

from autoresearch.entry import Entry
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.report.results import COLUMNS

FAULTS = """

def misbehave(config, where):
    import os, signal, sys, time
    fault = config.fault if config.fault.startswith(where) else ""
    if fault.endswith("raise"):
        raise RuntimeError("I was told to")
    if fault.endswith("hang"):
        time.sleep(3600)
    if fault.endswith("print"):
        line = "x" * 999 + "\\n"
        for _ in range(1_000_000):
            sys.stdout.write(line)
    if fault.endswith("memory"):
        hoard = [bytearray(os.urandom(1 << 20)) for _ in range(4096)]
    if fault.endswith("segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return fault
"""

# Right while it trains: only who scores it sees the wrong shape.
NARROW = """
class Narrow(Bigram):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits if self.training else logits[..., :3]
"""

BROKEN = (
    PROGRAM.replace(
        "    batch: int = 8  # rows per step\n",
        "    batch: int = 8  # rows per step\n    fault: str = 'none'\n",
    )
    .replace(
        "def build(config):\n",
        FAULTS.strip() + "\n\n\ndef build(config):\n    misbehave(config, 'build')\n"
        "    if config.fault == 'wrong shape':\n"
        "        return Narrow(config)\n",
    )
    .replace("def build(config):\n", NARROW.strip() + "\n\n\ndef build(config):\n")
    .replace("    run.ready()\n", "    misbehave(config, 'setup')\n    run.ready()\n")
    .replace(
        "        run.log(loss=loss.item())\n",
        "        run.log(loss=loss.item() if config.fault != 'loss not finite' else float('nan'))\n"
        "    misbehave(config, 'end')\n",
    )
)

EXPECTED = {
    "build raise": ("crashed", "I was told to"),
    "build segfault": ("crashed", "SIGSEGV"),
    "wrong shape": ("crashed", "logits should be"),
    "setup hang": ("setup_timeout", ""),
    "setup memory": ("out_of_memory", ""),
    "setup print": ("crashed", "printed"),
    "end hang": ("overran", ""),
    "loss not finite": ("diverged", ""),
}

OVERRIDES = [
    "name=faults",
    "task=bigram",
    "search=bigram",
    "planner=factorial",
    "~search.space.rate",
    "~search.space.scale",
    "search.space.fault='choice(none," + ",".join(EXPECTED) + ")'",
    "search.rungs=[1]",
    "budget.experiments=40",
    "judge=quick",
    "task.limits.setup_seconds=45",
    "task.limits.token_seconds=25",
    "task.limits.memory_gb=1.5",
    "task.limits.output_mb=4",
    "pilot.poll_seconds=0.1",
    "cluster.poll_seconds=0.2",
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("faults")
    write_task(root, program=BROKEN)
    layout = Layout(root / "campaign")
    command = [sys.executable, "-P", "-m", "autoresearch", "run", f"dir={layout.root}", *OVERRIDES]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return layout


@pytest.fixture(scope="module")
def by_fault(campaign: Layout) -> dict[object, Entry]:
    history = History.of(replay(campaign.journal).events)
    assert history.ended
    return {group[0].experiment.candidate.overrides["fault"]: group[0]
            for group in history.screened().values()}  # fmt: skip


@pytest.mark.parametrize("fault", EXPECTED)
def test_each_fault_has_its_name_and_a_one_line_cause(
    by_fault: dict[object, Entry], fault: str
) -> None:
    failure, words = EXPECTED[fault]
    result = by_fault[fault].result
    assert result is not None
    assert (result.failure, result.bpb) == (failure, None)
    assert words in result.reason
    assert result.reason
    assert "\n" not in result.reason


def test_the_campaign_measured_its_baseline_all_the_same(campaign: Layout) -> None:
    history = History.of(replay(campaign.journal).events)
    assert len(history.scores(history.baseline, history.screen)) == 3
    assert history.champion == history.baseline


def test_a_log_of_a_program_that_prints_too_much_is_small(
    campaign: Layout, by_fault: dict[object, Entry]
) -> None:
    log = campaign.log(by_fault["setup print"].current)
    assert log.stat().st_size < 1 << 20


def test_failures_are_in_the_table_without_a_number(campaign: Layout) -> None:
    lines = (campaign.report / "results.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines[1:]]
    failed = [row for row in rows if row["failure"]]
    assert len(failed) == len(EXPECTED)
    assert all(row["val_bpb"] == "" and row["status"] == "crash" for row in failed)


def test_result_json_is_as_documented(campaign: Layout, by_fault: dict[object, Entry]) -> None:
    record = json.loads(
        campaign.result(by_fault["loss not finite"].current).read_text(encoding="utf-8")
    )
    documented = Path(__file__).parents[2] / "docs" / "formats.md"
    text = documented.read_text(encoding="utf-8")
    assert all(f"`{key}`" in text for key in record)
