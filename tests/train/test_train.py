"""train.py against references: attention, optimiser, schedules, and its side of the contract."""

import ast
import dataclasses
import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autoresearch import program
from autoresearch.layout import shipped

SCRIPT = shipped("train") / "train.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


train = load()


def tiny(**changes: Any) -> Any:
    """A Config that a test can afford."""
    small = {
        "vocabulary": 64,
        "context": 32,
        "depth": 2,
        "aspect_ratio": 16,
        "head_dim": 16,
        "total_batch_size": 256,
        "device_batch_size": 8,
    }
    return train.Config(**{**small, **changes})


def built(config: Any, seed: int = 0, noise: float = 0.0) -> nn.Module:
    """A model; with `noise`, as if trained: at first every layer adds 0."""
    torch.manual_seed(seed)
    model: nn.Module = train.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def rows(config: Any, count: int = 4, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocabulary, (count, config.context), generator=rng)


class Run:
    """The contract's `run` with a budget in tokens, over tokens that follow one another."""

    device = torch.device("cpu")

    def __init__(self, config: Any, tokens: NDArray[np.int64], budget: int, seed: int = 1) -> None:
        self.config, self.tokens, self.budget, self.seed = config, tokens, budget, seed
        self.handed_out = 0
        self.is_ready = False
        self.losses: list[float] = []
        self.at_ready: Callable[[], None] = lambda: None

    def synthetic(self, batch_size: int) -> tuple[Tensor, Tensor]:
        assert not self.is_ready
        rng = np.random.default_rng(0)
        return self.split(rng.integers(0, self.config.vocabulary, self.shape(batch_size)))

    def ready(self) -> None:
        self.at_ready()
        self.is_ready = True

    @property
    def progress(self) -> float:
        return self.handed_out / self.budget

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        assert self.is_ready
        rng = np.random.default_rng(self.seed)
        starts = rng.permutation(len(self.tokens) - self.config.context)
        size = batch_size * self.config.context
        for count in range(-(-self.budget // size)):
            chosen = starts.take(count * batch_size + np.arange(batch_size), mode="wrap")
            yield self.split(self.tokens[chosen[:, None] + np.arange(self.config.context + 1)])
            self.handed_out = min(self.budget, (count + 1) * size)

    def log(self, **values: float | Tensor) -> None:
        self.losses.append(float(values["loss"]))

    def shape(self, batch_size: int) -> tuple[int, int]:
        return batch_size, self.config.context + 1

    @staticmethod
    def split(batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        tokens = torch.from_numpy(batch)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def english(vocabulary: int) -> NDArray[np.int64]:
    """Real text as byte tokens: this project's own prose."""
    text = (shipped("train") / "program.md").read_bytes() + SCRIPT.read_bytes()
    return np.frombuffer(text, np.uint8).astype(np.int64) % vocabulary


def trained(config: Any, seed: int = 1, budget: int = 8192) -> tuple[nn.Module, Run]:
    run = Run(config, english(config.vocabulary), budget, seed)
    model = built(config, seed)
    train.train(run, config, model)
    return model, run


# ---- the file as the project reads it ----------------------------------------------------------


def test_every_field_of_config_is_a_plain_literal_with_a_meaning() -> None:
    tree = ast.parse(SCRIPT.read_text())
    (config,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
    values = {}
    for statement in config.body:
        assert isinstance(statement, ast.AnnAssign)
        assert isinstance(statement.target, ast.Name)
        assert statement.value is not None
        values[statement.target.id] = ast.literal_eval(statement.value)
    assert values == dataclasses.asdict(train.Config())
    assert all(type(value) in (int, float, bool, str) for value in values.values())
    assert {"vocabulary", "context"} < set(values)
    assert "seed" not in values


def test_sources_can_rewrite_its_defaults() -> None:
    text = SCRIPT.read_text()
    baked = program.bake(text, {"matrix_lr": 0.02, "window_pattern": "SL", "compile": False})
    assert program.parameters(baked) == {
        **program.parameters(text),
        "matrix_lr": 0.02,
        "window_pattern": "SL",
        "compile": False,
    }


def test_it_imports_torch_and_the_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {a.name for n in imports if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in imports if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {"torch", "numpy", *sys.stdlib_module_names}


def test_run_by_hand_it_says_how_to_run_it() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "autoresearch run" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_default_model_has_the_size_of_the_seed_s() -> None:
    """karpathy/autoresearch reports 50.3 M parameters for depth 8."""
    with torch.device("meta"):
        model = train.build(train.Config())
    assert sum(p.numel() for p in model.parameters()) == 50_332_176


# ---- the model ---------------------------------------------------------------------------------


def test_an_untrained_model_knows_nothing() -> None:
    """Every token costs ln V, so bits per byte are log2 V * tokens / bytes."""
    config = tiny(vocabulary=1024)
    x = rows(config, 16)
    with torch.no_grad():
        logits = built(config)(x)
    assert logits.shape == (16, 32, 1024)
    assert logits.dtype == torch.float32
    nats = cross_entropy(logits.flatten(0, 1), rows(config, 16, seed=1).flatten())
    assert nats.item() / math.log(2) == pytest.approx(math.log2(1024), rel=0.005)


@pytest.mark.parametrize("position", [1, 17, 31])
def test_no_position_sees_what_comes_later(position: int) -> None:
    config = tiny(depth=4, window_pattern="SSSL")
    model = built(config, noise=0.1)
    x = rows(config)
    y = x.clone()
    y[:, position:] = rows(config, seed=1)[:, position:]
    with torch.no_grad():
        a, b = model(x), model(y)
    assert torch.equal(a[:, :position], b[:, :position])
    assert not torch.allclose(a[:, position:], b[:, position:])


def test_a_prefix_is_scored_like_a_whole_row() -> None:
    config = tiny(depth=3)
    model = built(config, noise=0.1)
    x = rows(config)
    with torch.no_grad():
        assert torch.allclose(model(x)[:, :20], model(x[:, :20]), atol=1e-5)


@pytest.mark.parametrize(
    ("pattern", "reach"),
    [("L", 31), ("S", 31), ("SL", 31)],  # the last layer always sees everything
)
def test_the_last_layer_sees_the_whole_row(pattern: str, reach: int) -> None:
    assert farthest(tiny(depth=1, window_pattern=pattern)) == reach


def test_a_short_layer_sees_half_the_context() -> None:
    """With attention of the last layer cut off, only the first layer's window is left."""
    config = tiny(depth=2, window_pattern="SL")
    model = built(config, noise=0.1)
    with torch.no_grad():
        model.get_submodule("blocks.1.attention.output").get_parameter("weight").zero_()
    assert farthest(config, model) == config.context // 2
    assert train.window_of(0, tiny(depth=4)) == 16
    assert [train.window_of(k, tiny(depth=5)) for k in range(5)] == [16, 16, 16, 32, 32]


def farthest(config: Any, model: nn.Module | None = None) -> int:
    """How many tokens back a change still moves the last position's logits."""
    model = model or built(config, noise=0.1)
    x = rows(config, 1)
    last = config.context - 1
    found = 0
    with torch.no_grad():
        reference = model(x)[0, last]
        for back in range(config.context):
            y = x.clone()
            y[0, last - back] = (y[0, last - back] + 1) % config.vocabulary
            if not torch.equal(model(y)[0, last], reference):
                found = back
    return found


def test_attention_agrees_with_softmax_written_out() -> None:
    config = tiny(depth=2, window_pattern="SL")
    layer = built(config, noise=0.1).get_submodule("blocks.1.attention")
    x, values = torch.randn(2, 2, 32, 32)
    angles = torch.outer(torch.arange(32.0), 10000 ** -(torch.arange(0, 16, 2) / 16))
    cos, sin = angles.cos(), angles.sin()
    back = torch.arange(32)[:, None] - torch.arange(32)[None, :]
    mask = (back >= 0) & (back <= 5)
    found = layer(x, values, cos, sin, mask)

    def turned(y: Tensor) -> Tensor:
        """Pairs (y_k, y_{k+8}) as complex numbers, turned by minus the angle, then normed."""
        z = torch.complex(y[..., :8], y[..., 8:]) * torch.polar(torch.ones_like(angles), -angles)
        y = torch.cat([z.real, z.imag], -1)
        rms = y.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps
        return y / rms.sqrt()

    heads = []
    gate = 2 * torch.sigmoid(x @ layer.get_submodule("gate").get_parameter("weight").T)
    for head in range(2):
        part = slice(16 * head, 16 * head + 16)
        q, k, v = (
            (x @ layer.get_submodule(name).get_parameter("weight").T)[..., part]
            for name in ("query", "key", "value")
        )
        v = v + gate[..., head : head + 1] * values[..., part]
        scores = turned(q) @ turned(k).mT / 16**0.5
        heads.append(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v)
    wanted = torch.cat(heads, -1) @ layer.get_submodule("output").get_parameter("weight").T
    assert torch.allclose(found, wanted, atol=1e-5)


def test_rotary_makes_attention_depend_on_distance_only() -> None:
    config = tiny()
    model = built(config)
    q, k = torch.randn(2, 16)
    cos, sin = model.get_buffer("cos"), model.get_buffer("sin")

    def score(i: int, j: int) -> float:
        return float(train.rotate(q, cos[i], sin[i]) @ train.rotate(k, cos[j], sin[j]))

    assert score(9, 4) == pytest.approx(score(25, 20), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-2)


def test_value_embeddings_alternate_and_the_last_layer_has_one() -> None:
    for depth in (1, 2, 5, 8):
        having = [k for k in range(depth) if train.has_value_embedding(k, depth)]
        assert having == list(range((depth - 1) % 2, depth, 2))


def test_logits_stay_within_the_softcap() -> None:
    config = tiny(softcap=3.0)
    model = built(config)
    with torch.no_grad():
        model.get_submodule("head").get_parameter("weight").mul_(1e6)
        logits = model(rows(config))
    assert 2.9 < logits.abs().max() <= 3.0


def test_weights_alone_rebuild_the_model() -> None:
    """The scorer builds with another random state and loads the state dict."""
    config = tiny(depth=4)
    model, other = built(config, seed=1, noise=0.1), built(config, seed=2)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(rows(config)), other(rows(config)))


def test_a_wrong_window_pattern_is_named() -> None:
    with pytest.raises(ValueError, match="made of S and L, not 'SXL'"):
        train.build(tiny(window_pattern="SXL"))


# ---- the optimiser -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "least"),
    [
        ((2, 256, 64), 0.8),
        ((2, 64, 256), 0.8),
        ((1, 2, 32), 0.8),
        ((3, 64, 64), 0.05),  # the least singular value of a random square matrix is nearly 0
    ],
)
def test_orthogonalisation_keeps_singular_vectors_and_levels_singular_values(
    shape: tuple[int, ...], least: float
) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = train.orthogonalize(matrices, 5)
    singular = torch.linalg.svdvals(found)
    assert singular.min() > least
    assert singular.max() < 1.2
    assert singular.median() == pytest.approx(1.0, abs=0.2)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    exact = u @ v
    cosine = (found * exact).sum((-2, -1)) / (found.norm(dim=(-2, -1)) * exact.norm(dim=(-2, -1)))
    assert cosine.min() > 0.98


def test_orthogonalisation_lifts_even_small_singular_values() -> None:
    torch.manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(64, 64))
    v, _ = torch.linalg.qr(torch.randn(64, 64))
    matrix = u @ torch.diag(torch.logspace(-2, 0, 64)) @ v
    assert torch.linalg.svdvals(train.orthogonalize(matrix[None], 5)).min() > 0.6


def test_evening_out_levels_neurons_and_keeps_the_norm() -> None:
    torch.manual_seed(0)
    update = torch.randn(2, 128, 64) * torch.logspace(-1, 1, 128)[:, None]
    even = train.even_out(update, torch.zeros(2, 128, 1), beta2=0.0)
    sizes = even.square().mean(-1)
    assert torch.allclose(even.norm(dim=(-2, -1)), update.norm(dim=(-2, -1)), rtol=1e-4)
    assert torch.allclose(sizes, sizes.mean(dim=1, keepdim=True).expand(2, 128), rtol=1e-4)
    wide = train.even_out(update.mT, torch.zeros(2, 1, 128), beta2=0.0)
    assert torch.allclose(wide, even.mT, rtol=1e-4)


def test_weights_decay_only_where_the_update_agrees() -> None:
    """With weights much larger than the update, what decay changes is lr * decay * weight."""
    torch.manual_seed(0)
    config = tiny(matrix_lr=0.1, muon_momentum=0.0)
    gradient = torch.randn(32, 32)
    start = 10 * torch.randn(32, 32)
    moved = {}
    for decay in (0.0, 0.5):
        weight = nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        with torch.no_grad():
            train.Muon([weight], config).step(1.0, 0.0, decay)
        moved[decay] = weight.detach() - start
    agrees = -moved[0.0] * start >= 0
    expected = torch.where(agrees, -0.1 * 0.5 * start, torch.zeros(()))
    assert torch.allclose(moved[0.5] - moved[0.0], expected, atol=1e-5)
    assert 0.3 < agrees.float().mean() < 0.7


def test_muon_steps_are_as_large_as_the_learning_rate_says() -> None:
    """An orthogonal (rows, columns) update has norm sqrt(min); tall matrices move further."""
    for shape, scale in (((64, 64), 1.0), ((256, 64), 2.0), ((64, 256), 1.0)):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape)
        with torch.no_grad():
            train.Muon([weight], tiny(matrix_lr=0.01)).step(1.0, 0.9, 0.0)
        assert weight.norm().item() == pytest.approx(0.01 * scale * 8, rel=0.15)


def test_every_parameter_is_trained_by_exactly_one_optimiser() -> None:
    model = built(tiny(depth=4))
    optimizer = train.Optimizer(model, tiny(depth=4))
    by_muon = [m for group, _, _ in optimizer.muon.groups for m in group]
    by_adamw = [p for group in optimizer.adamw.param_groups for p in group["params"]]
    assert sorted(map(id, by_muon + by_adamw)) == sorted(map(id, model.parameters()))
    assert all(m.dim() == 2 for m in by_muon)


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.5, 1.0), (0.6, 1.0), (0.8, 0.55), (1.0, 0.1)],
)
def test_learning_rates_rise_stay_and_fall(progress: float, rate: float) -> None:
    config = tiny(warmup_ratio=0.1, warmdown_ratio=0.4, final_lr_frac=0.1)
    assert train.learning_rate(progress, config) == pytest.approx(rate)


