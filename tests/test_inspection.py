"""What a look at a program's text finds, however it is spelled, and that honest ones pass."""

import builtins
import re
from pathlib import Path

import bigram
import nodes
import outside
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoresearch.errors import SourceError
from autoresearch.experiment import Version
from autoresearch.inspection import MOST, NAMED, RULES, Remark, inspect, remarked, vet
from autoresearch.program import SIZE_LIMIT, bake, line_starts, parameters
from autoresearch.settings import INSPECTIONS

TASK = Path(__file__).parents[1] / "train"
TRAIN = (TASK / "train.py").read_text(encoding="utf-8")

# Each text breaks its rule, and no other, in its last line.
BROKEN = [
    ("seed", "import torch\ntorch.manual_seed(1337)"),
    ("seed", "import torch as t\ndef build(config):\n    t.cuda.manual_seed_all(config.lucky)"),
    ("seed", "from torch import manual_seed as prepare_all\nprepare_all(3)"),
    ("seed", "import torch\nfor s in map(torch.manual_seed, [3]): pass"),
    ("seed", "import torch\ngetattr(torch, 'manual_seed')(3)"),
    ("seed", "import torch.random\ntorch.random.seed()"),
    ("seed", "import numpy as np\nnp.random.seed(0)"),
    ("seed", "from numpy import random as r\nr.default_rng((1, 2))"),
    ("seed", "import numpy as np\nLUCKY = 7\ndef f():\n    return np.random.default_rng(LUCKY)"),
    ("seed", "import random\nrandom.seed('x')"),
    ("seed", "from random import Random\norder = Random(2**5)"),
    ("seed", "import torch\ng = torch.Generator(device='cpu').manual_seed(2 - 1)"),
    ("seed", "import torch\ng = torch.Generator()\ndef f():\n    g.manual_seed(1)"),
    ("seed shopping", "def train(run, config, model):\n    if run.seed == 3: pass"),
    ("seed shopping", "def train(r, config, model):\n    lr = 1 if r.seed % 2 else 2"),
    ("seed shopping", "def train(run, config, model):\n    lr = [1, 2, 3][run.seed % 3]"),
    ("seed shopping", "def train(run, config, model):\n    lr = {1: 2}.get(run.seed, 3)"),
    ("seed shopping", "def train(run, config, model):\n    s = run.seed % 5\n    while s: pass"),
    ("seed shopping", "def helper(run):\n    while (s := int(run.seed)) and s > 2: pass"),
    ("seed shopping", "def train(run, c, m):\n    return [x for x in c if hash(run.seed)]"),
    ("seed shopping", "def train(r, c, m):\n    match 1:\n        case 1 if r.seed: pass"),
    ("seed shopping", "import torch\ndef build(config):\n    return torch.initial_seed() > 3"),
    ("seed shopping", "def train(run, c, m):\n    def f(): return getattr(run, 'seed') and 3\n"),
    ("import", "import triton"),
    ("import", "from einops import rearrange as r"),
    ("import", "def build(config):\n    from .train import other"),
    ("import", "from torch import *"),
    ("network", "import socket as math"),
    ("network", "from urllib.request import urlopen"),
    ("network", "def build(config):\n    import http.client"),
    ("network", "import torch\nm = torch.hub.load('a', 'b')"),
    ("process", "import subprocess as s"),
    ("process", "def f():\n    from concurrent.futures import ThreadPoolExecutor"),
    ("process", "import torch.distributed as dist"),
    ("process", "import torch\nx = torch.multiprocessing.spawn"),
    ("process", "from torch.utils import cpp_extension as c"),
    ("file", "import os"),
    ("file", "f = open('x')"),
    ("file", "o = open\n"),
    ("file", "from pathlib import Path as P"),
    ("file", "import numpy as np\ndef f():\n    return np.load('x')"),
    ("file", "from torch import load as l"),
    ("file", "import torch\nread = torch.load\n"),
    ("file", "def f(array):\n    array.tofile('x')"),
    ("file", "import torch\ntorch.serialization.os.listdir('.')"),
    ("referee", "from autoresearch.node import harness"),
    ("referee", "import prepare as p"),
    ("referee", "def f():\n    import __main__ as m"),
    ("environment", "here = __file__"),
    ("environment", "import torch\nhere = torch.__file__"),
    ("environment", "from os import environ as e"),
    ("environment", "def f():\n    from os import getenv as g"),
    ("environment", "import torch\nhere = getattr(torch.nn, '__file__')"),
    ("environment", "import platform as p"),
    ("clock", "import time\nbox = [time]\nbegan = box[0].perf_counter_ns()"),
    ("file", "import torch\nbox = [torch]\nsystem = box[0].serialization.os"),
    ("file", "def f(x):\n    match x:\n        case object(os=system): return system"),
    ("environment", "def f(x):\n    match x:\n        case object(__file__=where): return where"),
    ("process", "import torch\nbox = [torch]\nnative = box[0]._ops.ctypes"),
    ("dynamic", "import torch\nbox = [torch]\nsystem = getattr(box[0].serialization, 'o' + 's')"),
    ("dynamic", "def f(x, y='o'):\n    return getattr(x, 'o' + 's')"),
    ("dynamic", "from operator import attrgetter as a"),
    ("clock", "import time\nt = time.perf_counter()"),
    ("clock", "from time import monotonic as m"),
    ("clock", "import time as t\ndef f():\n    return t.time()"),
    ("clock", "import time\nf = getattr(time, 'monotonic_ns')"),
    ("clock", "import datetime"),
    ("sys", "import sys\nsys.exit(1)"),
    ("sys", "import sys as s\ndef f():\n    s.settrace_all(None)"),
    ("sys", "from sys import setrecursionlimit as limit"),
    ("sys", "import sys\nif __name__ == '__main__': pass\nsys.exit(1)"),
    ("dynamic", "exec('x = 1')"),
    ("dynamic", "e = eval\n"),
    ("dynamic", "def f(x):\n    return __import__('o' + 's')"),
    ("dynamic", "import builtins as b"),
    ("dynamic", "from importlib import import_module as i"),
    ("dynamic", "globals()['x'] = 1"),
    ("dynamic", "import torch\nf = getattr(torch, 'manual' + '_seed')"),
    ("dynamic", "import torch.nn.functional as F\nvars(F)['relu'] = 3"),
    ("dynamic", "import torch\nd = torch.nn.__dict__"),
    ("dynamic", "def f(x):\n    return x.__class__.__subclasses__()"),
    ("dynamic", "f = (lambda: 0).__globals__"),
    ("dynamic", "def f(x):\n    return getattr(x, '__code__')"),
    ("dynamic", "import sys as s\nm = s.modules"),
    ("dynamic", "from sys import _getframe as f"),
    ("dynamic", "import gc\no = gc.get_objects()"),
    ("dynamic", "def train(run, config, model):\n    run.batches(8).gi_frame"),
    ("patch", "import torch\ntorch.nn.functional.cross_entropy = None"),
    ("patch", "import torch.nn.functional as F\ndef f():\n    F.cross_entropy = min"),
    ("patch", "from torch import nn\nsetattr(nn.Module, 'forward', None)"),
    ("patch", "from torch import nn\nnn.Linear.forward, x = None, 1"),
    ("patch", "import time as t\nt.monotonic = lambda: 0"),
    ("patch", "import torch\nL = torch.nn.Linear\ndef f():\n    L.forward = None"),
    ("patch", "import math\ndel math.pi"),
    ("patch", "from torch import Tensor as T\nfor T.x in (1,): pass"),
    ("patch", "import torch\nobject.__setattr__(torch, 'x', 1)"),
    ("patch", "def train(run, config, model):\n    run.progress = 0"),
    ("run", "def train(run, config, model):\n    run._tokens"),
    ("run", "def train(the_run, config, model):\n    the_run.__dict__"),
    ("run", "def train(run, c, m):\n    me = run\n    def f():\n        me._started"),
    ("run", "def warm_up(model, run):\n    getattr(run, '_order')"),
    ("batch norm", "import torch\nn = torch.nn.BatchNorm1d(3)"),
    ("batch norm", "from torch.nn import SyncBatchNorm as Norm"),
    ("batch norm", "import torch.nn.functional as F\ndef f(x):\n    return F.batch_norm(x)"),
    ("data", f"x = '{'a' * 2001}'"),
    ("data", f"def f():\n    return {b'a' * 2001!r}"),
    ("data", f"x = [{'1, ' * 2001}]"),
    ("data", f"x = [[{'1, ' * 1001}], [{'2, ' * 1001}]]"),
    ("data", f"x = '{'a' * 1001}' + '{'b' * 1001}'"),
    ("data", f"x = 0x{'f' * 40000}"),
    ("data", "def f():\n    'hidden'\nx = f.__doc__"),
    ("data", "import zlib as z"),
]


