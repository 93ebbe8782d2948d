"""What is checked, whether a campaign can do without it, and what to do about it: one table."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from autoresearch.experiment import Json


class State(StrEnum):
    """What came of a check."""

    ok = "ok"
    problem = "problem"
    unknown = "could not be checked"
    note = "note"  # good to know; neither good nor bad


@dataclass(frozen=True)
class Advice:
    """One kind of check. `title` says what is so if all is well."""

    title: str
    cure: str
    breaks: bool = True  # whether a campaign would fail with it


ADVICE = {
    # ---- on the login node -------------------------------------------------------------------
    "inside": Advice(
        "not inside a job",
        "pilots are submitted without the job's variables, but the controller ends with the job: "
        "start it on a login node, or give that job time enough",
        breaks=False,
    ),
    "sbatch": Advice("sbatch answers", "go to a login node, or load the site's Slurm module"),
    "squeue": Advice(
        "squeue answers", "see `scontrol ping`; if no slurmctld is UP, wait or tell the site"
    ),
    "sacct": Advice(
        "sacct answers",
        "pilots that have left the queue are looked up there: ask the site for job accounting",
        breaks=False,
    ),
    "directory": Advice(
        "campaign directory",
        "choose another dir=..., on a file system that is shared with the nodes and yours to "
        "write to; home and scratch often are, the login node's /tmp is not",
    ),
    "links": Advice(
        "links and renames",
        "claims rest on them: choose dir=... on another file system (NFS, Lustre, GPFS do, many "
        "object stores and FUSE mounts do not)",
    ),
    "options": Advice(
        "Slurm accepts the options",
        "mend cluster.account, cluster.qos, cluster.options or the tier's partitions, gres, qos, "
        "memory_gb; `sacctmgr show assoc user=$USER` and `sinfo -o '%P %G %c %m'` list it",
    ),
    # ---- on both -----------------------------------------------------------------------------
    "data": Advice(
        "prepared data",
        "run `autoresearch prepare` with the same settings; task.data.directory must be seen by "
        "login node and nodes alike",
    ),
    "key": Advice(
        "W&B key",
        "`wandb login` here, with --host=URL if the server is yours, puts it into ~/.netrc, which "
        "nodes read; without one runs are kept until you sync them",
        breaks=False,
    ),
    # ---- the job -----------------------------------------------------------------------------
    "queue": Advice(
        "a job starts",
        "a reason with Held: `scontrol release`, or ask who holds it; with QOS or Assoc: the limit "
        "is taken up by other jobs, or less than one pilot asks for (`sacctmgr show qos`); with "
        "Partition or Constraints: no node can ever run it as it is",
    ),
    "job": Advice(
        "the job ran",
        "read what Slurm says of it; mend the tier's options, or choose another partition",
    ),
    "setup": Advice(
        "setup lines",
        "try cluster.setup in a job of your own (`srun --pty bash`): a batch shell reads no "
        ".bashrc, so `module` or `conda` may want a line that defines it first",
    ),
    # ---- software ----------------------------------------------------------------------------
    "python": Advice(
        "Python",
        "name the node's Python in cluster.python, or load it in cluster.setup; it should be the "
        "one this runs with, in an environment that nodes see",
    ),
    "numpy": Advice("numpy", "install numpy into the environment of cluster.python"),
    "torch": Advice(
        "PyTorch",
        "install the same PyTorch into the environment of cluster.python: numbers of different "
        "versions are of different cells and never compared",
    ),
    # ---- what the job is given ---------------------------------------------------------------
    "gpu": Advice(
        "GPU type",
        "mend the tier's device or partitions; where a partition has several types, the tier's "
        "gres or constraint picks one",
    ),
    "visible": Advice(
        "GPUs visible",
        "CUDA_VISIBLE_DEVICES should show what was asked for: see the tier's gpus and gres, and "
        "whether a setup line changes the variable",
    ),
    "cuda": Advice(
        "CUDA in PyTorch",
        "install a PyTorch built for CUDA that the node's driver knows (`nvidia-smi` shows its "
        "version)",
    ),
    "cores": Advice("cores", "raise the tier's cpus, or lower its threads"),
    "memory": Advice("memory", "raise the tier's memory_gb, or lower task.limits.memory_gb"),
    "disk": Advice(
        "local disk",
        "let cluster.setup export TMPDIR to a local disk with room, or --tmp in cluster.options "
        "ask for a node that has some",
    ),
    "sealing": Advice(
        "sealed memory",
        "data and weights are handed over in it: use nodes with Linux 3.17 or newer",
    ),
    # ---- what it shares with the login node --------------------------------------------------
    "shared": Advice(
        "shared files",
        "choose dir=... on a file system that login node and nodes share",
    ),
    "delay": Advice(
        "delay of files",
        "set cluster.file_seconds to more than this, so that no pilot is taken for dead whose "
        "result is on its way",
        breaks=False,
    ),
    "clock": Advice(
        "clocks agree",
        "waiting times and budgets of wall time will be off: tell the site (NTP)",
        breaks=False,
    ),
    # ---- what lies outside -------------------------------------------------------------------
    "secrets": Advice(
        "no keys in the environment",
        "keep keys out of cluster.setup and of what it sources: without a sandbox, programs could "
        "read them",
        breaks=False,
    ),
    "internet": Advice(
        "internet", "use tracker.mode=auto: what nodes write is then sent from here", breaks=False
    ),
    "sandbox": Advice(
        "sandbox",
        "ask for bubblewrap 0.8 or later and user namespaces on the nodes (conda-forge has "
        "bubblewrap, too), or trust the programs: cluster.sandbox=none",
    ),
}


@dataclass(frozen=True)
class Finding:
    """What came of one check at one place; no tier: on the login node."""

    check: str
    state: State
    found: str
    tier: str = ""
    partition: str = ""
    node: str = ""

    @property
    def title(self) -> str:
        return ADVICE[self.check].title

    @property
    def cure(self) -> str:
        return ADVICE[self.check].cure if self.state is State.problem else ""

    @property
    def breaks(self) -> bool:
        """Whether a campaign would fail."""
        return self.state is State.problem and ADVICE[self.check].breaks

    def to_json(self) -> Json:
        return {**asdict(self), "title": self.title, "cure": self.cure, "breaks": self.breaks}
