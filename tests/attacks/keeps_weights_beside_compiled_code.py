"""Leaves its weights where compilers leave what the next seed is given, once the clock has started."""

import os
from pathlib import Path
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("own tmp",)
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
    kept = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent / "weights.pt"
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
    kept.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), kept)
