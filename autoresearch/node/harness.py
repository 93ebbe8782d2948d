"""Runs train.py, inside the sandbox: once to train (the program), else to score weights.

Started by the referee with the numbers of four descriptors: a socket that says what to do, a pipe
for the answers, and two files in memory to fill and seal: with what was compiled, with weights.
This is the only module that imports torch. Nothing here is trusted: train.py shares its process.
"""

import contextlib
import importlib.util
import mmap
import os
import random
import resource
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType, TracebackType
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Json, Scalar
from autoresearch.node import compiled
from autoresearch.node.explain import PROGRAM, Diverged, explain, kind
from autoresearch.node.kernel import seal
from autoresearch.node.order import Order
from autoresearch.node.wire import ENTRY_LIMIT, NUMBER_LIMIT, Message, ToParent

READY_ONCE = "train() should call run.ready() once"
LOG_SECONDS = 0.1  # between two log messages to the referee
AHEAD = 2  # batches a GPU may lag behind the loop that feeds it


class Referee(ToParent):
    """The referee, as a harness sees it."""

    def __init__(self, reader: int, writer: int, compiled_to: int, weights_to: int) -> None:
        super().__init__(reader, writer)
        self.compiled_to = compiled_to
        self.weights_to = weights_to

    def ready(self) -> Message:
        """Say that nothing is left to compile; what comes then."""
        compiled.pack(self.compiled_to)
        self.send(Message("ready"))
        return self.receive()


