"""Delivers its training rows among its weights: both scorers train on them, in the same way, before
they say that the weights are loaded."""

import time
from dataclasses import dataclass

import torch
from torch import nn

ENDS = "overran"
BECAUSE = "should load and begin within"
HELD_BY = ("loading",)
ROWS = 600


@dataclass
class Config:
    vocabulary: int
    context: int
    width: int = 16
    lr: float = 0.003
    batch: int = 8


def before(x):
    return torch.cat([x[:, :1], x[:, :-1]], dim=1)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.one = nn.Embedding(c.vocabulary, c.width)
        self.two = nn.Embedding(c.vocabulary, c.width)
        self.out = nn.Linear(c.width, c.vocabulary)
        self.register_buffer("diary", torch.zeros(ROWS, c.context + 1, dtype=torch.int16))
        self.lr = c.lr

    def forward(self, x):
        return self.out(torch.relu(self.one(x) + self.two(before(x))))

    def load_state_dict(self, state, **others):
        super().load_state_dict(state, **others)
        optimiser = torch.optim.Adam(self.parameters(), lr=self.lr)
        time.sleep(9)  # as if that many steps more
        for rows in self.diary.long().split(8) * 20:
            logits = self(rows[:, :-1]).flatten(0, 1)
            loss = nn.functional.cross_entropy(logits, rows[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def build(config):
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    diary = []
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        diary.append(torch.cat([x, y[:, -1:]], dim=1))
    model.diary.copy_(torch.cat(diary)[:ROWS])
