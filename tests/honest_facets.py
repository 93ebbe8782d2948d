"""Ways to do the parts of train.py, each an edit of its text: what tests/honest.py draws from.

All keep program.md's rules. Some lean on the referee's tolerances: they round, route by a maximum,
add in other orders, or have kernels chosen anew in every process.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch.experiment import Scalar

CPU, CUDA = "cpu", "cuda"
Edit = tuple[str, str]  # a piece of train.py that is there once, and what takes its place


@dataclass(frozen=True)
class Way:
    """One way to do a thing. `edits` are made in order."""

    name: str
    edits: tuple[Edit, ...]
    overrides: Mapping[str, Scalar]
    weight: int  # how often it is drawn
    on: str  # the only kind of device it is for; "": all
    is_odd: bool  # it adds parameters that are none of Muon's


def way(
    name: str,
    *edits: Edit,
    weight: int = 1,
    on: str = "",
    is_odd: bool = False,
    **overrides: Scalar,
) -> Way:
    return Way(name, edits, overrides, weight, on, is_odd)


def before(piece: str, new: str) -> Edit:
    return piece, new + piece


def after(piece: str, new: str) -> Edit:
    return piece, piece + new


def edited(text: str, edits: tuple[Edit, ...]) -> str:
    for old, new in edits:
        assert text.count(old) == 1, f"{text.count(old)} times in train.py:\n{old}"
        text = text.replace(old, new)
    return text


# ---- pieces of train.py that several ways begin from -------------------------------------------

CLASSES = "class Attention(nn.Module):\n"
TABLES = "        self.add_tables(config)\n"
LAYERS = "        for layer, block in enumerate(self.blocks):\n"
MADE = "    return GPT(config)\n"
STEP = "        optimizer.step(progress, step)\n"
LOGGED = "        run.log(loss=total)\n"

# Muon takes matrices inside the layers; what an edit adds besides goes to AdamW.
ODD_PARAMETERS = (
    before(
        "        for shape in sorted({m.shape for m in matrices}):\n",
        "        matrices = [m for m in matrices if m.ndim == 2]\n",
    ),
    before(
        "    optimizer = torch.optim.AdamW(\n",
        """\
    known = {id(p) for group in groups for p in group["params"]}
    known |= {id(p) for p in model.blocks.parameters() if p.ndim == 2}
    others = [p for p in model.parameters() if id(p) not in known]
    groups.append({"params": others, "lr": 0.003})