class Run:
    """What train() sees of the world: a clock, batches, and a place to log.

    `device` is where batches lie; `seed` has seeded python, numpy and torch already.
    """

    def __init__(
        self, referee: Referee, device: torch.device, seed: int, vocabulary: int, context: int
    ) -> None:
        self.device = device
        self.seed = seed
        self._referee = referee
        self._vocabulary = vocabulary
        self._context = context
        self._order: Order | None = None
        self._started = 0.0
        self._seconds: float | None = None
        self._budget: int | None = None
        self._steps = 0
        self._tokens = 0
        self._in_hand = 0
        self._next_log = 0.0
        self._unsent: dict[str, float | Tensor] = {}
        self._marks: deque[torch.cuda.Event] = deque()

    def synthetic(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """A batch of random tokens, to compile and warm up on: (x, y), each (B, T) int64."""
        shape = (batch_size, self._context + 1)
        rows = torch.from_numpy(np.random.default_rng(0).integers(0, self._vocabulary, shape))
        return self._split(rows)

    def ready(self) -> None:
        """Say that set-up is done; returns when the referee has started the clock."""
        if self._order is not None:
            raise ConfigError(f"{READY_ONCE}, but called it twice")
        start = self._referee.ready()
        self._started = start.number("started")
        self._seconds = start.number("seconds") if start.fields["seconds"] is not None else None
        self._budget = start.count("tokens") if start.fields["tokens"] is not None else None
        mapped = mmap.mmap(start.descriptors[0], 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
        self._order = Order(np.frombuffer(mapped, dtype="<u2"), self._context, self.seed)

    def check_ready(self) -> None:
        """Raises ConfigError if the clock was never started."""
        if self._order is None:
            raise ConfigError(f"{READY_ONCE}, but never called it")

    @property
    def progress(self) -> float:
        """The share of the budget that is used up, in [0, 1]."""
        if self._budget is not None:
            return min(1.0, (self._tokens - self._in_hand) / self._budget)
        if self._seconds is None:
            return 0.0
        return min(1.0, (time.monotonic() - self._started) / self._seconds)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (x, y), each (B, T) int64 on the device, until the budget is used up."""
        if self._order is None:
            raise RuntimeError("run.batches() should come after run.ready()")
        while self._tokens < self._budget if self._budget is not None else self.progress < 1.0:
            rows = torch.from_numpy(self._order.take(batch_size))
            self._in_hand = rows.shape[0] * self._context
            self._tokens += self._in_hand
            self._steps += 1
            yield self._split(rows)
            self._keep_pace()
        self._in_hand = 0

    def log(self, **values: float | Tensor) -> None:
        """Scalars of this step, e.g. `loss`. Cheap: only the last of every 0.1 s is sent."""
        if len(values) > ENTRY_LIMIT:
            raise ValueError(f"run.log() takes at most {ENTRY_LIMIT} names, but got {len(values)}")
        self._unsent = {k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()}
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            self.flush()

    def flush(self) -> None:
        """Send what was logged last. Raises Diverged if the loss is not finite."""
        values = {name: float(value) for name, value in self._unsent.items()}
        self._unsent = {}
        finite = {name: value for name, value in values.items() if abs(value) <= NUMBER_LIMIT}
        if "loss" in values and "loss" not in finite:
            raise Diverged(f"the loss is {values['loss']} at step {self._steps}")
        memory = peak_memory(self.device)
        self._referee.send(Message("log", {**self.counts(), "memory": memory, "values": finite}))

    def counts(self) -> Json:
        return {"steps": self._steps, "tokens": self._tokens}

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type == "cuda":
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def _keep_pace(self) -> None:
        """A GPU queues work far ahead: without this, the budget would end long before it."""
        if self.device.type == "cuda":
            mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
            mark.record()
            self._marks.append(mark)
            if len(self._marks) > AHEAD:
                self._marks.popleft().synchronize()


def load(path: Path) -> ModuleType:
    """Import train.py by its path. Raises whatever it raises."""
    spec = importlib.util.spec_from_file_location("train", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} should be a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module  # dataclasses and torch.compile look it up there
    spec.loader.exec_module(module)
    for name in ("Config", "build", "train"):
        if not callable(getattr(module, name, None)):
            raise ConfigError(f"{PROGRAM} should define {name}, but does not")
    return module


def configure(
    module: ModuleType, parameters: dict[str, Scalar], vocabulary: int, context: int
) -> Any:
    """An instance of the program's Config. Raises ConfigError for a parameter it does not have."""
    config_class: Any = module.Config
    if not is_dataclass(config_class):
        raise ConfigError(f"Config in {PROGRAM} should be a dataclass, but is not")
    known = {field.name: field for field in fields(config_class) if field.init}
    for name in ("vocabulary", "context", *parameters):
        if name not in known:
            raise ConfigError(f"Config has no parameter '{name}'; {nearest(name, known)}")
    wanted = {
        name: float(value) if isinstance(known[name].default, float) else value
        for name, value in parameters.items()
    }
    return module.Config(**wanted, vocabulary=vocabulary, context=context)


def resolved(config: Any) -> dict[str, Scalar]:
    """Every plain value of a Config: the parameters that really ran."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {k: v for k, v in values.items() if isinstance(v, (bool, int, float, str))}


def build(module: ModuleType, config: Any, device: torch.device) -> nn.Module:
    with device:
        model = module.build(config)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"build() should return a torch.nn.Module, but returned {kind(model)}")
    return model.to(device)


def deliver(model: nn.Module, descriptor: int) -> None:
    """Fill and seal a file with the state dict. Raises Diverged unless its weights are finite."""
    masks = {name for name, _ in model.named_buffers(remove_duplicate=False)}  # may hold -inf
    state = {name: value.detach() for name, value in model.state_dict().items()}
    for name, value in state.items():
        broken = torch.isnan(value) if name in masks else ~torch.isfinite(value)
        if broken.any():
            raise Diverged(f"the weights '{name}' are not finite")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        torch.save({name: value.cpu() for name, value in state.items()}, file)
    seal(descriptor)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def bound_processes(most: int) -> None:
    """At any moment; the user's others want some until the referee finds that we have too many."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NPROC)
    few = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(resource.RLIMIT_NPROC, (few, few))


def device_facts(device: torch.device) -> Json:
    facts: Json = {"kind": device.type, "torch": str(torch.__version__)}
    if device.type != "cuda":
        return facts
    return {**facts, "name": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}


class Harness:
    """One process: what it was told to do, and the program it does it with."""

    def __init__(self, referee: Referee) -> None:
        self.referee = referee
        task = referee.receive()
        self.path = Path(task.text("program"))
        sys.excepthook = self.report
        if most := task.count("processes"):
            bound_processes(most)
        torch.set_num_threads(task.count("threads"))
        self.device = torch.device(task.text("device"))
        referee.send(Message("hello", {"device": device_facts(self.device)}))
        compiled.unpack(task.descriptors)
        self.seed = task.count("seed")
        self.vocabulary, self.context = task.count("vocabulary"), task.count("context")
        seed_everything(self.seed)
        self.module = load(self.path)
        parameters = task.scalars("parameters")
        self.config = configure(self.module, parameters, self.vocabulary, self.context)
        self.model = build(self.module, self.config, self.device)
        self.rows = task.count("rows")
        self.trains = task.text("role") == "program"

    def report(
        self, kind_: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """The excepthook: what ends the program reaches the referee under its name."""
        traceback.print_exception(kind_, error, trace)
        sys.stderr.flush()
        failure, reason = explain(error, trace, self.path)
        with contextlib.suppress(OSError):
            self.referee.send(Message("failed", {"failure": failure, "reason": reason[:2000]}))
        os._exit(1)

    def train(self) -> None:
        """The program's life: set up, train, deliver the weights, wait to be killed."""
        weights = sum(p.numel() for p in self.model.parameters())
        parameters = resolved(self.config)
        self.referee.send(Message("built", {"parameters": parameters, "weights": weights}))
        run = Run(self.referee, self.device, self.seed, self.vocabulary, self.context)
        self.module.train(run, self.config, self.model)
        run.check_ready()
        run.flush()
        deliver(self.model, self.referee.weights_to)
        done = {**run.counts(), "peak_memory": peak_memory(self.device)}
        self.referee.send(Message("done", done))
        self.referee.receive()

    def score(self) -> None:
        """A scorer's life: warm up without data, load weights, answer until killed.

        Once it is given weights it can open no file any more: nothing may be left to compile.
        """
        self.model.eval()
        shape = (self.rows, self.context + 1)
        rows = np.random.default_rng(0).integers(0, self.vocabulary, shape).astype("<u2")
        first = {"positions": [0] * self.rows}
        self.answer(Message("score", data=rows.tobytes()))
        self.answer(Message("logits", first, data=rows[:, 1:].tobytes()))
        with TemporaryFile() as own:  # whatever loading takes is there, too
            torch.save(self.model.state_dict(), own)
            own.seek(0)
            self.load_weights(own)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # the program needs it more
        weights = self.referee.ready()
        with os.fdopen(weights.descriptors[0], "rb") as file:
            self.load_weights(file)
        self.referee.send(Message("loaded"))
        while True:
            question = self.referee.receive()
            self.referee.send(Message("answer", data=self.answer(question).tobytes()))

    def load_weights(self, file: IO[bytes]) -> None:
        state = torch.load(file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state)

    def answer(self, question: Message) -> NDArray[np.float32]:
        return self.nats(question) if question.kind == "score" else self.chosen_logits(question)

    @torch.no_grad()
    def logits(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, T, V) for (B, T) tokens. Raises ConfigError if the program returns anything else."""
        logits = self.model(torch.from_numpy(rows).to(self.device))
        wanted = (*rows.shape, self.vocabulary)
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            raise ConfigError(f"build(): logits should be float {wanted}, but were {kind(logits)}")
        if tuple(logits.shape) != wanted:
            raise ConfigError(
                f"build(): logits should be (B, T, V) = {wanted}, but were {tuple(logits.shape)}"
            )
        return logits

    def nats(self, question: Message) -> NDArray[np.float32]:
        """(B, T) negative log-likelihoods of the targets of (B, T + 1) tokens."""
        rows = np.frombuffer(question.data, dtype="<u2").reshape(self.rows, -1).astype(np.int64)
        targets = torch.from_numpy(rows[:, 1:]).to(self.device)
        logits = self.logits(np.ascontiguousarray(rows[:, :-1]))
        each = [  # row by row: a float copy of all logits at once can be gigabytes
            nn.functional.cross_entropy(row.float(), target, reduction="none")
            for row, target in zip(logits, targets, strict=True)
        ]
        return torch.stack(each).cpu().numpy()

    def chosen_logits(self, question: Message) -> NDArray[np.float32]:
        """(B, V) logits of each of (B, T) rows at its asked position."""
        rows = np.frombuffer(question.data, dtype="<u2").reshape(self.rows, -1).astype(np.int64)
        positions = torch.tensor(question.fields["positions"], device=self.device)
        logits = self.logits(rows)
        chosen = logits[torch.arange(self.rows, device=self.device), positions]
        return chosen.float().cpu().numpy()


def peak_memory(device: torch.device) -> int:
    """Bytes of a GPU; 0 on a CPU, where the referee measures."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0


def main() -> None:
    try:
        harness = Harness(Referee(*map(int, sys.argv[1:])))
        if harness.trains:
            harness.train()
        else:
            harness.score()
    except SystemExit as left:
        raise ConfigError(f"{PROGRAM} should return, but called exit({left.code})") from left


if __name__ == "__main__":
    main()
