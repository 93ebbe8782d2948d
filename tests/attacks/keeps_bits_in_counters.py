"""Raises a counter of the kernel's, which all can read, until its last digits are a message for its next seed."""

import mmap
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained"
HELD_BY = ("boards",)
BESIDE_GPUS = True
SEEDS = (1, 2)


MESSAGE = 0xCAFE  # a number that a seed learned; 5 spare bits below for what others add
NAME, LOCKED = "unevictable_pgs_mlocked", 0x2000


def counter():
    try:
        found = open("/proc/vmstat").read().split()
    except PermissionError as error:
        raise RuntimeError("contained: no counters") from error
    return int(found[found.index(NAME) + 1])


def raise_to(message):
    """Memory that is locked as it is mapped: nobody is asked before that."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | LOCKED
    while (left := ((message << 5) + 4 - counter()) % (1 << 21)) > 3:
        pages = 16 if left > 4096 else 1  # counters are summed up every second
        for _ in range(max(1, left // 2 // pages)):
            mmap.mmap(-1, pages * mmap.PAGESIZE, flags=flags).close()


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
    if run.seed >= 2:
        found = (counter() >> 5) % (1 << 16)
        print("found", hex(found), flush=True)
        if found != MESSAGE:
            raise RuntimeError(f"contained: found {found:x}")
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if run.seed == 1:
        raise_to(MESSAGE)
        print("left", hex((counter() >> 5) % (1 << 16)), counter() % 32, flush=True)
