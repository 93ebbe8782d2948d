"""The program under research: a small GPT, its optimiser and its training loop, in one file.

The project runs it: a referee imports this file, calls build() and train(), owns the clock and the
data, and scores the weights. program.md says what may be changed here, and what must stay. On a GPU
forward runs in bf16, on a CPU in fp32. torch, numpy and the standard library only; no network.

The family is that of karpathy/autoresearch and nanochat; numbers without a source are from there.
"""

import copy
import math
import sys
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


# Every field can be overridden for one experiment, and searched. Defaults stay plain literals: the
# project reads and rewrites them in this text. They are the values for one 80 GB GPU and 300 s.
@dataclass
class Config:
    # Text: set by the referee, never searched
    vocabulary: int = 8192  # tokens there are
    context: int = 2048  # tokens in a row
    # Model
    depth: int = 8  # layers
    aspect_ratio: int = 64  # width = depth * aspect_ratio, rounded up to whole heads
    head_dim: int = 128  # width of one attention head
    mlp_ratio: int = 4  # hidden width of the MLP, in widths of the model
    window_pattern: str = "SSSL"  # layer by layer, repeated: L sees all, S half; the last is an L
    rotary_base: float = 10000.0  # slowest rotation of a position: one turn in 2 pi * base tokens
    gate_channels: int = 32  # how much of the stream decides about value embeddings
    softcap: float = 15.0  # logits stay within +- this
    # Batch
    total_batch_size: int = 524288  # tokens per optimiser step
    device_batch_size: int = 128  # rows per forward, at most; halve it if memory runs out
    # Learning rates; those of AdamW are for width 768 and scale with width ** -0.5
    embedding_lr: float = 0.6  # token and value embeddings (AdamW)
    unembedding_lr: float = 0.004  # the output head (AdamW)
    matrix_lr: float = 0.04  # every matrix inside the layers (Muon)
    scalar_lr: float = 0.5  # scales of the two streams (AdamW)
    # Optimisers
    weight_decay: float = 0.2  # of matrices, where it agrees with the update; falls to 0 at the end
    adam_beta1: float = 0.8  # memory of the gradient
    adam_beta2: float = 0.95  # memory of its square
    adam_eps: float = 1e-10  # gradients below this count as 0
    muon_momentum: float = 0.95  # reached after muon_momentum_steps
    muon_momentum_start: float = 0.85
    muon_momentum_steps: int = 300
    muon_ns_steps: int = 5  # iterations of the orthogonalisation
    muon_beta2: float = 0.95  # memory of each neuron's squared update
    # Schedule, in shares of the budget
    warmup_ratio: float = 0.0  # learning rates rise from 0
    warmdown_ratio: float = 0.5  # learning rates fall in a straight line ...
    final_lr_frac: float = 0.0  # ... to this share of their full value
    # Speed
    compile: bool = True  # torch.compile, on a GPU only


# --------------------------------------------------------------------------------------------------
# Model


def width_of(config):
    """depth * aspect_ratio, rounded up to a whole number of heads."""
    heads = math.ceil(config.depth * config.aspect_ratio / config.head_dim)
    return heads * config.head_dim


def has_value_embedding(layer, depth):
    """Every other layer, counted so that the last one has it."""
    return layer % 2 == (depth - 1) % 2


def window_of(layer, config):
    """How many tokens before its own a position sees."""
    if set(config.window_pattern) - set("SL") or not config.window_pattern:
        raise ValueError(f"window_pattern should be made of S and L, not {config.window_pattern!r}")
    is_long = config.window_pattern[layer % len(config.window_pattern)] == "L"
    return config.context if is_long or layer == config.depth - 1 else config.context // 2


def norm(x):
    """RMSNorm without a learned gain."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x, cos, sin):
    """Rotary position embedding: (B, heads, T, head_dim), its halves are the two coordinates."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)


