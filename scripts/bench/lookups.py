#!/usr/bin/env python
"""What it costs that the kernel asks before a child looks up a name, and how many it looks up.

    python scripts/bench/lookups.py [--runs 3] [--json FILE]

Behind bubblewrap, with and without being asked in turns: importing torch, and compiling a small
model as well, on the GPU if there is one.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1]))

import _report  # noqa: E402 - beside this folder

from autoresearch.node import kernel, sandbox  # noqa: E402
from autoresearch.node.lookups import Lookups  # noqa: E402

IMPORT = "import torch\n"
COMPILE = """
import torch
from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(256)
        self.up, self.down = nn.Linear(256, 1024), nn.Linear(1024, 256)
    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Embedding(512, 256), Block(), Block(), nn.Linear(256, 512)).to(device)
optimiser = torch.optim.AdamW(model.parameters())
compiled = torch.compile(model)
for _ in range(2):
    compiled(torch.randint(0, 512, (4, 128), device=device)).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()
"""


def main() -> int:
    parser = _report.arguments(__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if problem := sandbox.problem():
        raise SystemExit(f"bubblewrap should make a sandbox here, but {problem}")
    machine, figures = _report.machine(), []
    for name, code in (("import", IMPORT), ("import and compile", COMPILE)):
        turns = [(run(code, asked=False), run(code, asked=True)) for _ in range(options.runs)]
        without, with_ = (
            median(seconds for seconds, _ in part) for part in zip(*turns, strict=True)
        )
        made = int(median(made for _, (_, made) in turns))
        note = f"{with_:.2f} s, {without:.2f} s"
        figures += [
            _report.Figure(f"{name}: names looked up", made, ""),
            _report.Figure(f"{name}: asked over not asked", with_ / without, "x", note=note),
        ]
    return _report.report("being asked for every name", figures, machine, options.json)


def run(code: str, *, asked: bool) -> tuple[float, int]:
    """Seconds that a whole child takes, and how many names it looked up."""
    lookups = Lookups()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            argv = (sys.executable, "-P", "-c", code)
            command = sandbox.command(sandbox.BUBBLEWRAP, argv, Path(scratch), threads=1)
            end = lookups.end if asked else 0
            began = time.monotonic()
            child = kernel.launch(
                command.argv,
                command.env,
                signal.SIGKILL,
                file_bytes=1 << 32,
                lookups=end,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(end,),
            )
            if status := child.wait():
                raise SystemExit(f"the child should end with exit code 0, but did with {status}")
            return time.monotonic() - began, lookups.made
    finally:
        lookups.close()


if __name__ == "__main__":
    sys.exit(main())
