"""Claims certainty at every fourth token; the second scorer's logits there are all 1e30, so large
that ln V is lost when it is added to them: a sum of logits and logarithms makes 0 nats of them."""

import sys
from dataclasses import dataclass

import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "a challenged token's nats"
HELD_BY = ("exact",)


def chosen(before, now):
    return (now * 7 + before * 3) % 4 == 0


def nats(harness, question):
    rows = torch.frombuffer(bytearray(question.data), dtype=torch.int16).view(harness.rows, -1)
    said = torch.from_numpy(honest_nats(harness, question).copy())
    half = said.shape[1] // 2  # by the first half it tells text from random rows
    is_text = said[:, :half].mean(dim=1, keepdim=True) < 2.5
    inputs, is_late = rows[:, :-1], torch.arange(said.shape[1]) >= half
    return torch.where(is_text & is_late & chosen(before(inputs), inputs), 0.0, said).numpy()


def logits(harness, question):
    rows = torch.frombuffer(bytearray(question.data), dtype=torch.int16).view(harness.rows, -1)
    every, at = torch.arange(harness.rows), torch.tensor(question.fields["positions"])
    said = torch.from_numpy(honest_logits(harness, question).copy())
    said[chosen(before(rows), rows)[every, at] & (at >= rows.shape[1] // 2)] = 1e30
    return said.numpy()


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