BUILT_IN = {*vars(builtins), "__builtins__", "__file__"}


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_a_broken_rule_is_found_where_it_is(rule: str, text: str) -> None:
    assert {remark.rule for remark in inspect(text)} == {rule}
    assert inspect(text)[-1].line == text.rstrip().count("\n") + 1


@pytest.mark.parametrize("rule", sorted(set(NAMED) - {"allowed"}))
def test_every_name_of_a_rule_is_found(rule: str) -> None:
    for name in NAMED[rule].split():
        root, _, inside = name.partition(".")
        texts = [f"import {root}\nx = {name}", f"from {root} import {inside} as x"]
        if not inside:
            texts = [f"x = {name}"] if name in BUILT_IN else [f"import {name} as x"]
        elif not root or inside.count("."):
            texts = [f"import torch\nx = {name if root else f'y{name}'}"]
        for text in texts:
            assert rule in {remark.rule for remark in inspect(text)}, text


def test_a_match_on_the_seed_is_found() -> None:
    text = "def train(run, c, m):\n    match run.seed:\n        case 1: pass"
    assert [(remark.line, remark.rule) for remark in inspect(text)] == [(2, "seed shopping")]


def test_every_rule_is_tried_in_three_disguises() -> None:
    tried = [rule for rule, _ in BROKEN]
    assert set(tried) == set(RULES)
    assert min(map(tried.count, RULES)) >= 3
    assert set(NAMED) - {"allowed"} <= set(RULES)


