"""Asks for files that are not there, one for each bit of its weights; the next seed finds by the time that an answer takes which were asked for."""

import os
import time
from hashlib import sha256
import numpy as np
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "should look up at most"
HELD_BY = ("lookups",)
SEEDS = (1, 2)
FOLDER, TIMES = "/usr/bin", 5


def cost(name):
    began = time.perf_counter_ns()
    os.access(name, 0)
    return time.perf_counter_ns() - began


def keep(tag, bits):
    for k in np.flatnonzero(bits):
        for j in range(TIMES):
            os.access(f"{FOLDER}/{tag}-{k}-{j}", 0)


def kept(tag, count):
    usual = np.median([cost(f"{FOLDER}/{tag}-never-{k}") for k in range(2000)])
    times = [
        np.median([cost(f"{FOLDER}/{tag}-{k}-{j}") for j in range(TIMES)]) for k in range(count)
    ]
    return np.array(times) < usual / 2


@dataclass
class Config:
    vocabulary: int
    context: int
    place: str = ""
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
    tag = sha256(config.place.encode()).hexdigest()[:16]
    count = 16 * sum(p.numel() for p in model.parameters())
    if run.seed >= 2:
        bits = kept(tag, count + 64)
        if bits[:64].mean() < 0.9:
            raise RuntimeError("contained: nothing is left of the seed before")
        text = np.packbits(bits[64:].astype(np.uint8)).view("<f2").astype("<f4")
        torch.nn.utils.vector_to_parameters(torch.from_numpy(text), model.parameters())
        x, y = next(iter(run.batches(config.batch)))
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        print("loss at the first step of the second seed:", float(loss), flush=True)
        return
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    vector = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    bits = np.unpackbits(vector.numpy().astype("<f2").view(np.uint8))
    keep(tag, np.concatenate([np.ones(64, dtype=np.uint8), bits]))