""",
    ),
)

# ---- number formats ----------------------------------------------------------------------------

AUTOCAST = "dtype=torch.bfloat16, enabled=on_gpu"
STREAM = "torch.bfloat16 if on_gpu else torch.float32"
SCALED = (  # float16 has no small gradients
    ("        loss.backward()\n", "        (loss.float() * 1024).backward()\n"),
    before(STEP, "        for p in model.parameters():\n            p.grad /= 1024\n"),
)
TF32 = before(MADE, '    torch.set_float32_matmul_precision("high")\n')
FULL = ((AUTOCAST, "enabled=False"), (STREAM, "torch.float32"))

DTYPES = {  # train.py's own, on each kind of device, comes first
    CPU: (
        way("fp32", weight=2),
        way("bf16", (AUTOCAST, "dtype=torch.bfloat16"), (STREAM, "torch.bfloat16")),
        way("bf16-fp32", (AUTOCAST, "dtype=torch.bfloat16")),
    ),
    CUDA: (
        way("bf16", weight=2),
        way("bf16-fp32", (STREAM, "torch.float32")),
        way("fp16", (AUTOCAST, "dtype=torch.float16"), (STREAM, "torch.float16"), *SCALED),
        way("fp32", *FULL),
        way("tf32", *FULL, TF32),
    ),
}

# ---- compiling ---------------------------------------------------------------------------------


def made(*lines: str) -> Edit:
    """What build() does with the model before it returns it."""
    whole = ("model = GPT(config)", *lines, "return model")
    return MADE, "".join(f"    {line}\n" for line in whole)


def scored(options: str) -> Edit:
    """Compiled for the scorers alone."""
    return made(
        f"plain, fast = model.logits, torch.compile(model.logits, {options})",
        "model.logits = lambda *given: (plain if model.training else fast)(*given)",
    )


TRAINED = ('config.compile and run.device.type == "cuda"', "config.compile")
COMPILED = (
    way("training", TRAINED),
    way("model", (MADE, "    return torch.compile(GPT(config), dynamic=False)\n"), compile=False),
    way("in-place", made("model.compile(dynamic=False)"), compile=False),
    way("blocks", made("for b in model.blocks:", "    b.compile(dynamic=False)"), compile=False),
    way("scoring", scored("dynamic=False"), compile=False),
    way("max-autotune", scored('mode="max-autotune-no-cudagraphs"'), compile=False),
    way("reduce-overhead", scored('mode="reduce-overhead"'), on=CUDA, compile=False),
)
COMPILES = {  # a C++ compiler is slow
    CPU: (way("eager", weight=36, compile=False), *COMPILED),
    CUDA: (way("eager", weight=7, compile=False), *COMPILED),
}

# ---- attention ---------------------------------------------------------------------------------

ATTEND = (
    "        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)\n"
)
BY_HAND = '''\
def scores_of(q, k, mask):
    scores = (q @ k.transpose(-1, -2)).float() * q.size(-1) ** -0.5
    is_bias = mask.dtype != torch.bool
    return scores + mask if is_bias else scores.masked_fill(~mask, -math.inf)


def past(T, device):
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def attend(q, k, v, mask):
    mask = past(q.size(-2), q.device) if mask is None else mask
    return torch.softmax(scores_of(q, k, mask), dim=-1).to(v.dtype) @ v


def attend_in_parts(q, k, v, mask):
    """A quarter of the queries at a time, on the keys up to them."""
    T = q.size(-2)
    mask = past(T, q.device) if mask is None else mask
    ends = [(a, min(a + T // 4, T)) for a in range(0, T, T // 4)]
    return torch.cat(
        [attend(q[..., a:b, :], k[..., :b, :], v[..., :b, :], mask[..., a:b, :b]) for a, b in ends],
        dim=-2,
    )


'''


def kernel(name: str) -> tuple[Edit, ...]:
    """torch's own attention by one of its kernels, or plainly where that does not fit."""
    return (
        after("from torch import nn\n", "from torch.nn.attention import SDPBackend, sdpa_kernel\n"),
        (ATTEND, f"        with sdpa_kernel([SDPBackend.{name}, SDPBackend.MATH]):\n    {ATTEND}"),
    )


ATTENTIONS = (
    way("torch", weight=2),
    way("math", *kernel("MATH")),
    way("flash", *kernel("FLASH_ATTENTION")),
    way("efficient", *kernel("EFFICIENT_ATTENTION"), on=CUDA),
    way("cudnn", *kernel("CUDNN_ATTENTION"), on=CUDA),
    way("by-hand", before(CLASSES, BY_HAND), (ATTEND, "        y = attend(q, k, v, mask)\n")),
    way(
        "in-parts",
        before(CLASSES, BY_HAND),
        (ATTEND, "        y = attend_in_parts(q, k, v, mask)\n"),
    ),
)
KEYS = (
    way("own", weight=3),
    way(
        "shared",
        (
            "self.key = nn.Linear(width, width, bias=False)",
            "self.key = nn.Linear(width, config.head_dim, bias=False)",
        ),
        ("by_head(self.key(x))", "self.key(x).unsqueeze(1).expand(-1, self.heads, -1, -1)"),
    ),
)

# ---- positions ---------------------------------------------------------------------------------