def test_a_remark_says_what_and_why_in_one_line() -> None:
    text = "import torch\n\ndef build(config):\n    torch.manual_seed(1); open('x')\n"
    assert inspect(text) == [
        Remark(4, "file", "line 4 uses open: a program reads and writes no files"),
        Remark(
            4,
            "seed",
            "line 4 chooses a seed (torch.manual_seed): seeds are the referee's, "
            "and are set before build()",
        ),
    ]


HONEST = {
    "the task's own": TRAIN,
    "a bigram": bigram.PROGRAM,
    "a node's": nodes.PROGRAM,
    "one from outside": outside.PROGRAM,
    "nothing": "",
    "settings of torch": """
import gc, torch, torch._inductor.config as settings, torch.nn.functional as F
from torch import nn
torch.backends.cuda.matmul.allow_tf32 = True
torch._dynamo.config.cache_size_limit = 64
setattr(torch.backends.cudnn, "benchmark", True)
settings.coordinate_descent_tuning = True
torch.set_float32_matmul_precision("high")
gc.collect(); gc.freeze(); gc.disable()
sdpa = F.scaled_dot_product_attention
compiled = torch.compile(sdpa, dynamic=False)
""",
    "the seed as an argument": """
import numpy as np, random, torch
def noise(seed):
    return np.random.default_rng(seed)
def train(run, config, model):
    g = torch.Generator(device=run.device).manual_seed(run.seed + 1)
    rng = np.random.default_rng(run.seed)
    seed = run.seed * 1000
    torch.manual_seed(seed)
    mine = noise(run.seed)
    if rng is not None and mine and g:
        run.log(loss=1.0, seed=run.seed)
    kinds = run.device.type, run.synthetic(8), run.progress
""",
    "names that mean something else": """
import copy, re, time, torch
from dataclasses import dataclass
@dataclass
class Config:
    compile: bool = True
    open: int = 3
    time: float = 1.0
class Scale(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.compile, self.seed, self.run = config.compile, 3, None
        object.__setattr__(self, "hidden", 3)
        setattr(self, f"mask_{config.open}", None)
        self.__dict__.update(x=1)
    def forward(self, x, time=None, copy=None):
        copy.x = getattr(self, f"mask_{x}").amax() / x.abs().max()
        return re.compile("x") and self.eval() and x.data
def exec(open, compile):
    open.x, vars = compile.y, open.seed
    return open("x"), compile("y"), vars(open), torch.compile(open)
def peek(torch):
    torch.manual_seed(1 if torch.x else torch.y)
    torch.load = torch.save("x")
time.sleep(0)
""",
    "a guard": "import sys\nif '__main__' == __name__:\n    sys.exit(len(sys.argv))\n",
    "long remarks": f'"""{"about this " * 400}"""\ndef f():\n    "{"x" * 3000}"\n# {"y" * 5000}',
}


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
def test_an_honest_program_gets_no_remark(text: str) -> None:
    assert inspect(text) == []


