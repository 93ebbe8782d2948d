"""Hands the referee a connection whose last owner waits for a day when it closes it."""

import os
import socket
import struct
import sys
from dataclasses import dataclass
import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained: no way for descriptors"
HELD_BY = ()


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
    listener = socket.create_server(("127.0.0.1", 0))
    here = socket.create_connection(listener.getsockname())
    there, _ = listener.accept()
    here.setblocking(False)
    try:
        while True:
            here.send(bytes(65536))
    except BlockingIOError:
        pass
    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 86_400))
    for number in map(int, sys.argv[1:]):
        try:
            end = socket.socket(socket.AF_UNIX, fileno=os.dup(number))
            socket.send_fds(end, [b"x"], [here.fileno(), there.fileno()])
            break
        except OSError:
            continue
    else:
        raise RuntimeError("contained: no way for descriptors")
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