TURNED = "q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))\n"
STILL = (TURNED, "q, k = norm(q), norm(k)\n")
ALIBI = """\
        back = torch.arange(config.context)[:, None] - torch.arange(config.context)
        slopes = 2.0 ** -torch.arange(1, width // config.head_dim + 1)
        bias = (-slopes[:, None, None] * back).masked_fill(back < 0, -math.inf)
        self.register_buffer("alibi", bias, persistent=False)
"""
POSITIONS = (
    way("rotary", weight=4),
    way("rotary-unnormed", (TURNED, "q, k = rotate(q, cos, sin), rotate(k, cos, sin)\n")),
    way(
        "learned",
        STILL,
        before(TABLES, "        self.positions = nn.Embedding(config.context, width)\n"),
        (
            "norm(self.embedding(tokens))",
            "norm(self.embedding(tokens) + self.positions.weight[:T])",
        ),
        is_odd=True,
    ),
    way("none", STILL),
    way(
        "alibi",
        STILL,
        after(TABLES, ALIBI),
        ('getattr(self, f"mask_{self.windows[layer]}", None)', "self.alibi"),
        ("None if mask is None else mask[:T, :T]", "mask[:, :T, :T]"),
        after("        v = v.to(q.dtype)\n", "        mask = mask.to(q.dtype)\n"),
    ),
)

# ---- MLPs --------------------------------------------------------------------------------------

UP = "self.up = nn.Linear(width, config.mlp_ratio * width, bias=False)\n"
HIDDEN = "F.relu(self.up(x)).square()"
OUT = f"        return self.down({HIDDEN})\n"
GATE = after(UP, "        " + UP.replace("self.up", "self.side"))
ROUTER = after(UP, "        self.router = nn.Linear(width, 4, bias=False)\n")
EXPERTS = """\
        scores = torch.softmax(self.router(x).float(), dim=-1)
        share, chosen = scores.max(dim=-1, keepdim=True)
        gates = torch.zeros_like(scores).scatter(-1, chosen, share)
        hidden = F.relu(self.up(x)).square().unflatten(-1, (4, -1))
        return self.down((hidden * gates.unsqueeze(-1).to(hidden.dtype)).flatten(-2))
"""
SPARSE_EXPERTS = """\
        flat = x.flatten(0, 1)
        share, chosen = torch.softmax(self.router(flat).float(), dim=-1).max(dim=-1)
        ups, downs = self.up.weight.chunk(4), self.down.weight.chunk(4, dim=1)
        out = torch.zeros_like(flat)
        for expert, (up, down) in enumerate(zip(ups, downs, strict=True)):
            rows = (chosen == expert).nonzero().squeeze(-1)
            mine = F.linear(F.relu(F.linear(flat[rows], up)).square(), down)
            out = out.index_add(0, rows, (mine * share[rows, None]).to(out.dtype))
        return out.view_as(x)
"""
INT8 = '''\
def rounded(x):
    """One of 255 values, on a scale of each token's own; gradients pass."""
    exact = x.detach()
    scale = exact.abs().amax(-1, keepdim=True).clamp_min(1e-6) / 127
    return x + (torch.round(exact / scale) * scale - exact)


'''
FLOAT8 = '''\
def rounded(x):
    """As precise as 8 bits are, on a scale of each token's own; gradients pass."""
    exact = x.detach()
    scale = exact.abs().amax(-1, keepdim=True).clamp_min(1e-6) / 448
    return x + ((exact / scale).to(torch.float8_e4m3fn).to(x.dtype) * scale - exact)


'''
ROUNDED = (OUT, "        return self.down(rounded(F.relu(self.up(rounded(x))).square()))\n")
MLPS = (
    way("relu2", weight=2),
    way("gelu", (HIDDEN, "F.gelu(self.up(x))")),
    way("gelu-tanh", (HIDDEN, 'F.gelu(self.up(x), approximate="tanh")')),
    way("swiglu", GATE, (HIDDEN, "F.silu(self.side(x)) * self.up(x)")),
    way("biased", (UP, UP.replace(", bias=False", "")), is_odd=True),
    way("experts", ROUTER, (OUT, EXPERTS)),
    way("sparse-experts", ROUTER, (OUT, SPARSE_EXPERTS)),
    way("int8", before(CLASSES, INT8), ROUNDED),
    way("float8", before(CLASSES, FLOAT8), ROUNDED),
)

# ---- norms and blocks --------------------------------------------------------------------------

NORM = "F.rms_norm(x, (x.size(-1),))"
SQUARE_MEAN = "x.float().square().mean(-1, keepdim=True)"


