"""Takes more memory than it may, as page tables of a large empty mapping, which no process's own memory counts."""

import ctypes
import mmap
import time
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "out_of_memory"
BECAUSE = "should hold at most"
HELD_BY = ("memory",)


GIGABYTES = 1.6


def fill():
    count = int(GIGABYTES * 2**30) // 4096
    area = mmap.mmap(
        -1, count << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ
    )
    area.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, count << 21, 1 << 21):
        area[at]
    return area


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
    run.ready()
    area = fill()
    time.sleep(4)
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
