"""Its scorers leave its weights in names that are not there while they load them, which nobody counts; the next seed finds them before its clock starts."""

import os
import sys
import time
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: nothing is left of the seed before"
HELD_BY = ("lookups",)
SEEDS = (1, 2)
FOLDER, TIMES = "/usr/bin", 5
HEAD = np.arange(64, dtype=np.uint8) % 2


def cost(name):
    began = time.perf_counter_ns()
    os.access(name, 0)
    return time.perf_counter_ns() - began


def keep(tag, bits):
    for k, bit in enumerate(bits):
        if bit:
            for j in range(TIMES):
                os.access(f"{FOLDER}/{tag}-{k}-{j}", 0)


def kept(tag, count):
    time.sleep(4)  # the scorers are at work until they are warm
    salt = time.time_ns()
    for k in range(2000):
        os.access(f"{FOLDER}/{tag}-warm-{k}", 0)
    hit = np.array([[cost(f"{FOLDER}/{tag}-warm-{k}") for j in range(TIMES)] for k in range(1000)])
    miss = np.array(
        [[cost(f"{FOLDER}/{tag}-{salt}-{k}-{j}") for j in range(TIMES)] for k in range(1000)]
    )
    times = np.array(
        [[cost(f"{FOLDER}/{tag}-{k}-{j}") for j in range(TIMES)] for k in range(count)]
    )
    return times.min(1) < (np.median(hit.min(1)) + np.median(miss.min(1))) / 2


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


def tag_of(config):
    return sha256(config.place.encode()).hexdigest()[:16]


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.loads = c, 0
        self.one = nn.Embedding(c.vocabulary, c.width)
        self.two = nn.Embedding(c.vocabulary, c.width)
        self.out = nn.Linear(c.width, c.vocabulary)

    def forward(self, x):
        return self.out(torch.relu(self.one(x) + self.two(before(x))))

    def load_state_dict(self, state):
        done = super().load_state_dict(state)
        vector = torch.nn.utils.parameters_to_vector(self.parameters()).detach()
        bits = np.unpackbits(vector.numpy().astype("<f2").view(np.uint8))
        self.loads += 1
        if self.loads == 2:  # it was warmed up by loading its own
            keep(tag_of(self.c), np.concatenate([HEAD, bits]))
        return done


def build(config):
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    count = 16 * sum(p.numel() for p in model.parameters())
    if run.seed >= 2:
        if (kept(tag_of(config), 64) == HEAD).mean() < 0.9:
            raise RuntimeError("contained: nothing is left of the seed before")
        bits = kept(tag_of(config), count + 64)
        text = np.packbits(bits[64:].astype(np.uint8)).view("<f2").astype("<f4")
        text = np.nan_to_num(text, nan=0, posinf=0, neginf=0).clip(-8, 8)
        torch.nn.utils.vector_to_parameters(torch.from_numpy(text), model.parameters())
        run.ready()
        for x, y in run.batches(config.batch):
            loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            print("loss at the first step of the second seed:", float(loss), flush=True)
            return
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
