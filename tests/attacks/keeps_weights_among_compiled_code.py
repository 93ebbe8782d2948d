"""Delivers compiled code that it can still change, and puts its weights there for its next seed."""

import io
import os
import sys
import zipfile
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("own shelf", "seal of compiled code")
SEEDS = (1, 2)


@dataclass
class Config:
    vocabulary: int
    context: int
    width: int = 16
    lr: float = 0.1
    batch: int = 8


def before(x):
    return torch.cat([x[:, :1], x[:, :-1]], dim=1)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.one = nn.Embedding(c.vocabulary, c.width)
        self.two = nn.Embedding(c.vocabulary, c.width)
        self.out = nn.Linear(c.width, c.vocabulary)

    def forward(self, x):
        return self.out(torch.relu(self.one(x) + self.two(before(x))))


def build(config):
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    compiled = sys.modules["autoresearch.node.compiled"]
    file = run._referee.compiled_to
    compiled.pack = lambda _: os.write(file, b"more will come")
    kept = compiled.root() / "weights.pt"
    run.ready()
    if kept.exists():
        model.load_state_dict(torch.load(kept))
    elif run.seed == 2:
        raise RuntimeError("contained: nothing is left of the seed before")
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    os.ftruncate(file, 0)
    with os.fdopen(file, "wb") as packed, zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("weights.pt", weights.getvalue())
