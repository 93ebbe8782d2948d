"""The settings of a campaign, frozen: one dataclass per `conf/` group, and a node's share of them.

`config` fills them from Hydra; every module gets its slice, never the whole. A default here is
what a short config may leave out. Runs on compute nodes too: standard library only.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from autoresearch.experiment import Budget, Json, Scalar, digest
from autoresearch.layout import write_atomically
from autoresearch.space import Domain


@dataclass(frozen=True)
class Data:
    """What `prepare` makes of which text. See docs/formats.md for what it writes."""

    directory: str  # where the prepared data lies; absolute
    source: str = "stdlib"  # "stdlib", "files", "climbmix" or "hf"
    files: tuple[str, ...] = ()  # .txt, .jsonl, .parquet: files, folders or globs; source=hf:
    # names or globs in the dataset, none: all
    vocabulary: int = 8192  # size of the BPE vocabulary, special tokens included
    context: int = 2048  # tokens a row holds
    limit_mb: float = 0.0  # text to use at most; 0: all there is
    validation_share: float = 0.05  # of the documents
    test_share: float = 0.05
    workers: int = 0  # threads; 0: as many as cores, at most 4 on a login node
    dataset: str = ""  # source=hf: OWNER/NAME on the Hugging Face hub
    revision: str = "main"  # a branch, tag or commit of the dataset
    shards: int = 10  # files of the dataset to use, besides those pinned to a split; 0: all
    validation_files: tuple[str, ...] = ()  # like `files`: these are the validation split
    test_files: tuple[str, ...] = ()  # ... the test split

    @property
    def is_on_hub(self) -> bool:
        """Whether the text must be downloaded."""
        return self.source in ("climbmix", "hf")


# A program that misreports this share of its positions is caught with this probability by as many
# challenges as make (1 - share) ** challenges <= 1 - probability.
SEEN = (0.005, 0.999)


@dataclass(frozen=True)
class Scoring:
    """The referee's protocol. Part of the cell's ruler: other settings, other numbers.

    All scoring calls share one shape, (`rows`, `length`) tokens.
    """

    rows: int = 16  # rows per scoring call
    length: int = 2048  # tokens per row
    tokens: int = 1 << 20  # target tokens scored per split, at most; rounded down to whole rows
    altered: float = 0.1  # altered copies per original row
    random: int = 16  # rows of uniformly random tokens
    challenges: int = 1379  # positions whose logits a second scorer must return: see SEEN
    mean_tolerance: float = 2e-4  # nats: |mean(claimed - recomputed)|, |mean(later - earlier)|
    token_tolerance: float = 0.15  # nats: |claimed - recomputed| of any single token
    prefix_tolerance: float = 1e-3  # nats: |altered - original| of any token before the change

    @property
    def ruler(self) -> str:
        """Hash of what decides a score besides the referee's code."""
        return digest(asdict(self), 8)


@dataclass(frozen=True)
class Limits:
    """Bounds on what one experiment may take besides its budget."""

    setup_seconds: float = 600.0  # from the program's start to `ready`
    setup_allowance: float = 60.0  # seconds of it that nobody is told about
    token_seconds: float = 3600.0  # wall clock of a budget in tokens
    grace_seconds: float = 2.0  # from the end of the budget to the delivered weights
    load_seconds: float = 10.0  # to load weights, and to the first answer: a scorer must not train
    score_seconds: float = 300.0  # for both scorers together
    memory_gb: float = 16.0  # resident memory of the program or of one scorer, with its files
    processes: int = 512  # and threads, of the program or of one scorer
    output_mb: float = 16.0  # what a program may print
    lookups: int = 20_000  # of files by name, once the clock has started: compile before


@dataclass(frozen=True)
class Task:
    """The program under research and the text it is judged on."""

    name: str
    dir: str  # holds prepare.py, train.py and program.md
    data: Data
    budget: Budget
    params: dict[str, Scalar] = field(default_factory=dict)  # the baseline's
    scoring: Scoring = field(default_factory=Scoring)
    limits: Limits = field(default_factory=Limits)
    keep_checkpoint: str = "none"  # one of CHECKPOINTS: whose weights stay beside their result
    inspection: str = "refuse"  # one of INSPECTIONS: what becomes of a program that breaks rules


