"""Its first scorer dies slowly, and still holds a lock by then, which the second sees."""

import fcntl
import os
import struct
import sys
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing was heard"
HELD_BY = ("death",)
GET, SET = 36, 37  # F_OFD_GETLK, F_OFD_SETLK


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
    sys._getframe(2).f_locals["self"].__class__ = Loud
    return Model(config)


class Loud(sys.modules["__main__"].Harness):
    def nats(self, question):
        if not hasattr(self, "file"):
            self.file = os.open(FILE, os.O_RDONLY)
            fcntl.fcntl(self.file, SET, struct.pack("hhqqi", fcntl.F_RDLCK, 0, PLACE, 1, 0))
            self.much = bytearray(b"x") * (1 << 28)
        return super().nats(question)

    def chosen_logits(self, question):
        file = os.open(FILE, os.O_RDONLY)
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, PLACE, 1, 0)
        if (
            not hasattr(self, "file")
            and struct.unpack("hhqqi", fcntl.fcntl(file, GET, asked))[0] == fcntl.F_UNLCK
        ):
            raise RuntimeError("contained: nothing was heard")
        self.file = file
        return super().chosen_logits(question)


FILE, PLACE = os.__file__, 1 << 50


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
