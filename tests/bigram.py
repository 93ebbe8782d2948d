"""The smallest real task: a bigram model that learns, on text made up of a few words.

Everything around it is real too: manifest, shards, token budget, referee. An experiment costs
little more than importing torch.
"""

import hashlib
import json
import random
from pathlib import Path

import numpy as np

VOCABULARY = 258  # what byte-level BPE needs at least
WORDS = 64  # of them the text uses so many
CONTEXT = 16

PROGRAM = '''\
"""A bigram language model: each token predicts the next from a table."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Config:
    vocabulary: int = 258
    context: int = 16
    rate: float = 0.5  # learning rate of plain gradient descent
    scale: float = 0.0  # of the initial table
    batch: int = 8  # rows per step


class Bigram(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.table = nn.Parameter(config.scale * torch.randn(config.vocabulary, config.vocabulary))

    def forward(self, tokens):
        return self.table[tokens]


def build(config):
    return Bigram(config)


def train(run, config, model):
    x, y = run.synthetic(config.batch)
    nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        model.table.grad = None
        loss.backward()
        with torch.no_grad():
            model.table -= config.rate * 100 * model.table.grad
        run.log(loss=loss.item())
'''

RULES = "Lower bits per byte on words that follow each other. The model is a table.\n"

CONF = """\
name: bigram
dir: {task}
data: {{directory: {data}, vocabulary: 258, context: 16}}
budget: {{tokens: {tokens}}}
scoring: {{rows: 16, length: 16, tokens: 2048, random: 16, challenges: 16}}
limits: {{setup_seconds: 60, token_seconds: 60, score_seconds: 60, grace_seconds: 5}}
"""

SPACE = """\
space:
  rate: tag(log, interval(0.01, 2.0))
  scale: interval(0.0, 1.0)
rungs: [1, 2]
eta: 3
wave: 4
"""


def write_task(root: Path, tokens: int = 4096, program: str = PROGRAM) -> None:
    """A task, its data and a conf/ that names them, under `root`."""
    task = root / "task"
    task.mkdir(parents=True, exist_ok=True)
    (task / "train.py").write_text(program, encoding="utf-8")
    (task / "program.md").write_text(RULES, encoding="utf-8")
    data = root / "data"
    write_data(data)
    conf = root / "conf"
    for name, text in {
        "task/bigram.yaml": CONF.format(task=task, data=data, tokens=tokens),
        "search/bigram.yaml": SPACE,
    }.items():
        path = conf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_data(directory: Path, seed: int = 0) -> None:
    """Prepared data in the format of docs/formats.md: random words, each always spelled alike."""
    directory.mkdir(parents=True, exist_ok=True)
    random_words = random.Random(seed)
    words = [[random_words.randrange(1, WORDS) for _ in range(4)] for _ in range(24)]
    sizes = {"train": 20000, "validation": 4000, "test": 4000}
    files: dict[str, bytes] = {
        "token_bytes.bin": np.array([0] + [1] * (VOCABULARY - 1), "<i4").tobytes(),
        "tokenizer.json": b"{}",
    }
    splits = {}
    for split, size in sizes.items():
        tokens: list[int] = []
        while len(tokens) < size:
            tokens += [0] + [t for _ in range(20) for t in random_words.choice(words)]
        name = f"{split}-00000.bin"
        files[name] = np.array(tokens, "<u2").tobytes()
        splits[split] = {
            "files": [name],
            "tokens": len(tokens),
            "documents": tokens.count(0),
            "bytes": len(tokens) - tokens.count(0),
        }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    manifest = {
        "schema": 1,
        "vocabulary": VOCABULARY,
        "bos": 0,
        "context": CONTEXT,
        "source": {"kind": "made up"},
        "tokenizer": {},
        "splits": splits,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
    }
    text = json.dumps(manifest, sort_keys=True, indent=1) + "\n"
    (directory / "manifest.json").write_text(text, encoding="utf-8")
