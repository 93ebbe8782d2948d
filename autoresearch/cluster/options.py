"""What a pilot asks Slurm for: a tier's settings as options of sbatch, by their long names."""

from collections.abc import Collection, Mapping
from math import ceil

from autoresearch.experiment import Scalar
from autoresearch.hardware import FAKE
from autoresearch.settings import Cluster, Tier

Options = dict[str, str | bool]

# Options of a user's that say the same as one of ours: Slurm refuses both together.
REPLACED = {
    "mem": ("mem-per-cpu", "mem-per-gpu"),
    "gres": ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"),
}


def sbatch_options(
    cluster: Cluster,
    tier: Tier,
    partition: str,
    memory_gb: float = 0.0,
    exclude: Collection[str] = (),
) -> Options:
    """Long names to values, True for an option without one; `cluster.options` has the last word.

    `exclude` are nodes besides those that the cluster's settings exclude.
    """
    ours = {
        "partition": partition,
        "gres": gres(tier),
        "cpus-per-task": str(tier.cpus or tier.threads),
        "mem": f"{ceil(memory_gb * 1024)}M" if memory_gb else "",  # 0M would be a whole node
        "account": cluster.account,
        "qos": tier.qos or cluster.qos,
        "constraint": tier.constraint or cluster.constraint,
        "exclude": ",".join(filter(None, (cluster.exclude, *sorted(exclude)))),
    }
    theirs = {name.strip("-").replace("_", "-"): value for name, value in cluster.options.items()}
    kept: Options = {name: value for name, value in ours.items() if value}
    for name in [name for name in kept if theirs.keys() & {name, *REPLACED.get(name, ())}]:
        del kept[name]
    return kept | given(theirs)


def gres(tier: Tier) -> str:
    """A fake GPU is dealt out like the real one it is called after."""
    if tier.gres or not tier.gpus:
        return tier.gres
    kind = tier.device.removeprefix(FAKE)
    return f"gpu:{tier.gpus}" if kind == "auto" else f"gpu:{kind}:{tier.gpus}"


def given(options: Mapping[str, Scalar]) -> Options:
    """A user's own: `false` or "" takes an option of ours away."""
    kept = {name: value for name, value in options.items() if value is not False and value != ""}
    return {name: True if value is True else str(value) for name, value in kept.items()}


def arguments(options: Options) -> list[str]:
    """Options as a command line."""
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()
    ]