def test_a_schedule_without_warm_up_or_warm_down_is_level() -> None:
    config = tiny(warmup_ratio=0.0, warmdown_ratio=0.0)
    assert [train.learning_rate(p, config) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


# ---- the contract ------------------------------------------------------------------------------


def test_training_learns_real_text() -> None:
    _, run = trained(tiny(vocabulary=256), budget=40_000)
    assert run.losses[0] == pytest.approx(math.log(256), rel=0.01)
    assert np.mean(run.losses[-10:]) < 0.6 * run.losses[0]


def test_the_warm_up_leaves_no_trace() -> None:
    """At ready, weights and random state are as build() left them, and no gradient is around."""
    config = tiny()
    run, model = Run(config, english(64), 2048), built(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    checked = []

    def compare() -> None:
        assert all(torch.equal(before[name], v) for name, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        assert torch.equal(torch.get_rng_state(), state)
        checked.append(True)

    run.at_ready = compare
    train.train(run, config, model)
    assert checked == [True]
    assert not all(torch.equal(before[name], v) for name, v in model.state_dict().items())


def test_the_first_step_is_a_new_optimiser_s_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the warm-up's momentum is left: without it, training ends at the same weights."""
    with_warm_up, _ = trained(tiny(), budget=1024)
    monkeypatch.setattr(train, "warm_up", lambda *_: None)
    without, _ = trained(tiny(), budget=1024)
    assert same(with_warm_up, without)


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_seed_decides_the_weights() -> None:
    assert same(trained(tiny(), seed=1)[0], trained(tiny(), seed=1)[0])
    assert not same(trained(tiny(), seed=1)[0], trained(tiny(), seed=2)[0])


def test_small_batches_add_up_to_a_large_one() -> None:
    """Up to rounding, which adam_eps keeps from being amplified where the true gradient is 0."""
    for budget in (256, 2048):
        whole, one = trained(tiny(device_batch_size=8, adam_eps=1e-3), budget=budget)
        parts, four = trained(tiny(device_batch_size=2, adam_eps=1e-3), budget=budget)
        assert len(four.losses) == budget // 256
        assert np.allclose(one.losses, four.losses, rtol=1e-3)
        if budget == 256:  # later, rounding grows: orthogonalising has no small differences
            assert all(
                close(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True)
            )


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize(
    ("batch", "rows_at_most", "expected"),
    [(256, 8, (8, 1)), (256, 2, (2, 4)), (64, 8, (2, 1)), (1024, 8, (8, 4))],
)
def test_a_batch_is_split_into_forwards(
    batch: int, rows_at_most: int, expected: tuple[int, int]
) -> None:
    config = tiny(total_batch_size=batch, device_batch_size=rows_at_most)
    assert train.split_batch(config) == expected


@pytest.mark.parametrize("batch", [300, 16, 0])
def test_a_batch_that_does_not_fit_is_named(batch: int) -> None:
    with pytest.raises(ValueError, match="total_batch_size should be a multiple of"):
        train.split_batch(tiny(total_batch_size=batch))


def test_a_diverged_run_ends_at_once() -> None:
    config = tiny()
    run, model = Run(config, english(64), 100_000), built(config)

    def poison() -> None:
        with torch.no_grad():
            model.get_parameter("stream_scale").fill_(math.nan)

    run.at_ready = poison
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        train.train(run, config, model)
    assert run.losses == []


def test_divergence_in_mid_training_is_seen_within_ten_steps() -> None:
    config = tiny(scalar_lr=1e38, total_batch_size=64)
    run, model = Run(config, english(64), 6400), built(config)
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at step"):
        train.train(run, config, model)
    finite = sum(map(math.isfinite, run.losses))
    assert len(run.losses) - finite <= train.CHECK


@pytest.mark.gpu
def test_a_gpu_computes_what_a_cpu_does() -> None:
    """bf16 against fp32: 8 bits of mantissa."""
    config = tiny(context=256, depth=4, head_dim=64, vocabulary=512)
    model = built(config, noise=0.05)
    on_gpu = built(config, noise=0.05).cuda()
    x = rows(config)
    with torch.no_grad():
        wanted, found = model(x), on_gpu(x.cuda()).cpu()
    assert found.dtype == torch.float32
    assert (wanted - found).abs().max() < 0.03 * wanted.abs().max()
    y = x.clone()
    y[:, 100:] = rows(config, seed=1)[:, 100:]
    with torch.no_grad():
        assert torch.equal(on_gpu(y.cuda()).cpu()[:, :100], found[:, :100])


def test_program_md_names_what_train_py_must_keep() -> None:
    text = (Path(SCRIPT).parent / "program.md").read_text()
    for word in ("Config", "build(config)", "train(run, config, model)", "run.ready()", "causal"):
        assert word in text