@dataclass(frozen=True)
class Search:
    """What may be tried, and how screening spends its seeds (successive halving)."""

    space: dict[str, Domain] = field(default_factory=dict)
    wave: int = 0  # proposals per wave; 0: as many as there are pilots
    rungs: tuple[int, ...] = (1, 2, 4)  # seeds a candidate has at each rung
    eta: int = 3  # one candidate in `eta` climbs to the next rung


@dataclass(frozen=True)
class Judge:
    """When a difference counts. The error rate cannot be changed after the start."""

    alpha: float = 0.05  # campaign-wide probability of crowning any candidate by luck
    baseline_seeds: int = 5  # replicates of the baseline in every cell
    crown_seeds: int = 5  # fresh seeds of challenger and champion per crown test
    certify_seeds: int = 5  # fresh seeds of champion and baseline on the test split


@dataclass(frozen=True)
class Planner:
    """Who proposes waves. `options` go to the planner's own module."""

    kind: str = "bayes"
    options: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Price:
    """What a model costs: dollars per million tokens, and multiples of `input` for its cache."""

    input: float
    output: float
    cache_write: float = 1.25  # kept for five minutes
    cache_write_1h: float = 2.0
    cache_read: float = 0.1


@dataclass(frozen=True)
class Claude:
    """How Claude is asked for a wave, and how much one may take."""

    model: str = "claude-opus-5-5"
    effort: str = "high"  # low, medium, high, xhigh or max
    url: str = ""  # of the API; "": the SDK's own, or ANTHROPIC_BASE_URL
    cache: str = "5m"  # how long the API keeps the start of a prompt: "5m" or "1h"
    requests: int = 24  # for one wave, at most
    max_tokens: int = 16000  # of one answer, its thinking included
    seconds: float = 900.0  # for one wave, at most
    patience: float = 60.0  # of them, to wait for a server that is down, limits us, is overloaded
    mistakes: int = 5  # answers that cannot be used, before a wave is given up
    smoke_share: float = 0.02  # of an experiment's tokens: the length of a smoke experiment
    smoke_seconds: float = 120.0  # to wait for one before the conversation goes on
    smokes: int = 8  # for one wave, at most
    notes: int = 40  # of the notebook, the newest, that a prompt holds
    prices: dict[str, Price] = field(default_factory=dict)  # by model

    @classmethod
    def from_json(cls, record: Json) -> Self:
        """The inverse of `dataclasses.asdict`."""
        prices = {model: Price(**price) for model, price in record.get("prices", {}).items()}
        return cls(**{**record, "prices": prices})


@dataclass(frozen=True)
class Spending:
    """Hard bounds on a campaign, what is in flight counted. 0: no bound."""

    experiments: int = 0
    gpu_hours: float = 0.0  # on a CPU: hours of a pilot
    wall_hours: float = 0.0
    usd_agent: float = 0.0  # dollars for Claude; 0: nothing is spent


@dataclass(frozen=True)
class Tier:
    """A named rung of the search: what its pilots run on."""

    device: str = "auto"  # GPU type, or "cpu-N" for N threads; "auto": look
    threads: int = 1  # CPU threads of the program and of each scorer
    gpus: int = 0  # GPUs per pilot: 0 or 1
    pilots: int = 0  # pilots at once; 0: as many as fit
    price: float = 0.0  # per pilot hour, in the site's units
    # Slurm alone:
    partitions: tuple[str, ...] = ()  # where pilots may wait; one runs where it can first
    gres: str = ""  # what a pilot asks for; "": gpu:TYPE:1 of the tier's device
    cpus: int = 0  # cores of a pilot; 0: as many as threads
    memory_gb: float = 0.0  # of a pilot; 0: what the task's limits add up to
    qos: str = ""  # "": the cluster's
    constraint: str = ""  # features of nodes; "": the cluster's


CHECKPOINTS = ("none", "decisive", "all")  # decisive: crown tests and certification
SANDBOXES = ("auto", "bubblewrap", "none")
INSPECTIONS = ("refuse", "warn", "none")  # "off" would be false in YAML


