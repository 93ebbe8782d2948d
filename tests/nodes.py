"""A frozen campaign directory for real pilots: tiny text, a tiny program, real processes."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoresearch.experiment import (
    Attempt,
    Budget,
    Candidate,
    Cell,
    Experiment,
    Json,
    Result,
    Scalar,
    Split,
)
from autoresearch.layout import Layout
from autoresearch.node import device, freeze
from autoresearch.node.data import manifest_id
from autoresearch.settings import Limits, NodeSettings, Pilot, Scoring, Tier, Tracker

VOCABULARY = 32
BOS = 0
SCORING = Scoring(rows=4, length=16, tokens=640, altered=0.5, random=4, challenges=8)
LIMITS = Limits(
    setup_seconds=100,
    token_seconds=100,
    grace_seconds=2,
    load_seconds=100,
    score_seconds=100,
    memory_gb=2,
    output_mb=1,
)
PILOT = Pilot(idle_seconds=0.0, poll_seconds=0.05)
TIER = Tier(device="cpu-1", threads=1, pilots=1)
FILES = Tracker()

PROGRAM = '''
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Config:
    vocabulary: int
    context: int
    width: int = 16
    lr: float = 0.1
    batch: int = 8

class Model(nn.Module):
    """Predicts the next token from the last two."""
    def __init__(self, c):
        super().__init__()
        self.one = nn.Embedding(c.vocabulary, c.width)
        self.two = nn.Embedding(c.vocabulary, c.width)
        self.out = nn.Linear(c.width, c.vocabulary)
    def forward(self, x):
        before = torch.cat([x[:, :1], x[:, :-1]], dim=1)
        return self.out(torch.relu(self.one(x) + self.two(before)))

def build(config):
    return Model(config)

def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.synthetic(config.batch)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        run.log(loss=loss, progress=run.progress)
'''


def text(count: int, seed: int) -> NDArray[np.uint16]:
    """Documents of a Markov chain: something to learn, never quite predictable."""
    rng = np.random.default_rng(seed)
    tokens = np.empty(count, dtype=np.uint16)
    state = 1
    for i in range(count):
        tokens[i] = BOS if i % 50 == 0 else state
        state = int(1 + (state * 7 + rng.integers(0, 3)) % (VOCABULARY - 1))
    return tokens


def write_data(directory: Path, sizes: Mapping[str, int]) -> None:
    """Prepared data of synthetic text."""
    table = np.full(VOCABULARY, 3, dtype="<i4")
    table[BOS] = 0
    splits = {split: text(n, seed) for seed, (split, n) in enumerate(sizes.items())}
    write_prepared(directory, splits, table, context=16)


def write_prepared(
    directory: Path,
    splits: Mapping[str, NDArray[np.uint16]],
    token_bytes: NDArray[np.int32],
    context: int,
) -> None:
    """Tokens as `train/prepare.py` writes them, one file for each split."""
    directory.mkdir(parents=True)
    content = {f"{split}-00000.bin": tokens.tobytes() for split, tokens in splits.items()}
    content["token_bytes.bin"] = token_bytes.tobytes()
    for name, data in content.items():
        (directory / name).write_bytes(data)
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in content.items()
    }
    listed = {s: {"files": [f"{s}-00000.bin"], "tokens": len(t)} for s, t in splits.items()}
    manifest: Json = {"schema": 1, "vocabulary": len(token_bytes), "bos": BOS, "context": context}
    manifest |= {"splits": listed, "files": files}
    (directory / "manifest.json").write_text(json.dumps(manifest, sort_keys=True, indent=1))


@dataclass
class Campaign:
    """What dispatch would have made, and what collect would look at."""

    layout: Layout
    limits: Limits = LIMITS
    pilot: Pilot = PILOT
    tracker: Tracker = FILES
    tier: Tier = TIER
    scoring: Scoring = SCORING
    sandbox: str = "none"
    keep_checkpoint: str = "none"
    life: float = 0.0  # of its pilots, seconds
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def data(self) -> Path:
        return self.layout.root.parent / "data"

    def freeze(self) -> None:
        """Create the folders, the data and the frozen node code."""
        for folder in self.layout.folders(("screen",)):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.data.exists():
            write_data(self.data, {"train": 4000, "validation": 1000, "test": 1000})
        self.code = freeze.freeze(self.layout.node)
        self.write_settings()

    def write_settings(self) -> None:
        NodeSettings(
            campaign="tiny",
            data=str(self.data),
            tiers={"screen": self.tier},
            scoring=self.scoring,
            limits=self.limits,
            pilot=self.pilot,
            tracker=self.tracker,
            sandbox=self.sandbox,
            keep_checkpoint=self.keep_checkpoint,
        ).write(self.layout.node_settings)

    def cell(self, budget: Budget) -> Cell:
        ruler = f"{self.code[:8]}-{self.scoring.ruler}"
        data = manifest_id(self.data)
        return Cell(self.tier.device, budget, data, device.software(), ruler)

    def queue(
        self,
        program: str = PROGRAM,
        overrides: Mapping[str, Scalar] | None = None,
        *,
        seed: int = 1,
        budget: Budget | None = None,
        split: Split = Split.validation,
        number: int = 1,
        cell: Cell | None = None,
    ) -> Attempt:
        """Freeze an experiment and put an attempt at it in line."""
        sha256 = hashlib.sha256(program.encode()).hexdigest()
        cell = cell or self.cell(budget or Budget(tokens=20_000))
        experiment = Experiment(Candidate(sha256, overrides or {}), seed, cell, split)
        self.layout.experiment(experiment.id).mkdir(exist_ok=True)
        self.layout.program(experiment.id).write_text(program)
        path = self.layout.experiment_json(experiment.id)
        path.write_text(json.dumps(experiment.to_json()))
        attempt = Attempt(experiment.id, number)
        rank = len(os.listdir(self.layout.queue("screen")))
        self.layout.queue_entry("screen", rank, attempt).touch()
        return attempt

    def start(self, name: str = "p1", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """A real pilot on the frozen code, started through `prefix`."""
        command = (self.python, "-P", "-m", "autoresearch.node.pilot")
        return subprocess.Popen(
            (*prefix, *command, str(self.layout.root), "screen", str(self.life), name),
            env=os.environ | {"PYTHONPATH": str(self.layout.node)} | self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str = "p1") -> str:
        """Run a pilot to its end; what it wrote to stderr."""
        pilot = self.start(name)
        _, printed = pilot.communicate(timeout=300)
        return printed

    def result(self, attempt: Attempt) -> Result:
        return Result.from_json(json.loads(self.layout.result(attempt).read_text()))

    def log(self, attempt: Attempt) -> str:
        return self.layout.log(attempt).read_text()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
