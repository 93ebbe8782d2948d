"""The harness's parts in this process; as a whole it is tried by test_attempt."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nodes import PROGRAM, VOCABULARY, text

from autoresearch.errors import ConfigError
from autoresearch.experiment import Scalar
from autoresearch.node import compiled, harness, kernel
from autoresearch.node.explain import Diverged
from autoresearch.node.harness import Run
from autoresearch.node.order import Order
from autoresearch.node.wire import Message, connect

CPU = torch.device("cpu")
CONTEXT = 16


def module_of(tmp_path: Path, program: str) -> ModuleType:
    path = tmp_path / "train.py"
    path.write_text(program)
    return harness.load(path)


# ---- the order of training rows ----------------------------------------------------------------


@given(st.integers(2, 400), st.integers(1, 20), st.lists(st.integers(1, 30), max_size=8))
def test_rows_are_contiguous_and_every_epoch_has_each_once(
    size: int, context: int, batches: list[int]
) -> None:
    tokens = np.arange(size, dtype=np.uint16)
    if size <= context:
        with pytest.raises(ConfigError, match="training split should hold more than"):
            Order(tokens, context, seed=1)
        return
    order = Order(tokens, context, seed=1)
    taken = [order.take(count) for count in batches]
    for batch, count in zip(taken, batches, strict=True):
        assert batch.shape == (count, context + 1)
        assert (np.diff(batch, axis=1) == 1).all()
    starts = np.concatenate([batch[:, 0] for batch in taken]) if taken else np.empty(0)
    assert (starts % context == 0).all()
    for first in range(0, len(starts) - order.rows + 1, order.rows):
        assert len(set(starts[first : first + order.rows])) == order.rows


def test_the_order_depends_on_the_seed_alone() -> None:
    tokens = text(4000, seed=0)
    whole = Order(tokens, CONTEXT, seed=3).take(600)
    pieces = Order(tokens, CONTEXT, seed=3)
    assert (np.concatenate([pieces.take(100) for _ in range(6)]) == whole).all()
    assert (Order(tokens, CONTEXT, seed=4).take(600) != whole).any()


# ---- a run, with this test as its referee ------------------------------------------------------


class Referee:
    """The other end of a run: starts its clock and hears what it says."""

    def __init__(self) -> None:
        self.connection, theirs = connect()
        files = (kernel.memory_file("compiled"), kernel.memory_file("weights"))
        self.run = Run(harness.Referee(*theirs, *files), CPU, 1, VOCABULARY, CONTEXT)

    def start(self, **budget: Any) -> Run:
        descriptor = kernel.memory_file("tokens")
        os.write(descriptor, text(4000, seed=0).tobytes())
        started = threading.Thread(target=self.run.ready)
        started.start()
        assert self.connection.receive().kind == "ready"
        fields = {"started": time.monotonic(), "seconds": None, "tokens": None, **budget}
        self.connection.send(Message("start", fields, descriptors=(descriptor,)))
        started.join()
        os.close(descriptor)
        return self.run

    def heard(self) -> list[Message]:
        self.connection.read()
        return list(self.connection.inbox)


@pytest.fixture
def referee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Referee]:
    for name, folder in compiled.environment(tmp_path).items():
        monkeypatch.setenv(name, folder)
    referee = Referee()
    yield referee
    referee.connection.close()
    referee.run._referee.close()


def test_a_budget_in_tokens_hands_out_that_many_and_no_batch_more(referee: Referee) -> None:
    run = referee.start(tokens=1000)
    seen = []
    for x, y in run.batches(8):
        assert x.shape == y.shape == (8, CONTEXT)
        assert x.dtype == y.dtype == torch.int64
        assert torch.equal(x[:, 1:], y[:, :-1])
        seen.append(run.progress)
    assert seen == [i * 128 / 1000 for i in range(8)]
    assert run.counts() == {"steps": 8, "tokens": 1024}
    assert run.progress == 1.0
    assert list(run.batches(8)) == []


def test_batches_of_several_sizes_share_one_budget(referee: Referee) -> None:
    run = referee.start(tokens=1000)
    for _ in run.batches(2):
        if run.progress >= 0.5:
            break
    assert sum(len(x) for x, _ in run.batches(4)) * CONTEXT >= 450
    assert 1000 <= run.counts()["tokens"] < 1000 + 4 * CONTEXT


def test_a_budget_in_seconds_ends_on_the_referees_clock(referee: Referee) -> None:
    started = time.monotonic() - 100
    run = referee.start(seconds=100.5, started=started)
    for _ in run.batches(4):
        assert 0.99 < run.progress <= 1
        time.sleep(0.001)
    assert time.monotonic() - started >= 100.5
    assert run.progress == 1.0


def test_batches_before_ready_are_an_error(referee: Referee) -> None:
    assert referee.run.progress == 0.0
    with pytest.raises(RuntimeError, match=r"after run\.ready"):
        next(referee.run.batches(1))


def test_ready_is_called_once(referee: Referee) -> None:
    with pytest.raises(ConfigError, match=r"call run\.ready\(\) once, but never called it"):
        referee.run.check_ready()
    run = referee.start(tokens=1000)
    run.check_ready()
    with pytest.raises(ConfigError, match=r"call run\.ready\(\) once, but called it twice"):
        run.ready()
    assert referee.heard() == []


def test_synthetic_batches_look_like_real_ones(referee: Referee) -> None:
    x, y = referee.run.synthetic(3)
    assert x.shape == y.shape == (3, CONTEXT)
    assert x.dtype == torch.int64
    assert int(x.max()) < VOCABULARY
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_logs_are_few_and_the_last_one_is_never_lost(referee: Referee) -> None:
    run = referee.start(tokens=10_000)
    loss = torch.tensor(2.0, requires_grad=True)
    for step, _ in enumerate(run.batches(8)):
        run.log(loss=loss * (step + 1), other=float("inf"))
    run.flush()
    heard = referee.heard()
    assert len(heard) < 10
    assert heard[-1].scalars("values") == {"loss": 2.0 * (step + 1)}
    assert heard[-1].count("steps") == step + 1


def test_a_log_the_referee_would_not_believe_is_not_sent(referee: Referee) -> None:
    run = referee.start(tokens=1000)
    with pytest.raises(ValueError, match="at most 500 names, but got 501"):
        run.log(**dict.fromkeys(map(str, range(501)), 1.0))
    run.log(loss=1.0, huge=1e301, low=-1e301, nan=float("nan"))
    (message,) = referee.heard()
    assert message.scalars("values") == {"loss": 1.0}


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -1e301, torch.tensor(float("nan"))])
def test_a_loss_that_is_not_finite_is_a_divergence(
    referee: Referee, loss: float | torch.Tensor
) -> None:
    run = referee.start(tokens=1000)
    next(iter(run.batches(1)))
    with pytest.raises(Diverged, match="at step 1"):
        run.log(loss=loss)


# ---- train.py ------------------------------------------------------------------------------------


def test_a_program_is_configured_with_overrides_and_the_data_s_sizes(tmp_path: Path) -> None:
    module = module_of(tmp_path, PROGRAM)
    config = harness.configure(module, {"lr": 1, "width": 4}, VOCABULARY, CONTEXT)
    assert harness.resolved(config) == {
        "vocabulary": VOCABULARY,
        "context": CONTEXT,
        "width": 4,
        "lr": 1.0,
        "batch": 8,
    }
    assert isinstance(config.lr, float)


@pytest.mark.parametrize(
    ("program", "parameters", "complaint"),
    [
        (PROGRAM, {"widht": 4}, "Config has no parameter 'widht'; did you mean 'width'"),
        ("class Config: pass\nbuild = train = print", {}, "should be a dataclass"),
        ("Config = build = print", {}, "should define train"),
        (PROGRAM.replace("context: int", "length: int"), {}, "has no parameter 'context'"),
    ],
)
def test_a_program_that_keeps_not_to_the_contract_is_told_which_part(
    tmp_path: Path, program: str, parameters: dict[str, Scalar], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        harness.configure(module_of(tmp_path, program), parameters, VOCABULARY, CONTEXT)


def test_only_modules_are_models(tmp_path: Path) -> None:
    module = module_of(tmp_path, PROGRAM)
    module.build = lambda config: 3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"return a torch\.nn\.Module, but returned int"):
        harness.build(module, None, CPU)


@pytest.fixture
def weights_to() -> Iterator[int]:
    descriptor = kernel.memory_file("weights")
    yield descriptor
    os.close(descriptor)


def test_weights_are_delivered_and_sealed(weights_to: int) -> None:
    harness.deliver(torch.nn.Linear(2, 2), weights_to)
    assert kernel.is_sealed(weights_to)


def test_weights_that_are_not_finite_are_not_delivered(weights_to: int) -> None:
    model = torch.nn.Linear(2, 2)
    model.bias.data[0] = float("inf")
    with pytest.raises(Diverged, match="the weights 'bias' are not finite"):
        harness.deliver(model, weights_to)
    assert not kernel.is_sealed(weights_to)


def test_buffers_may_hold_infinities_but_not_nan(weights_to: int) -> None:
    model = torch.nn.Linear(2, 2)
    mask = torch.full((2, 2), -torch.inf).triu(1)
    model.register_buffer("mask", mask)
    mask[0, 0] = torch.nan
    with pytest.raises(Diverged, match="the weights 'mask' are not finite"):
        harness.deliver(model, weights_to)
    mask[0, 0] = 0.0
    harness.deliver(model, weights_to)


def test_one_seed_is_one_start() -> None:
    def draw() -> tuple[float, float]:
        harness.seed_everything(5)
        return float(torch.rand(1)), float(np.random.rand())

    assert draw() == draw()


@pytest.mark.gpu
def test_a_gpu_s_facts_and_batches(referee: Referee) -> None:
    referee.run.device = torch.device("cuda")
    x, _ = referee.run.synthetic(2)
    assert x.is_cuda
    assert harness.device_facts(referee.run.device)["name"] == torch.cuda.get_device_name()
