"""The same naps as a Hydra sweep: `python _sweep.py --multirun +index='range(0,16)'`."""

import json
import os
from pathlib import Path

import hydra
from omegaconf import DictConfig
from slurm._nap import work


@hydra.main(version_base=None)
def main(config: DictConfig) -> None:
    naps = json.loads(Path(os.environ["BENCH_NAPS"]).read_text(encoding="utf-8"))
    work(naps[config.index])


if __name__ == "__main__":
    main()
