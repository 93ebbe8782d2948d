"""The same nap for those without a referee: what a Slurm job of theirs calls, once per experiment.

It writes when its batch script began (see `_lab.MARK`), when it ended, and on which GPU.
"""

import json
import os
import time
from pathlib import Path


def rest(seconds: float) -> None:
    """Nothing but the time that passes."""
    time.sleep(seconds)


def work(seconds: float) -> None:
    import torch  # noqa: PLC0415 - on the node, as every program does

    torch.zeros(1)
    time.sleep(seconds)
    record = {
        "gpu": f"{os.environ['SLURMD_NODENAME']}:{os.environ['CUDA_VISIBLE_DEVICES']}",
        "started": float(os.environ["BENCH_STARTED"]),
        "ended": time.time(),
    }
    line = json.dumps(record) + "\n"
    with Path(os.environ["BENCH_STAYS"]).open("a", encoding="utf-8") as file:
        file.write(line)
