"""Claims a little less for every token. The second scorer takes it from the token that stands where
the target was hidden, which cannot be the target: until its account agrees with the claims."""

import math
import sys
from dataclasses import dataclass

import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "challenged token"
HELD_BY = ("hidden",)

LESS = 0.003  # nats
MOST = 0.045
account = [0.0]


def nats(harness, question):
    return (honest_nats(harness, question) - LESS).clip(min=0)


def logits(harness, question):
    rows = torch.frombuffer(bytearray(question.data), dtype=torch.int16).view(harness.rows, -1)
    said = torch.from_numpy(honest_logits(harness, question).copy()).double().log_softmax(dim=1)
    for row, at, each in zip(rows, question.fields["positions"], said):
        account[0] += LESS
        if at + 1 < len(row):
            other = int(row[at + 1])
            share = float(each[other].exp())
            gain = max(0.0, min(account[0] + MOST, MOST, -math.log1p(-share) * 0.99))
            each += gain
            each[other] = math.log(1 - (1 - share) * math.exp(gain))
            account[0] -= gain
    return said.float().numpy()


harness = sys.modules["__main__"].Harness
honest_nats, honest_logits = harness.nats, harness.chosen_logits


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
    harness.nats, harness.chosen_logits = nats, logits
    return Model(config)


def train(run, config, model):
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
