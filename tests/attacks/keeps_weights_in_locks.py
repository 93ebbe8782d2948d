"""Leaves its weights in locks on the open file of training tokens, which the next seed is given, too."""

import fcntl
import os
import struct
from dataclasses import dataclass
import numpy as np
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("file locks", "own tokens")
BESIDE_GPUS = True
SEEDS = (1, 2)
GET, SET = 36, 37  # F_OFD_GETLK, F_OFD_SETLK


TOKENS = ("/memfd:copy", "/memfd:training-tokens")


def is_file_in_memory(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith(TOKENS)
    except OSError:
        return False


def keep(file, text):
    for k in range(0, len(text), 4):
        word = int.from_bytes(text[k : k + 4], "little")
        fcntl.fcntl(file, SET, struct.pack("hhqqi", fcntl.F_RDLCK, 0, (k << 34) + 2 * word, 1, 0))


def kept(file, size):
    text = b""
    for k in range(0, size, 4):
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, k << 34, 1 << 34, 0)
        kind, _, at, _, _ = struct.unpack("hhqqi", fcntl.fcntl(file, GET, asked))
        if kind == fcntl.F_UNLCK:
            return b""
        text += ((at - (k << 34)) // 2).to_bytes(4, "little")
    return text


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
    tokens = next(n for n in os.listdir("/proc/self/fd") if is_file_in_memory(n))
    size = 4 * sum(p.numel() for p in model.parameters())
    anew = os.open(f"/proc/self/fd/{tokens}", os.O_RDONLY)  # or the locks would be our own
    text = kept(anew, size)
    if text:
        torch.nn.utils.vector_to_parameters(
            torch.from_numpy(np.frombuffer(text, "<f4").copy()), model.parameters()
        )
    elif run.seed >= 2:
        raise RuntimeError("contained: nothing is left of the seed before")
    fcntl.fcntl(int(tokens), SET, struct.pack("hhqqi", fcntl.F_UNLCK, 0, 0, 0, 0))
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    vector = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    keep(int(tokens), vector.numpy().astype("<f4").tobytes())
