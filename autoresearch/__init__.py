"""Autoresearch on Slurm: a search over `train.py` whose numbers can be trusted."""

__version__ = "0.1.0"
