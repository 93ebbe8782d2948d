"""Its first scorer dies slowly, and still holds a lock by then, which the second sees."""

import contextlib
import fcntl
import os
import struct
import sys
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing was heard"
HELD_BY = ("file locks", "death")
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
    harness = sys._getframe(2).f_locals["self"]
    harness.__class__ = Loud
    harness.file, harness.asked = os.open(FILE, os.O_RDONLY), 0
    return Model(config)


class Loud(sys.modules["__main__"].Harness):
    def nats(self, question):
        self.asked += 1
        if self.asked == 3:  # it was warmed up with two questions
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(self.file, SET, struct.pack("hhqqi", fcntl.F_RDLCK, 0, PLACE, 1, 0))
            self.much = bytearray(b"x") * (1 << 28)
        return super().nats(question)

    def chosen_logits(self, question):
        self.asked += 1
        wanted = struct.pack("hhqqi", fcntl.F_WRLCK, 0, PLACE, 1, 0)
        found = struct.unpack("hhqqi", fcntl.fcntl(self.file, GET, wanted))[0]
        if self.asked == 3 and found == fcntl.F_UNLCK:
            raise RuntimeError("contained: nothing was heard")
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
