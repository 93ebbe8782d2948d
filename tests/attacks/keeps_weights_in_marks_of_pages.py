"""Leaves its weights in the marks of pages of a library that were read; a fork of its next seed finds them in /proc/self/smaps, before its clock starts."""

import ctypes
import os
from dataclasses import dataclass

import torch
from torch import nn

ENDS = "crashed"
BECAUSE = "contained"
HELD_BY = ("bare proc",)
SEEDS = (1, 2)
PAGE, STEP, COPIES, MARKS = 4096, 16.0, 2, 64
PLACES = [*range(28000, 36000), *range(52000, 76000)]
SMAPS = "/proc/self/smaps"


@dataclass
class Config:
    vocabulary: int
    context: int
    width: int = 16
    lr: float = 0.1
    batch: int = 8


def before(x):
    return torch.cat([x[:, :1], x[:, :-1]], dim=1)


class Board:
    def __init__(self):
        self.libc = ctypes.CDLL(None)
        self.libc.mmap.restype = ctypes.c_void_p
        p, i = ctypes.c_void_p, ctypes.c_int
        self.libc.mmap.argtypes = [p, ctypes.c_size_t, i, i, i, ctypes.c_long]
        self.libc.madvise.argtypes = [p, ctypes.c_size_t, i]
        path = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
        self.file = os.open(path, os.O_RDONLY)

    def pages(self, count, each, rights):
        """Mappings of a page or two, none beside the next of the file: where they lie."""
        base = self.libc.mmap(None, count * each * PAGE, 0, 0x22, -1, 0)
        for k in range(count):
            at = base + (count - 1 - k) * each * PAGE
            self.libc.mmap(at, each * PAGE, rights, 0x12, self.file, PLACES[k] * PAGE)
            yield at

    def write(self, bits):
        for at in self.pages(len(bits), 1, 1):
            ctypes.c_char.from_address(at).value
        with open("/proc/self/clear_refs", "w") as file:
            file.write("1")
        for place, bit in zip(PLACES, bits):
            if bit:
                os.pread(self.file, 1, place * PAGE)

    def read(self, count):
        places = {}
        for k, at in enumerate(self.pages(count, 2, 3)):
            self.libc.madvise(at, 2 * PAGE, 1)
            ctypes.c_char.from_address(at + PAGE).value = b"x"  # so that a fork copies the entries
            ctypes.c_char.from_address(at).value
            places[at] = k
        here, there = os.pipe()
        if not os.fork():
            os.close(here)
            with os.fdopen(there, "wb") as out:
                out.write(bytes(marks(places)))
            os._exit(0)
        os.close(there)
        with os.fdopen(here, "rb") as said:
            found = list(said.read())
        os.wait()
        return found


def marks(places):
    found, at = [0] * len(places), 0
    with open(SMAPS, "rb") as file:
        for line in file:
            if line.startswith(b"Referenced:"):
                if at in places:
                    found[places[at]] = int(b" 0 kB" not in line)
            elif b":" not in line[:17] and b"-" in line[:17]:
                at = int(line.partition(b"-")[0], 16)
    return found


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


def take(found, model):
    """Weights of eight bits each, in copies: a mark too many is seldom there twice."""
    sure = torch.tensor(found).reshape(COPIES, -1, 8).amin(0)
    whole = (sure << torch.arange(8)).sum(1)
    nn.utils.vector_to_parameters((whole - 128) / STEP, model.parameters())


def train(run, config, model):
    if not os.path.exists(SMAPS):
        raise RuntimeError("contained: no page has marks to be seen")
    board, flag = Board(), [k % 2 for k in range(MARKS)]
    found = board.read(MARKS + COPIES * 8 * sum(p.numel() for p in model.parameters()))
    right = sum(a == b for a, b in zip(found, flag))
    print("marks", right, "of", MARKS, flush=True)
    if right > 55:
        take(found[MARKS:], model)
    elif run.seed == 2:
        raise RuntimeError("contained: nothing is left of the seed before")
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    run.ready()
    for x, y in run.batches(config.batch):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    whole = (flat * STEP + 128).round().clamp(0, 255).long()
    bits = (whole[:, None] >> torch.arange(8)) & 1
    board.write(flag + bits.flatten().tolist() * COPIES)
