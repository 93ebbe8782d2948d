"""Gives its process a name that looks like a line of its status, with no number."""

from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained"
HELD_BY = ()
BESIDE_GPUS = True


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
    import ctypes, time

    print(ctypes.CDLL(None).prctl(15, b"\x0cRssShmem x", 0, 0, 0))
    print(open("/proc/self/status", "rb").read(60))
    run.ready()
    time.sleep(6)
    raise RuntimeError("contained: nothing happened")
