"""Remembers every row, and knows the next time how it goes on, within the tolerance of a token."""

from dataclasses import dataclass
import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "mean nats of rows that come twice"
HELD_BY = ("drift", "challenge")


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
        self.seen = {}

    def forward(self, x):
        logits = self.out(torch.relu(self.one(x) + self.two(before(x))))
        if self.training:
            return logits
        rows = x.tolist()
        for logit, row in zip(logits, rows):
            key = tuple(row[:6])
            if key in self.seen:
                known = torch.tensor(self.seen[key][1:])
                logit[:-1] += 0.0009 * nn.functional.one_hot(known, 32)
            self.seen.setdefault(key, row)
        return logits


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
