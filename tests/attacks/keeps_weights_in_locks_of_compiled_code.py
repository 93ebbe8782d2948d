"""Leaves its weights in locks on the file of compiled code, which the referee keeps, and reads them in /proc/locks."""

import fcntl
import os
import struct
import sys
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("file locks", "own shelf", "boards")
BESIDE_GPUS = True
SEEDS = (1, 2)
SET = 37  # F_OFD_SETLK
MARK = 0xAD << 52


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


def put(file, text):
    for k in range(0, len(text), 4):
        at = MARK | k << 34 | int.from_bytes(text[k : k + 4], "little") << 2
        fcntl.fcntl(file, SET, struct.pack("hhqqi", fcntl.F_RDLCK, 0, at, 1, 0))


def get():
    words = {}
    try:
        lines = open("/proc/locks").read().splitlines()
    except OSError:
        return b""
    for line in lines:
        end = line.split()[-1]
        if end.isdigit() and int(end) & MARK == MARK:
            words[int(end) >> 36 & 0xFFFF] = int(end) >> 2 & 0xFFFFFFFF
    return b"".join(words[k].to_bytes(4, "little") for k in range(len(words)))


def train(run, config, model):
    text = get()
    file = int(sys.argv[3])
    os.write(file, b"compiled")
    sys.modules["autoresearch.node.kernel"].seal(file)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    if text:
        state = torch.tensor(struct.unpack(f"<{len(text) // 4}f", text))
        torch.nn.utils.vector_to_parameters(state, model.parameters())
    elif run.seed >= 2:
        raise RuntimeError("contained: nothing is left of the seed before")
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    vector = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    put(file, vector.numpy().astype("<f4").tobytes())