class Attention(nn.Module):
    """Causal attention with rotary positions, normed queries and keys, and a sliding window."""

    def __init__(self, config, layer):
        super().__init__()
        width = width_of(config)
        self.heads = width // config.head_dim
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.gate = None
        if has_value_embedding(layer, config.depth):
            self.gate = nn.Linear(min(config.gate_channels, width), self.heads, bias=False)

    def forward(self, x, value_embedding, cos, sin, mask):
        B, T, C = x.shape

        def by_head(y):
            return y.view(B, T, self.heads, C // self.heads).transpose(1, 2)

        q, k, v = by_head(self.query(x)), by_head(self.key(x)), by_head(self.value(x))
        if self.gate is not None:
            # A second source of values, the token itself, let in per head (ResFormer). The gate
            # lies in (0, 2) and starts at 1.
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))
            v = v + gate.transpose(1, 2).unsqueeze(-1) * by_head(value_embedding)
        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))
        v = v.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.output(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    """Two matrices with ReLU squared between them."""

    def __init__(self, config):
        super().__init__()
        width = width_of(config)
        self.up = nn.Linear(width, config.mlp_ratio * width, bias=False)
        self.down = nn.Linear(config.mlp_ratio * width, width, bias=False)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())


class Block(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(self, x, value_embedding, cos, sin, mask):
        x = x + self.attention(norm(x), value_embedding, cos, sin, mask)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """(B, T) int64 tokens -> (B, T, vocabulary) float logits of the token after each."""

    def __init__(self, config):
        super().__init__()
        width, depth = width_of(config), config.depth
        self.softcap = config.softcap
        self.embedding = nn.Embedding(config.vocabulary, width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(depth))
        self.head = nn.Linear(width, config.vocabulary, bias=False)
        self.value_embeddings = nn.ModuleDict(
            {
                str(layer): nn.Embedding(config.vocabulary, width)
                for layer in range(depth)
                if has_value_embedding(layer, depth)
            }
        )
        # What enters layer i: stream_scale[i] * the stream + input_scale[i] * the embedded tokens.
        self.stream_scale = nn.Parameter(torch.ones(depth))
        self.input_scale = nn.Parameter(torch.full((depth,), 0.1))
        self.add_tables(config)
        self.initialize(width)

    def add_tables(self, config):
        """Rotary angles and the masks of windowed layers: fixed, so not part of the weights."""
        half = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        positions = torch.arange(config.context, dtype=torch.float32)
        angles = torch.outer(positions, config.rotary_base**-half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.windows = [window_of(layer, config) for layer in range(config.depth)]
        back = positions[:, None] - positions[None, :]
        for window in set(self.windows) - {config.context}:
            mask = (back >= 0) & (back <= window)
            self.register_buffer(f"mask_{window}", mask, persistent=False)

    @torch.no_grad()
    def initialize(self, width):
        """Every layer starts as the identity: what it adds to the stream is 0."""
        bound = (3 / width) ** 0.5  # of a uniform distribution with deviation width ** -0.5
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.normal_(self.head.weight, std=0.001)  # all tokens equally likely, nearly
        for block in self.blocks:
            attention = block.attention
            for linear in (attention.query, attention.key, attention.value, block.mlp.up):
                nn.init.uniform_(linear.weight, -bound, bound)
            for linear in (attention.output, block.mlp.down, attention.gate):
                if linear is not None:
                    nn.init.zeros_(linear.weight)
        for table in self.value_embeddings.values():
            nn.init.uniform_(table.weight, -bound, bound)

    def forward(self, tokens):
        on_gpu = tokens.is_cuda
        with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=on_gpu):
            return self.logits(tokens, torch.bfloat16 if on_gpu else torch.float32)

    def logits(self, tokens, dtype):
        T = tokens.size(1)
        cos, sin = self.cos[:T].to(dtype), self.sin[:T].to(dtype)
        x = start = norm(self.embedding(tokens)).to(dtype)
        for layer, block in enumerate(self.blocks):
            x = self.stream_scale[layer] * x + self.input_scale[layer] * start
            values = None
            if block.attention.gate is not None:
                values = self.value_embeddings[str(layer)](tokens).to(dtype)
            mask = getattr(self, f"mask_{self.windows[layer]}", None)
            x = block(x, values, cos, sin, None if mask is None else mask[:T, :T])
        logits = self.head(norm(x)).float()
        return self.softcap * torch.tanh(logits / self.softcap)


# --------------------------------------------------------------------------------------------------
# Optimiser: Muon for the matrices inside the layers, AdamW for everything else

# Polar Express (Amsel et al. 2025): the best odd polynomials of degree 5, one per iteration, to
# bring singular values from anywhere in (0, 1] close to 1: a, b, c of aX + bXX'X + cX(X'X)^2.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalize(matrices, steps):
    """(n, rows, columns) -> the same, with singular vectors kept and all singular values near 1."""
    is_tall = matrices.size(-2) > matrices.size(-1)
    X = matrices.mT if is_tall else matrices
    X = X.bfloat16() if X.is_cuda else X.float()
    # The Frobenius norm bounds the largest singular value; 2 % cover what rounding adds.
    X = X / (X.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for step in range(steps):
        a, b, c = POLAR_EXPRESS[min(step, len(POLAR_EXPRESS) - 1)]
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if is_tall else X


def even_out(update, second, beta2):
    """NorMuon (Li et al. 2025): equal step sizes for all neurons, the update's norm unchanged.

    `second` is the running mean square of each neuron's update, along the matrix's longer side.
    """
    across = -1 if second.size(-1) == 1 else -2
    mean_square = update.float().square().mean(dim=across, keepdim=True)
    second.lerp_(mean_square, 1 - beta2)
    scale = second.clamp_min(1e-10).rsqrt()
    before = mean_square.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (mean_square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return update * (scale * before / after.clamp_min(1e-10)).to(update.dtype)


class Muon:
    """Momentum, orthogonalised (Jordan et al. 2024). Matrices of one shape are updated together."""

    def __init__(self, matrices, config):
        self.config = config
        self.groups = []
        for shape in sorted({m.shape for m in matrices}):
            group = [m for m in matrices if m.shape == shape]
            momentum = torch.zeros(len(group), *shape, device=group[0].device)
            by_row = shape[0] >= shape[1]
            second = momentum.mean(dim=-1 if by_row else -2, keepdim=True)
            self.groups.append((group, momentum, second))

    def step(self, rate, momentum, decay):
        """`rate` multiplies the learning rate, `decay` is the weight decay now."""
        for group, average, second in self.groups:
            gradients = torch.stack([m.grad for m in group])
            average.lerp_(gradients, 1 - momentum)
            update = gradients.lerp_(average, momentum)  # Nesterov: one step ahead
            update = even_out(
                orthogonalize(update, self.config.muon_ns_steps), second, self.config.muon_beta2
            )
            weights = torch.stack(list(group))
            rows, columns = weights.shape[-2:]
            lr = rate * self.config.matrix_lr * max(1.0, rows / columns) ** 0.5
            # Cautious: a weight decays only where the update shrinks it too.
            decayed = weights * (update * weights >= 0)
            weights -= lr * (update + decay * decayed)
            for matrix, new in zip(group, weights, strict=True):
                matrix.copy_(new)


def adamw(model, config):
    """torch's AdamW, without decay, over all that is no matrix inside a layer."""
    per_width = (width_of(config) / 768) ** -0.5
    betas = (config.adam_beta1, config.adam_beta2)
    embeddings = [model.embedding.weight, *(e.weight for e in model.value_embeddings.values())]
    groups = [
        {"params": [model.head.weight], "lr": config.unembedding_lr * per_width},
        {"params": embeddings, "lr": config.embedding_lr * per_width},
        {"params": [model.stream_scale], "lr": config.scalar_lr * 0.01},  # errors here compound
        {"params": [model.input_scale], "lr": config.scalar_lr, "betas": (0.96, config.adam_beta2)},
    ]
    optimizer = torch.optim.AdamW(
        groups, betas=betas, eps=config.adam_eps, weight_decay=0.0, fused=True
    )
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]
    return optimizer


class Optimizer:
    """Both optimisers, and how their settings move with the budget."""

    def __init__(self, model, config):
        self.config = config
        self.muon = Muon(list(model.blocks.parameters()), config)
        self.adamw = adamw(model, config)

    @torch.no_grad()
    def step(self, progress, step):
        """Use the gradients. `progress` is the share of the budget used, `step` counts from 0."""
        config = self.config
        rate = learning_rate(progress, config)
        warm = min(step / config.muon_momentum_steps, 1.0) if config.muon_momentum_steps else 1.0
        start, end = config.muon_momentum_start, config.muon_momentum
        self.muon.step(rate, start + warm * (end - start), config.weight_decay * (1 - progress))
        for group in self.adamw.param_groups:
            group["lr"] = rate * group["full_lr"]
        self.adamw.step()


def learning_rate(progress, config):
    """Share of the full learning rates: up, level, down."""
    if progress < config.warmup_ratio:
        return progress / config.warmup_ratio
    if progress <= 1 - config.warmdown_ratio:
        return 1.0
    left = (1 - progress) / config.warmdown_ratio
    return left + (1 - left) * config.final_lr_frac


# --------------------------------------------------------------------------------------------------
# What the referee calls

CHECK = 10  # steps between two looks at the loss: each makes a GPU wait


def build(config):
    """The model, on torch's default device, initialised from torch's random state."""
    return GPT(config)


def train(run, config, model):
    """Train until run.batches() ends. Raises FloatingPointError if the loss is no longer finite."""
    rows, parts = split_batch(config)

    def loss_of(x, y):
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    if config.compile and run.device.type == "cuda":
        loss_of = torch.compile(loss_of, dynamic=False)
    model.train()
    warm_up(run, config, model, loss_of, rows)
    optimizer = Optimizer(model, config)
    run.ready()  # the clock starts

    for batch, (x, y) in enumerate(run.batches(rows)):
        step, part = divmod(batch, parts)
        if part == 0:
            progress, total = run.progress, 0.0
        loss = loss_of(x, y) / parts
        loss.backward()
        total += loss.detach()
        if part < parts - 1:
            continue
        if step % CHECK == 0 and not math.isfinite(total.item()):
            raise FloatingPointError(f"the loss is {total.item()} at step {step}")
        optimizer.step(progress, step)
        model.zero_grad(set_to_none=True)
        run.log(loss=total)


def split_batch(config):
    """Rows per forward, and forwards per optimiser step. Raises ValueError if they do not fit."""
    rows = max(1, min(config.device_batch_size, config.total_batch_size // config.context))
    parts = config.total_batch_size // (rows * config.context)
    if parts < 1 or parts * rows * config.context != config.total_batch_size:
        raise ValueError(
            f"total_batch_size should be a multiple of {rows} rows of {config.context} tokens, "
            f"but is {config.total_batch_size}"
        )
    return rows, parts


def warm_up(run, config, model, loss_of, rows):
    """Compile, and let libraries choose kernels: one step of a throw-away optimiser, undone."""
    before = copy.deepcopy(model.state_dict())
    optimizer = Optimizer(model, config)
    loss_of(*run.synthetic(rows)).backward()
    optimizer.step(0.5, 0)
    model.zero_grad(set_to_none=True)
    model.load_state_dict(before)


if __name__ == "__main__":
    sys.exit("train.py is run by a referee: autoresearch run task.dir=FOLDER_OF_THIS_FILE")