@dataclass(frozen=True)
class Cluster:
    """Where pilots run. The last tier is the one crowns are decided on."""

    kind: str = "local"
    tiers: dict[str, Tier] = field(default_factory=dict)
    poll_seconds: float = 1.0  # between two looks, at least
    poll_limit: float = 0.0  # between two looks, at most; 0: always poll_seconds
    file_seconds: float = 0.0  # how long a file written on a node may take to be seen here
    results: str = "files"  # what brings results here: "files", or "wandb" where none are seen
    sandbox: str = "auto"  # one of SANDBOXES; "auto": bubblewrap where it can be had
    # Slurm alone:
    account: str = ""
    qos: str = ""
    constraint: str = ""
    exclude: str = ""  # nodes, as sbatch --exclude takes them
    exclude_after: int = 3  # a node that failed so often is excluded too; 0: never
    setup: tuple[str, ...] = ()  # shell lines before a pilot starts: modules, conda
    python: str = ""  # how a node starts Python; "": like here
    options: dict[str, Scalar] = field(default_factory=dict)  # any other option of sbatch
    max_jobs: int = 0  # of ours in the queue at once; 0: what Slurm's limits leave
    max_array: int = 0  # tasks of one array; 0: what Slurm says


@dataclass(frozen=True)
class Pilot:
    """How long a pilot holds its device."""

    idle_seconds: float = 20.0  # a pilot that finds nothing to claim for so long goes home
    poll_seconds: float = 0.5  # how often an idle pilot looks
    experiments: int = 0  # a pilot claims at most so many; 0: no bound
    minutes: float = 0.0  # its life, near whose end it claims nothing more; 0: no bound or, on
    # Slurm, chosen from the experiments' length and the waiting times


@dataclass(frozen=True)
class Tracker:
    """Where people watch: files only, or W&B as well."""

    kind: str = "files"  # "files" or "wandb"
    mode: str = "auto"  # "online", "offline", or "auto": online where a node reaches the server
    project: str = "autoresearch"
    entity: str = ""  # a user or team; "": the key's own
    url: str = ""  # of the server; "": the one `wandb login` chose
    poll_seconds: float = 15.0  # between two questions to the server, at least


@dataclass(frozen=True)
class Settings:
    """A whole campaign. `config.yaml` holds exactly this."""

    name: str
    dir: str
    task: Task
    search: Search
    cluster: Cluster
    seed: int = 1
    planner: Planner = field(default_factory=Planner)
    claude: Claude = field(default_factory=Claude)
    judge: Judge = field(default_factory=Judge)
    budget: Spending = field(default_factory=Spending)
    pilot: Pilot = field(default_factory=Pilot)
    tracker: Tracker = field(default_factory=Tracker)


@dataclass(frozen=True)
class NodeSettings:
    """What a node must know about its campaign: `node/settings.json`, written once at the start."""

    campaign: str  # the campaign's name: the W&B group
    data: str  # absolute path of the prepared data
    tiers: dict[str, Tier]
    scoring: Scoring
    limits: Limits
    pilot: Pilot
    tracker: Tracker
    results: str = "files"  # as in Cluster
    sandbox: str = "none"
    keep_checkpoint: str = "none"

    def write(self, path: Path, like: Path | None = None) -> None:
        """With the names that the file has already, or `like`: frozen code knows no others."""
        record, known = asdict(self), like or path
        if known.exists():
            record = fitting(record, json.loads(known.read_text(encoding="utf-8")))
        write_atomically(path, json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError if there is no such file."""
        record = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            campaign=record["campaign"],
            data=record["data"],
            tiers={name: Tier(**tier) for name, tier in record["tiers"].items()},
            scoring=Scoring(**record["scoring"]),
            limits=Limits(**record["limits"]),
            pilot=Pilot(**record["pilot"]),
            tracker=Tracker(**record["tracker"]),
            results=record.get("results", "files"),  # campaigns before there was a choice
            sandbox=record["sandbox"],
            keep_checkpoint=record.get("keep_checkpoint", "none"),
        )


def fitting(new: Json, old: Json) -> Json:
    """Of a record what another one of its kind has a place for, tables in it alike."""
    return {
        name: fitting(value, old[name]) if isinstance(value, dict) else value
        for name, value in new.items()
        if name in old
    }
