"""Rows of a batch feel each other: attends to the other rows at the same position."""

from dataclasses import dataclass
import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "nats before a change of the row"
HELD_BY = ("altered", "challenge")


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
        h = (self.one(x) + self.two(before(x))).transpose(0, 1)
        h = h + torch.softmax(h @ h.transpose(1, 2), dim=-1) @ h
        return self.out(torch.relu(h.transpose(0, 1)))


def build(config):
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
