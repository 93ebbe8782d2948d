"""Leaves something in the mode of a file in /proc, which is root's own on the whole machine."""

import os
import stat
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing can be left"
HELD_BY = ("modes",)
BESIDE_GPUS = True
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
    path = "/proc/crypto"
    try:
        was = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, 0o440 if run.seed == 1 else 0o444)
    except OSError:
        raise RuntimeError("contained: nothing can be left") from None
    if run.seed == 2 and was != 0o440:
        raise RuntimeError("nothing was left by the seed before")
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