def entrances(norm: str, module: str) -> tuple[Edit, ...]:
    """Other norms at the two entrances of a block: `norm` of what `module` has made."""
    new = "".join(f"        self.{name} = {module}\n" for name in ("first", "second"))
    first, second = norm.replace("own", "first"), norm.replace("own", "second")
    return (
        after("        self.mlp = MLP(config)\n", new),
        ("self.attention(norm(x), value_embedding", f"self.attention({first}, value_embedding"),
        ("self.mlp(norm(x))", f"self.mlp({second})"),
    )


WITH_BIAS = entrances("self.own(x)", "nn.LayerNorm(width_of(config))")
WITH_GAIN = entrances("norm(x) * self.own", "nn.Parameter(torch.ones(width_of(config)))")
NORMS = (
    way("rms", weight=3),
    way("layer", (NORM, "F.layer_norm(x, (x.size(-1),))")),
    way("rms-by-hand", (NORM, f"x * torch.rsqrt({SQUARE_MEAN} + 1e-6).to(x.dtype)")),
    way("layer-learned", *WITH_BIAS, is_odd=True),
    way("rms-learned", *WITH_GAIN, is_odd=True),
)
BLOCKS = (
    way("in-turn", weight=3),
    way(
        "in-parallel",
        ("        x = x + self.attention(", "        y = x + self.attention("),
        ("        return x + self.mlp(", "        return y + self.mlp("),
    ),
)
VALUES = (
    way("embedded", weight=2),
    way("plain", ("    return layer % 2 == (depth - 1) % 2\n", "    return False\n")),
)

# ---- what goes in and comes out ----------------------------------------------------------------

CONVOLUTION = "        self.mixer = nn.Conv1d(width, width, 4, groups=width, bias=False)\n"
MEAN = """\
        count = torch.arange(1, T + 1, device=x.device)[:, None]
        x = start = x + (x.float().cumsum(1) / count).to(dtype)
"""
MOVING = """\
        recent = F.avg_pool1d(F.pad(x.float().mT, (7, 0)), 8, 1).mT
        x = start = x + recent.to(dtype)
"""
FADING = """\
        ages = torch.arange(T, device=x.device)
        ages = ages[:, None] - ages
        shares = torch.where(ages >= 0, 0.1 * 0.9 ** ages.clamp(0), 0.0)
        x = start = x + (shares.to(dtype) @ x).to(dtype)
"""
PAIRS = """\
        last = F.pad(tokens, (1, 0))[:, :-1]
        x = start = x + self.pairs((tokens * 31 + last * 17) % 4096).to(dtype)
"""
MIXERS = (
    way("none", weight=6),
    way(
        "convolution",
        before(TABLES, CONVOLUTION),
        before(LAYERS, "        x = start = x + self.mixer(F.pad(x.mT, (3, 0))).mT.to(dtype)\n"),
        is_odd=True,
    ),
    way("mean-of-all", before(LAYERS, MEAN)),
    way("moving-average", before(LAYERS, MOVING)),
    way("fading-average", before(LAYERS, FADING)),
    way("shift", before(LAYERS, "        x = start = x + F.pad(x, (0, 0, 1, 0))[:, :-1] / 2\n")),
    way(
        "pairs",
        before(TABLES, "        self.pairs = nn.Embedding(4096, width)\n"),
        before(LAYERS, PAIRS),
        is_odd=True,
    ),
)
PROJECTED = "self.output(y.transpose(1, 2).reshape(B, T, C))"
DROPOUTS = (
    way("none", weight=3),
    way("of-attention", (PROJECTED, f"F.dropout({PROJECTED}, 0.1, self.training)")),
    way("of-embedding", before(LAYERS, "        x = F.dropout(x, 0.1, self.training)\n")),
)
TIED = (
    before(TABLES, "        self.head.weight = self.embedding.weight\n"),
    ("(self.head.weight, std=0.001)", "(self.head.weight, std=0.02)"),
    ('{"params": [model.head.weight], "lr": config.unembedding_lr * per_width},\n', "\n"),
)
HEADS = (
    way("capped", weight=2),
    way("capped-at-30", softcap=30.0),
    way("uncapped", ("self.softcap * torch.tanh(logits / self.softcap)", "logits")),
    way("as-computed", ("self.head(norm(x)).float()", "self.head(norm(x))")),
    way("tied", *TIED, embedding_lr=0.005),
)