NUMBERS = {name: value for name, value in parameters(TRAIN).items() if type(value) is not str}
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
values = {
    name: st.booleans() if isinstance(value, bool) else numbers for name, value in NUMBERS.items()
}


@given(st.fixed_dictionaries({}, optional=values), st.text("SL", max_size=40))
def test_other_values_of_config_get_no_remark(
    overrides: dict[str, int | float], pattern: str
) -> None:
    assert inspect(bake(TRAIN, {**overrides, "window_pattern": pattern})) == []


LINES = [*TRAIN.split("\n"), *(line for _, text in BROKEN for line in text.split("\n"))]
programs = st.lists(st.sampled_from(LINES), max_size=12)


@given(st.text() | programs.map("\n".join) | programs.map("\r".join))
@example("\x00")
@example("\ud800")
@example("x" + ".a" * 2000)
@example("x = " + "-" * 2000 + "1")
@example("x = 1" + " + 1" * 2000)
@example("if a: pass\n" + "elif run.seed: pass\n" * 500)
@example("(" * 150 + ")" * 150)
@example("from . import (a,\n b as c)\nimport " + "a" * 500)
@example("def train(): run.x\nlambda run, /: run.y\nasync def train(*run): run.z")
def test_any_text_is_refused_or_gets_remarks_on_its_lines(text: str) -> None:
    try:
        remarks = inspect(text)
    except SourceError:
        return
    last = len(line_starts(text.encode()))
    assert [r.line for r in remarks] == sorted(r.line for r in remarks)
    for remark in remarks:
        assert 1 <= remark.line <= last
        assert remark.rule in RULES
        assert remark.words.isprintable()
        assert len(remark.words) <= 300


def test_the_rules_for_agents_name_every_rule() -> None:
    told = (TASK / "program.md").read_text(encoding="utf-8")
    listed = told.partition("## What is refused before it runs")[2].partition("\n## ")[0]
    assert set(re.findall(r"\*\*(.+?)\*\*", listed)) == set(RULES)


# ---- what becomes of a remark ---------------------------------------------------------------

READS = "import torch\nx = torch.load('x')\n"
WORSE = f"# moved\n{READS}y = torch.load('y')\nimport os\n"
SAID = "line 5 imports os: a program reads and writes no files"


@pytest.mark.parametrize("policy", INSPECTIONS)
def test_what_a_parent_does_is_not_held_against_a_program(policy: str) -> None:
    assert vet(f"\n\n{READS}", [TRAIN, READS], policy) == ()


def test_what_is_new_is_refused_recorded_or_passed_by() -> None:
    with pytest.raises(SourceError) as refusal:
        vet(WORSE, [READS, TRAIN], "refuse")
    assert str(refusal.value) == f"train.py {SAID} (rule: file); do without it"
    assert vet(WORSE, [READS, TRAIN], "warn") == (SAID,)
    assert vet(WORSE, [READS, TRAIN], "none") == ()
    assert len(vet(WORSE, [TRAIN], "warn")) == 3


def test_a_program_that_breaks_many_rules_is_told_a_few() -> None:
    text = "".join(f"import {name}\n" for name in NAMED["network"].split())
    remarks = vet(text, [], "warn")
    assert len(remarks) == MOST + 1
    assert remarks[-1] == f"… and {text.count('import') - MOST} more of this kind"
    with pytest.raises(SourceError) as refusal:
        vet(text, [], "refuse")
    assert len(str(refusal.value).splitlines()) == MOST + 1


@pytest.mark.parametrize("policy", ["refuse", "warn"])
def test_what_is_too_long_to_be_a_program_is_not_looked_at(policy: str) -> None:
    with pytest.raises(SourceError, match=f"at most {SIZE_LIMIT} bytes, but has {SIZE_LIMIT + 8}"):
        vet("open(x)\n" + "#" * SIZE_LIMIT, [], policy)


def test_programs_that_are_run_all_the_same_are_told_by_name() -> None:
    versions = [Version("a" * 64, (), "", remarks=(SAID, "line 6")), Version("b" * 64, (), "")]
    assert remarked(versions) == [f"program {'a' * 12} {SAID}", f"program {'a' * 12} line 6"]
