"""What settings leave to the machine they are composed on: paths, cores, GPUs."""

import os
from dataclasses import replace
from pathlib import Path

from autoresearch.errors import ConfigError
from autoresearch.hardware import gpus_here
from autoresearch.layout import shipped
from autoresearch.settings import Cluster, Data, Limits, Settings, Task, Tier

BESIDE_GB = 8.0  # beside a program: two scorers, the referee with the data, tokens twice
DATA_HOME = "AUTORESEARCH_DATA"  # holds one folder of prepared data per task


def resolve(settings: Settings) -> Settings:
    """The same settings with absolute paths and real tiers. Raises ConfigError."""
    return replace(
        settings,
        dir=absolute(settings.dir),
        task=resolve_task(settings.task),
        cluster=resolve_cluster(settings.cluster, settings.task.limits),
    )


def absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - without following links


def resolve_task(task: Task) -> Task:
    return replace(task, dir=task_folder(task.dir), data=resolve_data(task.data, task.name))


def task_folder(name: str) -> str:
    """The folder of a task: as given, seen from the working directory, or one of ours."""
    places = [Path(absolute(name)), shipped(name)]
    for place in places:
        if (place / "train.py").is_file():
            return str(place)
    raise ConfigError(
        f"task.dir should be a folder with a train.py, but there is none in {places[0]}; "
        "ours is task.dir=train"
    )


def resolve_data(data: Data, task: str) -> Data:
    """Prepared data never lies silently under $HOME: the user says where."""
    home = os.environ.get(DATA_HOME)
    if not data.directory and not home:
        raise ConfigError(
            "task.data.directory should name where prepared data lies, but neither it nor "
            f"{DATA_HOME} is set; e.g. export {DATA_HOME}=$PWD/data"
        )
    directory = absolute(data.directory or f"{home}/{task}")
    if data.is_on_hub:  # names there, no paths
        return replace(data, directory=directory)
    return replace(
        data,
        directory=directory,
        files=tuple(map(absolute, data.files)),
        validation_files=tuple(map(absolute, data.validation_files)),
        test_files=tuple(map(absolute, data.test_files)),
    )


# ---- tiers -----------------------------------------------------------------------------------


def resolve_cluster(cluster: Cluster, limits: Limits) -> Cluster:
    """Only this machine can be looked at: a Slurm cluster's tiers say what they are."""
    if cluster.kind == "slurm":
        needed = limits.memory_gb + BESIDE_GB
        tiers = {n: replace(t, memory_gb=t.memory_gb or needed) for n, t in cluster.tiers.items()}
        return replace(cluster, tiers=tiers)
    if cluster.kind != "local":
        return cluster
    tiers = {name: resolve_tier(name, tier) for name, tier in cluster.tiers.items()}
    return replace(cluster, tiers=tiers)


def resolve_tier(name: str, tier: Tier) -> Tier:
    if tier.device != "auto" and tier.pilots:
        return tier
    return resolve_gpus(name, tier) if tier.gpus else resolve_cores(name, tier)


def resolve_cores(name: str, tier: Tier) -> Tier:
    cores = len(os.sched_getaffinity(0))
    if tier.threads > cores:
        raise ConfigError(
            f"cluster.tiers.{name}.threads should be at most {cores}, the cores we may use here, "
            f"but was {tier.threads}"
        )
    device = f"cpu-{tier.threads}" if tier.device == "auto" else tier.device
    return replace(tier, device=device, pilots=tier.pilots or cores // tier.threads)


def resolve_gpus(name: str, tier: Tier) -> Tier:
    """One pilot per GPU of this machine; all of one type, since they share one cell."""
    found = gpus_here()
    key = f"cluster.tiers.{name}"
    if not found:
        raise ConfigError(
            f"{key} should run on GPUs, but `nvidia-smi -L` shows none here; cluster=local uses "
            "the cores"
        )
    if tier.device == "auto" and len(set(found)) > 1:
        raise ConfigError(
            f"{key} should have GPUs of one type, but here are {', '.join(sorted(set(found)))}; "
            f"set {key}.device and {key}.pilots"
        )
    device = found[0] if tier.device == "auto" else tier.device
    chosen = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return replace(tier, device=device, pilots=tier.pilots or len(chosen or found))
