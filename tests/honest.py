"""Honest programs, as many as one likes: the real train.py with some of its parts exchanged.

Each is drawn by a seed of its own, so number 17 of 30 is number 17 of 200. None may be
disqualified.
"""

import json
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from honest_facets import CPU, CUDA, ODD_PARAMETERS, Way, edited, facets
from nodes import LIMITS, Campaign, write_prepared
from numpy.typing import NDArray

from autoresearch.experiment import Attempt, Budget, Scalar
from autoresearch.layout import Layout
from autoresearch.settings import Scoring, Tier

TRAIN = (Path(__file__).parents[1] / "train" / "train.py").read_text(encoding="utf-8")
PATIENT = replace(
    LIMITS,
    setup_seconds=500,
    token_seconds=500,
    grace_seconds=60,
    score_seconds=500,
    memory_gb=64,
    output_mb=16,
)


@dataclass(frozen=True)
class Honest:
    """A program: its text, what is overridden, and which way was taken in each facet."""

    name: str
    text: str
    overrides: Mapping[str, Scalar]
    facets: Mapping[str, str]


@dataclass(frozen=True)
class Size:
    """What all programs for a kind of device share, and from what their sizes are drawn."""

    vocabulary: int
    budget: Budget
    scoring: Scoring
    megabytes: float  # of text
    overrides: Mapping[str, Scalar]
    drawn: Mapping[str, tuple[Scalar, ...]]


SIZES = {
    CPU: Size(
        vocabulary=1024,
        budget=Budget(tokens=32768),
        scoring=Scoring(rows=32, length=128, tokens=32768),
        megabytes=2,
        overrides={"adam_eps": 1e-6},
        drawn={
            "depth": (2, 1, 2, 3),
            "aspect_ratio": (32, 16, 48),
            "head_dim": (32, 16),
            "total_batch_size": (2048, 1024, 4096),
            "device_batch_size": (16, 8, 32),
        },
    ),
    CUDA: Size(
        vocabulary=8192,
        budget=Budget(tokens=1 << 20),
        scoring=Scoring(rows=32, length=512, tokens=1 << 19),
        megabytes=8,
        overrides={},
        drawn={
            "depth": (4, 2),
            "aspect_ratio": (64, 128),
            "head_dim": (64, 128),
            "total_batch_size": (32768, 16384, 65536),
            "device_batch_size": (32, 16),
        },
    ),
}
SEARCHED: Mapping[str, tuple[Scalar, ...]] = {
    "window_pattern": ("L", "SL", "SSSL", "S"),
    "mlp_ratio": (2, 4),
    "rotary_base": (1000.0, 10000.0, 100000.0),
    "gate_channels": (8, 32),
    "matrix_lr": (0.01, 0.02, 0.04),
    "muon_ns_steps": (3, 5),
    "weight_decay": (0.0, 0.2),
    "warmup_ratio": (0.0, 0.1),
    "warmdown_ratio": (0.3, 0.5, 0.8),
}


def honest(count: int, seed: int = 0, device: str = CPU) -> list[Honest]:
    """The first `count` of a sequence without repetitions, the same for the same seed and device.

    The very first is train.py as it is, made small.
    """
    size, seen = SIZES[device], set[str]()
    found: list[Honest] = []
    own = {facet: ways[0] for facet, ways in facets(device).items()}
    sizes = {name: some[0] for name, some in size.drawn.items()}
    draw = 0
    while len(found) < count:
        name = f"{device}-{seed}-{len(found):03}"
        program = assembled(name, own, {**size.overrides, **sizes})
        identity = json.dumps([program.text, program.overrides], sort_keys=True)
        if identity not in seen:
            seen.add(identity)
            found.append(program)
        rng = Random(f"{seed} {device} {draw}")
        own = {
            facet: rng.choices(ways, [way.weight for way in ways])[0]
            for facet, ways in facets(device).items()
        }
        sizes = {name: rng.choice(some) for name, some in {**size.drawn, **SEARCHED}.items()}
        draw += 1
    return found


def assembled(name: str, ways: Mapping[str, Way], values: Mapping[str, Scalar]) -> Honest:
    text, overrides = TRAIN, dict(values)
    for way in ways.values():
        text = edited(text, way.edits)
        overrides |= way.overrides
    if any(way.is_odd for way in ways.values()):
        text = edited(text, ODD_PARAMETERS)
    return Honest(name, text, overrides, {facet: way.name for facet, way in ways.items()})


# ---- a campaign of them ------------------------------------------------------------------------


def campaign_of(folder: Path, device: str, sandbox: str, life: float = 0.0) -> Campaign:
    """A frozen campaign below `folder`; the data there serves for all."""
    size = SIZES[device]
    if not (folder / "data").exists():
        write_data(folder / "data", size)
    number = len(list(folder.glob("campaign-*")))
    campaign = Campaign(
        Layout(folder / f"campaign-{number}"),
        limits=PATIENT,
        tier=Tier(device="auto", threads=1, gpus=int(device == CUDA), pilots=1),
        scoring=size.scoring,
        sandbox=sandbox,
        life=life,
    )
    campaign.freeze()
    return campaign


def queue(campaign: Campaign, program: Honest, number: int = 1) -> Attempt:
    budget = SIZES[CUDA if campaign.tier.gpus else CPU].budget
    return campaign.queue(program.text, program.overrides, budget=budget, number=number)


# ---- something to learn ------------------------------------------------------------------------

WORDS = re.compile(rb"\w+|\s+|[^\w\s]")
SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}
DOCUMENT = 1000  # tokens


def write_data(directory: Path, size: Size) -> None:
    """Prepared data as train/prepare.py writes it, of Python's own files.

    Tokens are common words, and bytes for all others: made without anything to install.
    """
    pieces = list(words(size.megabytes))
    common = [word for word, _ in Counter(pieces).most_common() if len(word) > 1]
    table = [b"", *(bytes([k]) for k in range(256)), *common][: size.vocabulary]
    number = {word: k for k, word in enumerate(table)}
    bytewise = ([number[p]] if p in number else [1 + byte for byte in p] for p in pieces)
    tokens = np.fromiter((token for some in bytewise for token in some), dtype="<u2")
    tokens[::DOCUMENT] = 0
    lengths = np.ones(size.vocabulary, dtype="<i4")
    lengths[: len(table)] = [len(word) for word in table]
    write_splits(directory, size, tokens, lengths)


def words(megabytes: float) -> Iterator[bytes]:
    """Of the first so many megabytes of the standard library."""
    left = int(megabytes * 1e6)
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" not in path.parts and left > 0:
            text = path.read_bytes()[:left]
            left -= len(text)
            yield from WORDS.findall(text)


def write_splits(
    directory: Path, size: Size, tokens: NDArray[np.uint16], lengths: NDArray[np.int32]
) -> None:
    splits, start = {}, 0
    for split, share in SHARES.items():
        end = start + int(share * len(tokens))
        splits[split] = tokens[start:end]
        start = end
    write_prepared(directory, splits, lengths, size.scoring.length)
