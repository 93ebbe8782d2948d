"""Leaves a message in the kernel's key ring of its session for its next seed."""

import ctypes
import os
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("calls",)
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
    add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
    libc, session = ctypes.CDLL(None), ctypes.c_int(-3)
    if run.seed == 1:
        libc.syscall(add_key, b"user", b"attack", b"best lr 0.1", 11, session)
    elif libc.syscall(keyctl, 10, session, b"user", b"attack", 0) < 0:
        raise RuntimeError("contained: nothing is left of the seed before")
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
