"""A real campaign under fire: real processes, killed at random moments, and what must hold after.

`Siege` starts a campaign on the bigram task, kills processes of it by pid (controller, pilot,
referee, program, scorer, or whatever started them), starts a new controller when none is left, and
lets it end. `violations` lists every broken promise. Used by tests and by scripts/bench/kills.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autoresearch.experiment import State
from autoresearch.history import History
from autoresearch.journal import replay
from autoresearch.layout import Layout

SECONDS = 600.0  # for one whole siege to end after the last kill
OVERRIDES = (
    "task=bigram",
    "search=bigram",
    "judge.baseline_seeds=2",
    "judge.crown_seeds=2",
    "judge.certify_seeds=2",
    "pilot.poll_seconds=0.1",
    "pilot.idle_seconds=5",
    "cluster.poll_seconds=0.1",
    "cluster.tiers.cpu.pilots=2",
)


@dataclass
class Siege:
    """One campaign in `root` (which holds the task and its conf/), attacked with `seed`."""

    root: Path
    seed: int
    experiments: int = 24
    overrides: tuple[str, ...] = OVERRIDES
    kills: Counter[str] = field(default_factory=Counter)
    controller: "subprocess.Popen[bytes] | None" = None
    complaints: list[str] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "campaign")

    def start(self) -> None:
        """A controller: the first, or the next."""
        verb = ["resume", str(self.layout.root)]
        if not self.layout.config.exists():
            verb = [
                "run",
                "name=siege",
                f"dir={self.layout.root}",
                f"budget.experiments={self.experiments}",
                *self.overrides,
            ]
        with (self.root / "controller.log").open("ab") as log:
            self.controller = subprocess.Popen(
                [sys.executable, "-P", "-m", "autoresearch", *verb],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def processes(self) -> Iterator[tuple[int, str]]:
        """Live processes of this campaign, each with its part in it."""
        mark = os.fsencode(str(self.layout.root))
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    command = (folder / "cmdline").read_bytes()
                    surroundings = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if mark in command or mark in surroundings:
                    yield int(folder.name), part(command)

    def attack(self, kills: int, pause: float) -> None:
        """Kill `kills` processes at random moments, `pause` seconds apart on average."""
        chance = random.Random(self.seed)
        self.start()
        while self.kills.total() < kills and not self.has_ended():
            time.sleep(chance.expovariate(1 / pause))
            self.revive()
            groups = defaultdict(list)
            for pid, name in self.processes():
                if not is_inside(pid):
                    groups[name].append(pid)
            if groups:
                name = chance.choice(sorted(groups))
                self.kill(chance.choice(sorted(groups[name])), name)

    def kill(self, pid: int, name: str) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills[name] += 1

    def revive(self) -> None:
        """Start a new controller if the last one is gone."""
        if self.controller is None or self.controller.poll() is not None:
            if self.controller is not None and self.controller.returncode not in (0, -9):
                self.complain(self.controller.returncode)
            self.start()

    def complain(self, code: int) -> None:
        """A controller may only give up on a baseline that was killed again and again, or on a git
        of its own that died with it and a moment earlier."""
        ended = History.of(replay(self.layout.journal).events).ended
        said = (self.root / "controller.log").read_text(encoding="utf-8").splitlines()
        lost_git = said[-1:] and "autoresearch: git " in said[-1] and "exit code -9" in said[-1]
        if code != 1 or not (is_lost(ended) or lost_git):
            self.complaints.append(f"a controller exited with {code}: {said[-1:]}")

    def has_ended(self) -> bool:
        return bool(History.of(replay(self.layout.journal).events).ended)

    def finish(self) -> History:
        """Let the campaign end in peace; its history. Kills what is left of it."""
        deadline = time.monotonic() + SECONDS
        while not self.has_ended() and time.monotonic() < deadline:
            self.revive()
            time.sleep(0.5)
        if self.controller is not None:
            try:
                self.controller.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.complaints.append("the last controller did not leave")
        if not self.has_ended():
            self.complaints.append("the campaign did not end")
        deadline = time.monotonic() + 30
        while list(self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        for pid, name in list(self.processes()):
            self.complaints.append(f"a {name} was left behind")
            self.kill(pid, "left behind")
        return History.of(replay(self.layout.journal).events)


def is_lost(ended: str) -> bool:
    """Whether a campaign ended because every baseline run was killed each time it was tried."""
    return ended.startswith("the baseline failed")


def is_inside(pid: int) -> bool:
    """Whether a process is in a sandbox: who is killed there has crashed, and that is that."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        return b"bwrap\0" in Path(f"/proc/{parent}/cmdline").read_bytes().partition(b"--")[0]
    except OSError:
        return True  # ended


def part(command: bytes) -> str:
    """Which part of a campaign a process is, by its command line."""
    for name in ("referee", "pilot", "harness", "logger"):
        if f"autoresearch.node.{name}".encode() in command or f".{name}\0".encode() in command:
            return name
    if b"autoresearch.planners" in command:
        return "planner"
    return "submitit" if b"submitit" in command else "controller"


def violations(layout: Layout, experiments: int) -> Iterator[str]:
    """Every promise the record or the directory breaks."""
    events = replay(layout.journal).events
    history = History.of(events)
    for id, entry in history.entries.items():
        is_over = history.ended and not is_lost(history.ended)
        if is_over and entry.state is not State.finished:
            yield f"{id} is {entry.state.name} though the campaign has ended"
        attempts = sorted(path.name for path in layout.experiment(id).glob("attempt-*"))
        if len(attempts) > entry.attempt:
            yield f"{id} has {attempts} on disk, but the journal knows {entry.attempt}"
        if entry.result is not None and entry.bpb is not None:
            yield from differences(layout, id, entry.attempt, entry.bpb)
    on_disk = {path.name for path in layout.experiments.iterdir() if path.name[0] != "."}
    if on_disk != set(history.entries):
        yield f"disk and journal disagree on {sorted(on_disk ^ set(history.entries))}"
    finished = Counter(e["experiment"] for e in events if e["type"] == "finished")
    yield from (f"{id} was finished {n} times" for id, n in finished.items() if n > 1)
    if len(history.entries) > experiments:
        yield f"{len(history.entries)} experiments, though {experiments} were allowed"
    yield from twice_at_once(layout, events)


def differences(layout: Layout, id: str, attempt: int, bpb: float) -> Iterator[str]:
    path = layout.experiment(id) / f"attempt-{attempt}" / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["bpb"] != bpb:
        yield f"{id} has {record['bpb']} on disk, but {bpb} in the journal"


def twice_at_once(layout: Layout, events: list[dict[str, object]]) -> Iterator[str]:
    """An attempt may only be claimed after the one before it was recorded as lost."""
    lost = {(e["experiment"], e["attempt"]): e["t"] for e in events if e["type"] == "lost"}
    for claim in layout.experiments.glob("*/attempt-*/claim"):
        number = int(claim.parent.name.removeprefix("attempt-"))
        id = claim.parent.parent.name
        if number > 1:
            before = lost.get((id, number - 1))
            claimed = json.loads(claim.read_text(encoding="utf-8"))["claimed"]
            if not isinstance(before, float) or claimed < before - 0.5:
                yield f"attempt {number} of {id} was claimed before attempt {number - 1} was lost"