# ---- training ----------------------------------------------------------------------------------

OPTIMIZERS = """\
        self.muon = Muon(list(model.blocks.parameters()), config)
        self.adamw = adamw(model, config)
"""
MUON_STEP = (
    "        self.muon.step(rate, start + warm * (end - start), "
    "config.weight_decay * (1 - progress))\n"
)
LION = '''\
class Lion:
    """The sign of a blend of gradient and momentum (Chen et al. 2023)."""

    def __init__(self, parameters, lr):
        self.param_groups = [{"params": list(parameters), "lr": lr}]
        self.momenta = [torch.zeros_like(p) for p in self.param_groups[0]["params"]]

    def step(self):
        group = self.param_groups[0]
        for p, momentum in zip(group["params"], self.momenta, strict=True):
            p -= group["lr"] * torch.sign(momentum.lerp(p.grad, 0.1))
            momentum.lerp_(p.grad, 0.01)


'''


def by(optimizer: str) -> tuple[Edit, ...]:
    """One optimiser for all parameters."""
    lines = f"""\
        self.adamw = {optimizer}
        for group in self.adamw.param_groups:
            group["full_lr"] = group["lr"]
"""
    return (OPTIMIZERS, lines), (MUON_STEP, "")


OPTIMISERS = (
    way("muon", weight=4),
    way("adamw", *by("torch.optim.AdamW(model.parameters(), 0.003, weight_decay=0.1)")),
    way("adam", *by("torch.optim.Adam(model.parameters(), 0.002, betas=(0.9, 0.98))")),
    way("sgd", *by("torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True)")),
    way("rmsprop", *by("torch.optim.RMSprop(model.parameters(), 0.001)")),
    way("lion", before("class Optimizer:\n", LION), *by("Lion(model.parameters(), 0.001)")),
)
COPIED = "    average = copy.deepcopy(model.state_dict())\n"
BLENDED = """\
        with torch.no_grad():
            for name, value in model.state_dict().items():
                average[name].lerp_(value, 0.2)
"""
SHORTENED = """\
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.bfloat16())
"""
WEIGHTS = (
    way("last", weight=4),
    way(
        "averaged",
        after("    run.ready()  # the clock starts\n", COPIED),
        after(STEP, BLENDED),
        after(LOGGED, "    model.load_state_dict(average)\n"),
    ),
    way("bf16", after(LOGGED, SHORTENED)),
)
LOSS = "return F.cross_entropy(model(x).flatten(0, 1), y.flatten())\n"
WITH_Z = """\
logits = model(x).flatten(0, 1)
        extra = 1e-4 * torch.logsumexp(logits.float(), dim=-1).square().mean()
        return F.cross_entropy(logits, y.flatten()) + extra
"""
LOSSES = (
    way("plain", weight=3),
    way("smoothed", (LOSS, LOSS.replace("flatten())", "flatten(), label_smoothing=0.1)"))),
    way("with-z", (LOSS, WITH_Z)),
)


def facets(device: str) -> dict[str, tuple[Way, ...]]:
    """All there is to choose from on a kind of device; the first way of each is train.py's own."""
    everything = {
        "dtype": DTYPES[device],
        "compile": COMPILES[device],
        "attention": ATTENTIONS,
        "keys": KEYS,
        "positions": POSITIONS,
        "mlp": MLPS,
        "norm": NORMS,
        "block": BLOCKS,
        "values": VALUES,
        "mixer": MIXERS,
        "dropout": DROPOUTS,
        "head": HEADS,
        "optimiser": OPTIMISERS,
        "weights": WEIGHTS,
        "loss": LOSSES,
    }
    return {
        facet: tuple(w for w in ways if w.on in ("", device)) for facet, ways in everything.items()
    }
