"""A night with every kind of secret in the user's environment, and a look for them everywhere.

Claude and W&B, both local servers, are used with their keys: there is something to leak.
"""

import gzip
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bigram import write_task
from claude_server import ClaudeServer
from leaks import NOSY, ROLES, SENTINELS, Leaks, Watch, environment, nosy
from scientists import story
from wandb_server import WandbServer

from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout
from autoresearch.node import sandbox

RATE = "config.rate * 100 *"
VARIANTS = [
    ("a rate of less", [{"search": RATE, "replace": "config.rate * 90 *"}]),
    ("a rate of more", [{"search": RATE, "replace": "config.rate * 110 *"}]),
]
STORY = story(VARIANTS, [{"rate": 0.9}, {"rate": 1.1}], "scale")
OVERRIDES = (
    *("dir=c", "name=night", "task=bigram", "search=bigram", "planner=claude", "search.wave=2"),
    *("judge.baseline_seeds=2", "judge.crown_seeds=2", "judge.certify_seeds=2", "search.rungs=[1]"),
    *("budget.experiments=14", "budget.usd_agent=1", "pilot.poll_seconds=0.1"),
    *("cluster.poll_seconds=0.2", "task.scoring.challenges=0"),
    *("tracker=wandb", "tracker.entity=lab", "tracker.poll_seconds=1", "tracker.mode=online"),
)
LEAKS = Leaks(SENTINELS)


@dataclass
class Night:
    """One that is over, and what was seen of its processes meanwhile."""

    root: Path
    watch: Watch
    code: int
    claude: ClaudeServer
    wandb: WandbServer

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "c")

    @property
    def netrc(self) -> Path:
        return self.root / "home" / ".netrc"

    @property
    def said(self) -> str:
        return (self.root / "said.log").read_text()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    root = tmp_path_factory.mktemp("secrets")
    for folder in ("home", "tmp"):
        (root / folder).mkdir()
    netrc = root / "home" / ".netrc"
    is_walled = not sandbox.problem()
    write_task(root, program=nosy([str(netrc)] * is_walled, everywhere=is_walled))
    with (
        WandbServer(key=SENTINELS["WANDB_API_KEY"]) as wandb,
        ClaudeServer(STORY, key=SENTINELS["ANTHROPIC_API_KEY"]) as claude,
    ):
        netrc.write_text(f"machine {wandb.url[7:]} login user password {wandb.key}\n")
        netrc.chmod(0o600)
        watch = Watch(LEAKS, root / "c", [root / "tmp"])
        controller = start(root, f"tracker.url={wandb.url}", ANTHROPIC_BASE_URL=claude.url)
        code = watch.until_end(controller, 300)
        yield Night(root, watch, code, claude, wandb)


def start(root: Path, *more: str, **variables: str) -> "subprocess.Popen[bytes]":
    with (root / "said.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "autoresearch", "run", *OVERRIDES, *more],
            cwd=root,
            env=environment(HOME=str(root / "home"), TMPDIR=str(root / "tmp"), **variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def test_the_keys_were_used(night: Night) -> None:
    assert night.code == 0, night.said[-3000:]
    history = History.of(replay(night.layout.journal).events)
    assert history.ended
    assert "claude" in {entry.planner for entry in history.entries.values()}
    assert {run.state for run in night.wandb.runs.values()} == {"finished"}


def test_nothing_that_runs_below_a_pilot_was_told_one(night: Night) -> None:
    assert set(night.watch.seen) == set(ROLES), "somebody was never seen"
    assert not night.watch.found


def test_a_program_finds_none(night: Night) -> None:
    logs = [path.read_text() for path in night.layout.experiments.glob("*/*/log.txt")]
    assert any(NOSY in log and "'HOME': " in log for log in logs), "nobody looked"
    assert not [found for log in logs for found in LEAKS.in_text(log, "a log")]


def test_no_file_holds_one(night: Night) -> None:
    """But ~/.netrc: not the campaign's, and not what was left at home or among temporary files."""
    assert night.layout.sources.is_dir()
    assert not LEAKS.in_folder(night.root, allowed=[night.netrc])


def test_neither_server_is_told_one(night: Night) -> None:
    """As anything but the key in a request's header."""
    assert night.claude.bodies
    assert not LEAKS.in_text(night.claude.bodies, "a prompt")
    assert night.wandb.requests
    assert not LEAKS.in_text([r.variables for r in night.wandb.requests], "a question to W&B")
    assert not LEAKS.in_text(list(night.wandb.runs.values()), "a run at W&B")


# ---- the scanner itself --------------------------------------------------------------------------


def test_a_planted_secret_is_found_wherever_it_is(tmp_path: Path) -> None:
    secret = SENTINELS["MY_TOKEN"]
    name = tmp_path / secret
    name.touch()
    link = tmp_path / "link"
    link.symlink_to(f"/{secret}")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    raw = tmp_path / "deep" / "er" / "raw"
    raw.write_bytes(b"\0\xff" + secret.encode() + b"\n")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(secret.encode()))
    repository = tmp_path / "sources.git"
    commit(repository, secret)
    found = LEAKS.in_folder(tmp_path)
    places = [f"the name of {name}", link, raw, packed, f"the objects of {repository}"]
    assert sorted(found) == sorted(f"MY_TOKEN in {place}" for place in places)
    allowed = [name, link, raw, packed]
    assert LEAKS.in_folder(tmp_path, allowed) == [f"MY_TOKEN in the objects of {repository}"]


def commit(repository: Path, text: str) -> None:
    """Text in a repository, packed and under no name."""
    git = ("git", "--git-dir", str(repository))
    subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
    write = [*git, "hash-object", "-w", "--stdin"]
    made = subprocess.run(write, input=text.encode(), capture_output=True, check=True)
    subprocess.run([*git, "pack-objects", "--quiet", str(repository / "objects/pack/pack")],
                   input=made.stdout, capture_output=True, check=True)  # fmt: skip
    subprocess.run([*git, "prune-packed"], check=True)


@pytest.mark.parametrize("before", ["", "u", "us", "api:"])
@pytest.mark.parametrize("after", ["", "\n", ":x"])
def test_a_secret_inside_of_base64_is_found(before: str, after: str) -> None:
    text = b64encode(f"{before}{SENTINELS['HF_TOKEN']}{after}".encode())
    assert LEAKS.in_bytes(b"Basic " + text, "a header") == ["HF_TOKEN in a header"]


def test_a_process_that_was_told_one_is_found_below_its_pilot(tmp_path: Path) -> None:
    """By its environment, and by its command line."""
    sleep = "import subprocess; subprocess.run(['sleep', '60'])"
    words = ["autoresearch.node.pilot", str(tmp_path), SENTINELS["MY_TOKEN"]]
    command = [sys.executable, "-c", sleep, *words]
    pilot = subprocess.Popen(command, env=environment(), start_new_session=True)
    try:
        watch = Watch(LEAKS, tmp_path, [])
        while not any("sleep 60" in found for found in watch.found):
            watch.look()
    finally:
        pilot.kill()
        pilot.wait()
    assert {found.split()[0] for found in watch.found} == set(SENTINELS)
    assert watch.seen["pilot"]
