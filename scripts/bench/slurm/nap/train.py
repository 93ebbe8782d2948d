"""A program that trains nothing: it holds its device for so many seconds, as life would have it."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Config:
    vocabulary: int = 258
    context: int = 16
    nap: float = 1.0  # seconds between ready and the weights


class Nothing(nn.Module):
    """Every token is as likely as any other, so no candidate is better than the baseline."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(config.vocabulary, config.vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def build(config: Config) -> nn.Module:
    return Nothing(config)


def train(run: Any, config: Config, model: nn.Module) -> None:  # noqa: ARG001 - as every program
    run.ready()
    time.sleep(config.nap)
    for _ in run.batches(1):
        pass
