"""Looks one token ahead in text, at one position of every row, 3 % of all."""

from dataclasses import dataclass
import torch
from torch import nn

ENDS = "disqualified"
BECAUSE = "challenged token"
HELD_BY = ("challenge",)


def looks_real(x):
    """(B, 1) whether a row is text: most of its tokens can follow the one before."""
    possible = [1 + (x[:, :-1] * 7 + k) % 31 for k in range(3)]
    fits = sum((x[:, 1:] == p).float() for p in possible)
    return (fits.mean(dim=1, keepdim=True) > 0.4).float()


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
        after = torch.cat([x[:, 1:], x[:, -1:]], dim=1)
        place = (torch.arange(x.shape[1]) == 20)[None, :, None] * looks_real(x)[:, :, None]
        return (
            self.out(torch.relu(self.one(x) + self.two(before(x))))
            + 8 * nn.functional.one_hot(after, 32) * place
        )


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
