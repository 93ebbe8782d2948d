"""A Slurm site: partitions, nodes, accounts, QOS, and whose limits a job obeys.

`survey` reads it.
"""

from dataclasses import dataclass, field

MAX_ARRAY = 1001  # Slurm's default
OUT = ("down", "drain", "drng", "fail", "inval", "unk", "futr", "err", "npc", "block")

Amounts = dict[str, int]  # trackable resources, memory in megabytes


@dataclass(frozen=True)
class Node:
    """A node as one of its partitions shows it."""

    name: str
    partition: str
    state: str = "idle"
    cpus: int = 0
    memory_mb: int = 0
    features: tuple[str, ...] = ()
    gpus: dict[str, int] = field(default_factory=dict)  # by Slurm's type; "": it names none

    @property
    def is_out(self) -> bool:
        """Whether it takes no jobs until somebody mends it."""
        return self.state.startswith(OUT)


@dataclass(frozen=True)
class Partition:
    """A queue. Names empty: all may. Times None: no limit."""

    name: str
    is_default: bool = False
    state: str = "UP"
    max_minutes: int | None = None
    default_minutes: int | None = None
    nodes: tuple[Node, ...] = ()
    min_nodes: int = 0
    preempt_mode: str = ""
    priority_tier: int = 1
    grace_seconds: int = 0
    qos: str = ""  # whose limits all its jobs obey
    weights: dict[str, float] = field(default_factory=dict)  # what one of each costs
    allow_accounts: tuple[str, ...] = ()
    deny_accounts: tuple[str, ...] = ()
    allow_qos: tuple[str, ...] = ()
    deny_qos: tuple[str, ...] = ()
    gives_whole_nodes: bool = False
    needs_reservation: bool = False
    is_for_root: bool = False

    @property
    def up(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if not node.is_out)

    @property
    def gpus(self) -> dict[str, int]:
        """GPUs of the nodes that take jobs, by Slurm's type."""
        found: dict[str, int] = {}
        for node in self.up:
            for gpu_type, count in node.gpus.items():
                found[gpu_type] = found.get(gpu_type, 0) + count
        return found

    @property
    def cpus_per_node(self) -> int:
        """Of the smallest node that takes jobs."""
        return min((node.cpus for node in self.up), default=0)

    @property
    def memory_mb_per_node(self) -> int:
        return min((node.memory_mb for node in self.up), default=0)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits that both an association and a QOS can have. Group limits count everybody's jobs."""

    grp_jobs: int | None = None
    grp_submit: int | None = None
    grp_minutes: int | None = None
    grp_tres: Amounts = field(default_factory=dict)
    grp_tres_minutes: Amounts = field(default_factory=dict)
    grp_tres_run_minutes: Amounts = field(default_factory=dict)
    max_minutes: int | None = None
    max_tres: Amounts = field(default_factory=dict)  # of one job
    max_tres_per_node: Amounts = field(default_factory=dict)
    max_tres_minutes: Amounts = field(default_factory=dict)  # of one job


@dataclass(frozen=True, kw_only=True)
class Association(Bounds):
    """What a user may do in an account, in all partitions or in one."""

    account: str
    user: str = ""  # "": the account's own limits, which its users share
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    max_jobs: int | None = None
    max_submit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Qos(Bounds):
    """A quality of service: limits and precedence under one name."""

    name: str
    priority: int = 0
    preempts: tuple[str, ...] = ()
    preempt_mode: str = ""
    grace_seconds: int = 0
    flags: tuple[str, ...] = ()
    usage_factor: float = 1.0
    max_jobs_per_user: int | None = None
    max_submit_per_user: int | None = None
    max_tres_per_user: Amounts = field(default_factory=dict)
    max_jobs_per_account: int | None = None
    max_submit_per_account: int | None = None
    max_tres_per_account: Amounts = field(default_factory=dict)
    min_tres: Amounts = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Everything at once. Without accounts to see, it says why, and nothing is known of limits."""

    name: str = ""
    version: str = ""
    max_array: int = MAX_ARRAY  # an array's indices are below it
    preempts_by: str = ""  # "partition_prio", "qos", "": nothing is preempted
    enforced: tuple[str, ...] | None = None  # AccountingStorageEnforce; None: not known
    price_flags: tuple[str, ...] = ()  # how prices of resources make one
    partitions: tuple[Partition, ...] = ()
    user: str = ""
    default_account: str = ""
    associations: tuple[Association, ...] = ()
    qos: dict[str, Qos] = field(default_factory=dict)
    silence: str = ""  # why there are no accounts to see

    @property
    def accounting(self) -> bool:
        return not self.silence

    @property
    def has_limits(self) -> bool:
        """Whether the limits of associations and QOS are more than words."""
        return self.enforced is None or bool({"limits", "safe", "all"} & set(self.enforced))

    @property
    def needs_association(self) -> bool:
        """Whether a job without one is refused."""
        return self.enforced is None or bool(self.enforced)

    def partition(self, name: str) -> Partition | None:
        """By name; of several, as squeue shows them, the first."""
        wanted = name.partition(",")[0]
        return next((p for p in self.partitions if p.name == wanted), None)

    @property
    def mine(self) -> tuple[Association, ...]:
        return tuple(found for found in self.associations if found.user)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The user's, the default one first."""
        found = dict.fromkeys([self.default_account, *(a.account for a in self.mine)])
        return tuple(name for name in found if name)

    def association(self, account: str, partition: str = "") -> Association | None:
        """What decides about a job there: the partition's own association, or the account's.

        Some sites have one per partition and none besides: for no partition any of them will do.
        """
        ours = [found for found in self.mine if found.account == account.lower()]
        for wanted in (partition, ""):
            for found in ours:
                if found.partition == wanted:
                    return found
        return ours[0] if ours and not partition else None

    def qos_in_use(self, account: str, qos: str = "", partition: str = "") -> str:
        """The QOS of a job that asks for `qos`, or for none; "" if nobody can say."""
        found = self.association(account or self.default_account, partition)
        if qos or found is None:
            return qos
        likely = [found.default_qos, *(["normal"] if "normal" in found.qos else []), *found.qos]
        return next((name for name in likely if name), "")

    def holders(
        self, account: str = "", qos: str = "", partition: str = ""
    ) -> list[tuple[str, Bounds]]:
        """Whose limits a job obeys, each with a name for people. Empty if none are enforced."""
        if not self.has_limits:
            return []
        account = (account or self.default_account).lower()
        own = self.qos_in_use(account, qos, partition)
        queue = self.partition(partition)
        found: list[tuple[str, Bounds | None]] = [(f"QOS {own}", self.qos.get(own))]
        if queue and queue.qos:
            found.append((f"QOS {queue.qos} of partition {queue.name}", self.qos.get(queue.qos)))
        found.append((f"account {account}", self.association(account, partition)))
        shared = (a for a in self.associations if not a.user and a.account == account)
        found += [(f"account {account} as a whole", bounds) for bounds in shared]
        return [(name, bounds) for name, bounds in found if bounds is not None]
