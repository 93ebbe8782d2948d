"""Sends messages that nobody asked for, of little text that takes much memory."""

import os
import struct
import sys
import time
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "tampered with its messages"
HELD_BY = ()


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
    text = b'{"kind": "ready", "descriptors": 0, "x": [' + b"{}," * 80_000 + b"{}]}"
    os.set_blocking(int(sys.argv[2]), True)
    for _ in range(100):
        with os.fdopen(os.dup(int(sys.argv[2])), "wb") as pipe:
            pipe.write(struct.pack(">II", len(text), 0) + text)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
