"""Which settings make sense: every number in its range, and a space that fits train.py."""

import re
from collections.abc import Iterator, Mapping

from autoresearch.errors import ConfigError, nearest
from autoresearch.experiment import Scalar
from autoresearch.settings import (
    CHECKPOINTS,
    INSPECTIONS,
    SANDBOXES,
    Claude,
    Cluster,
    Data,
    Search,
    Settings,
    Task,
    Tier,
    Tracker,
)
from autoresearch.space import Choice, Domain

Rule = tuple[str, object, bool, str]  # key, value, whether it is fine, what it should be

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # a folder's name on every file system
TIER = r"[A-Za-z0-9][A-Za-z0-9_-]*"
SOURCES = ("stdlib", "files", "climbmix", "hf")
BRINGS_FILES = {"stdlib": False, "files": True, "climbmix": False}  # source=hf: as you like
URL = r"https?://[^\s/@]+(/[^\s@]*)?"
DATASET = r"[\w.-]+/[\w.-]+"
TRACKERS = ("files", "wandb")
OURS = (  # options of sbatch that would undo what we rely on
    *("array", "job-name", "time", "output", "error", "open-mode", "signal", "no-requeue", "wrap"),
    *("test-only", "parsable", "quiet", "wait", "help", "usage", "version", "clusters"),
)
ASKS_CLAUDE = ("claude", "mixed")  # planners
EFFORTS = ("low", "medium", "high", "xhigh", "max")
CACHES = ("5m", "1h")
MODES = ("auto", "online", "offline")
RESULTS = ("files", "wandb")
ONLINE = ("wandb", "online")
SET_BY_REFEREE = ("vocabulary", "context")  # fields of every Config that nobody may choose


def check_ranges(settings: Settings) -> None:
    """Raises ConfigError for the first value that is out of its range."""
    for key, value, is_fine, should in rules(settings):
        if not is_fine:
            raise ConfigError(f"{key} should be {should}, but was {value!r}")


def rules(s: Settings) -> Iterator[Rule]:
    is_name = bool(re.fullmatch(NAME, s.name))
    yield "name", s.name, is_name, "a plain name (letters, digits, '.', '_', '-')"
    is_path = bool(re.fullmatch(r"[^:%\\\n]+", s.dir))
    yield "dir", s.dir, is_path, "a directory, without ':', '%', '\\' or a line break in its name"
    yield at_least("seed", s.seed, 0)
    yield from task_rules(s.task)
    yield from search_rules(s.search)
    yield from cluster_rules(s.cluster)
    yield "judge.alpha", s.judge.alpha, 0 < s.judge.alpha < 1, "a probability between 0 and 1"
    for name in ("baseline_seeds", "crown_seeds", "certify_seeds"):
        yield at_least(f"judge.{name}", getattr(s.judge, name), 2)
    bounds = [s.budget.experiments, s.budget.gpu_hours, s.budget.wall_hours]
    for name in ("experiments", "gpu_hours", "wall_hours"):
        yield at_least(f"budget.{name}", getattr(s.budget, name), 0)
    is_bounded = any(bound > 0 for bound in bounds)
    yield "budget", "0 everywhere", is_bounded, "bounded by experiments, gpu_hours or wall_hours"
    yield above("pilot.poll_seconds", s.pilot.poll_seconds, 0)
    for name in ("idle_seconds", "experiments", "minutes"):
        yield at_least(f"pilot.{name}", getattr(s.pilot, name), 0)
    if s.cluster.kind == "slurm" and s.pilot.minutes:
        needed = (s.task.budget.seconds or 0) / 60 + 1
        yield at_least("pilot.minutes (an experiment, and a minute)", s.pilot.minutes, needed)
    yield at_least("budget.usd_agent", s.budget.usd_agent, 0)
    yield from claude_rules(s.claude)
    if s.planner.kind in ASKS_CLAUDE:
        yield above(f"budget.usd_agent with planner={s.planner.kind}", s.budget.usd_agent, 0)
        is_priced = s.claude.model in s.claude.prices
        should = f"a model of claude.prices ({', '.join(s.claude.prices) or 'which is empty'})"
        yield "claude.model", s.claude.model, is_priced, should
    yield from tracker_rules(s.tracker)
    is_carried = s.cluster.results == "files" or (s.tracker.kind, s.tracker.mode) == ONLINE
    should = "files, or come with tracker=wandb tracker.mode=online"
    yield "cluster.results", s.cluster.results, is_carried, should
    is_seen = s.cluster.results == "files" or s.task.keep_checkpoint == "none"
    yield "task.keep_checkpoint", s.task.keep_checkpoint, is_seen, "none, for W&B carries results"


def at_least(key: str, value: float, low: float) -> Rule:
    return key, value, value >= low, f"at least {low}"


def above(key: str, value: float, low: float) -> Rule:
    return key, value, value > low, f"above {low}"


def one_of(key: str, value: str, choices: tuple[str, ...]) -> Rule:
    return key, value, value in choices, f"one of {', '.join(choices)}"


def task_rules(task: Task) -> Iterator[Rule]:
    yield "task.name", task.name, bool(re.fullmatch(NAME, task.name)), "a plain name"
    budget = vars(task.budget)
    given = [value for value in budget.values() if value is not None]
    yield "task.budget", budget, len(given) == 1, "seconds or tokens, and the other one null"
    yield "task.budget", budget, all(value > 0 for value in given), "above 0"
    yield from data_rules(task.data)
    yield one_of("task.keep_checkpoint", task.keep_checkpoint, CHECKPOINTS)
    yield one_of("task.inspection", task.inspection, INSPECTIONS)
    scoring = task.scoring
    for name in ("rows", "tokens"):
        yield at_least(f"task.scoring.{name}", getattr(scoring, name), 1)
    yield at_least("task.scoring.length", scoring.length, 2)
    yield "task.scoring.altered", scoring.altered, 0 <= scoring.altered <= 1, "between 0 and 1"
    for name in ("random", "challenges"):
        yield at_least(f"task.scoring.{name}", getattr(scoring, name), 0)
    for name in ("mean_tolerance", "token_tolerance", "prefix_tolerance"):
        yield above(f"task.scoring.{name}", getattr(scoring, name), 0)
    for name, value in vars(task.limits).items():
        yield above(f"task.limits.{name}", value, 0)


def data_rules(data: Data) -> Iterator[Rule]:
    yield one_of("task.data.source", data.source, SOURCES)
    is_named = bool(data.files) == BRINGS_FILES.get(data.source, bool(data.files))
    should = "given for source=files, optional for source=hf, and empty otherwise"
    yield "task.data.files", list(data.files), is_named, should
    yield from hub_rules(data)
    fits = 258 <= data.vocabulary <= 1 << 16  # 256 bytes and a special token at least; uint16
    yield "task.data.vocabulary", data.vocabulary, fits, "from 258 to 65536"
    yield at_least("task.data.context", data.context, 2)
    yield at_least("task.data.limit_mb", data.limit_mb, 0)
    yield at_least("task.data.workers", data.workers, 0)
    for name in ("validation_share", "test_share"):
        share = getattr(data, name)
        yield f"task.data.{name}", share, 0 < share < 0.5, "a share between 0 and 0.5"


def hub_rules(data: Data) -> Iterator[Rule]:
    is_needed = data.source == "hf"
    is_right = bool(re.fullmatch(DATASET, data.dataset)) if is_needed else not data.dataset
    yield (
        "task.data.dataset",
        data.dataset,
        is_right,
        "OWNER/NAME for source=hf, and empty otherwise",
    )
    is_right = data.revision.isprintable() and bool(data.revision.strip())
    yield "task.data.revision", data.revision, is_right, "a branch, a tag or a commit"
    yield at_least("task.data.shards", data.shards, 0)
    for name in ("validation_files", "test_files"):
        given = list(getattr(data, name))
        is_right = not given or data.source != "stdlib"
        yield f"task.data.{name}", given, is_right, "empty for source=stdlib"


def search_rules(search: Search) -> Iterator[Rule]:
    yield at_least("search.wave", search.wave, 0)
    yield at_least("search.eta", search.eta, 2)
    rungs = list(search.rungs)
    climbs = rungs == sorted(set(rungs)) and bool(rungs) and rungs[0] >= 1
    yield "search.rungs", rungs, climbs, "whole numbers that grow, from 1 on, such as [1,2,4]"


def cluster_rules(cluster: Cluster) -> Iterator[Rule]:
    yield above("cluster.poll_seconds", cluster.poll_seconds, 0)
    yield one_of("cluster.results", cluster.results, RESULTS)
    yield one_of("cluster.sandbox", cluster.sandbox, SANDBOXES)
    for name in ("poll_limit", "file_seconds", "exclude_after", "max_jobs", "max_array"):
        yield at_least(f"cluster.{name}", getattr(cluster, name), 0)
    yield "cluster.tiers", "empty", bool(cluster.tiers), "one tier or more"
    for name, tier in cluster.tiers.items():
        is_name = bool(re.fullmatch(TIER, name))
        yield "cluster.tiers", name, is_name, "named by letters, digits, '_', '-'"
        yield from tier_rules(f"cluster.tiers.{name}", tier)
        if cluster.kind == "slurm":
            yield from slurm_rules(f"cluster.tiers.{name}", tier)
    yield from option_rules(cluster)


def option_rules(cluster: Cluster) -> Iterator[Rule]:
    """Options of sbatch that a user may add: those that are not ours to choose."""
    for name, value in cluster.options.items():
        plain = name.strip("-").replace("_", "-")
        is_free = bool(re.fullmatch(r"[a-z][a-z0-9-]*", plain)) and plain not in OURS
        should = f"an option of sbatch, but none of {', '.join(OURS)}"
        yield "cluster.options", name, is_free, should
        is_line = isinstance(value, (bool, int, float)) or value.isprintable()
        yield f"cluster.options.{name}", value, is_line, "one line"


def slurm_rules(key: str, tier: Tier) -> Iterator[Rule]:
    """What nobody can find out from the login node."""
    is_named = bool(tier.partitions) and all(re.fullmatch(r"[\w.-]+", p) for p in tier.partitions)
    yield f"{key}.partitions", list(tier.partitions), is_named, "one partition or more: [gpu]"
    yield at_least(f"{key}.pilots", tier.pilots, 1)
    is_told = tier.device != "auto"
    yield f"{key}.device", tier.device, is_told, f"a GPU type such as h100, or cpu-{tier.threads}"
    for name in ("cpus", "memory_gb"):
        yield at_least(f"{key}.{name}", getattr(tier, name), 0)


def tier_rules(key: str, tier: Tier) -> Iterator[Rule]:
    yield at_least(f"{key}.threads", tier.threads, 1)
    yield f"{key}.gpus", tier.gpus, tier.gpus in (0, 1), "0 or 1"
    yield at_least(f"{key}.pilots", tier.pilots, 0)
    yield at_least(f"{key}.price", tier.price, 0)
    cores = f"cpu-{tier.threads}"
    is_true = bool(tier.gpus) or tier.device in ("auto", cores)
    yield f"{key}.device", tier.device, is_true, f"auto or {cores} (threads={tier.threads})"


def claude_rules(claude: Claude) -> Iterator[Rule]:
    yield one_of("claude.effort", claude.effort, EFFORTS)
    yield one_of("claude.cache", claude.cache, CACHES)
    is_url = not claude.url or bool(re.fullmatch(URL, claude.url))
    yield "claude.url", claude.url, is_url, "an address such as https://api.anthropic.com"
    for name in ("requests", "max_tokens", "mistakes"):
        yield at_least(f"claude.{name}", getattr(claude, name), 1)
    yield "claude.max_tokens", claude.max_tokens, claude.max_tokens <= 21000, "at most 21000"
    yield above("claude.seconds", claude.seconds, 0)
    for name in ("patience", "smoke_seconds", "smokes", "notes"):
        yield at_least(f"claude.{name}", getattr(claude, name), 0)
    share = claude.smoke_share
    yield "claude.smoke_share", share, 0 < share <= 0.5, "a share between 0 and 0.5"
    for model, price in claude.prices.items():
        for name, value in vars(price).items():
            yield at_least(f"claude.prices.{model}.{name}", value, 0)


def tracker_rules(tracker: Tracker) -> Iterator[Rule]:
    yield one_of("tracker.kind", tracker.kind, TRACKERS)
    yield one_of("tracker.mode", tracker.mode, MODES)
    is_used = tracker.kind == "wandb" or tracker.mode == MODES[0]
    yield "tracker.mode", tracker.mode, is_used, "left out, or come with tracker=wandb"
    is_name = bool(re.fullmatch(r"[\w.-]{1,128}", tracker.project))
    yield "tracker.project", tracker.project, is_name, "a name (letters, digits, '.', '_', '-')"
    is_name = bool(re.fullmatch(r"[\w.-]*", tracker.entity))
    yield "tracker.entity", tracker.entity, is_name, "a user or team of W&B, or empty"
    is_url = not tracker.url or bool(re.fullmatch(URL, tracker.url))
    yield "tracker.url", tracker.url, is_url, "a server's address such as https://api.wandb.ai"
    yield at_least("tracker.poll_seconds", tracker.poll_seconds, 1)


# ---- the space and train.py ------------------------------------------------------------------


def check(settings: Settings, parameters: Mapping[str, Scalar]) -> None:
    """Whether the space and the baseline's parameters fit train.py's Config, whose defaults are
    `parameters`, and whether the budget lets a search begin. Raises ConfigError.
    """
    check_budget(settings)
    space, given = settings.search.space, settings.task.params
    for name in (*space, *given):
        check_name(name, parameters)
    for name, value in given.items():
        check_given(name, value, parameters[name])
    for name, domain in space.items():
        check_searched(name, domain, parameters[name])
    if not space:
        free = sorted(set(parameters) - set(given) - set(SET_BY_REFEREE))
        raise ConfigError(
            "search.space should hold at least one parameter, but is empty; e.g. "
            f"task.params.NAME='choice(1,2)' with a NAME of train.py's Config: {', '.join(free)}"
        )


def check_budget(settings: Settings) -> None:
    """Whether experiments are left to search with: what it begins and ends with is set aside."""
    judge, budget = settings.judge, settings.budget.experiments
    baselines = judge.baseline_seeds * len(settings.cluster.tiers)
    kept = 2 * (judge.crown_seeds + judge.certify_seeds)
    least = baselines + kept + settings.search.rungs[0]
    if 0 < budget < least:
        raise ConfigError(
            f"budget.experiments should be at least {least} ({baselines} of the baseline, {kept} "
            f"for a crown test and a certification, {settings.search.rungs[0]} to search with), "
            f"but was {budget}; raise it, or lower judge.*_seeds (judge=quick has few)"
        )


def check_name(name: str, parameters: Mapping[str, Scalar]) -> None:
    if name in SET_BY_REFEREE:
        raise ConfigError(f"'{name}' should be left alone: it comes from the data, task.data")
    if name not in parameters:
        free = set(parameters) - set(SET_BY_REFEREE)
        raise ConfigError(f"train.py's Config has no parameter '{name}'; {nearest(name, free)}")


def check_given(name: str, value: Scalar, default: Scalar) -> None:
    if not fits(value, default):
        raise ConfigError(
            f"task.params.{name} should be {kind(default)}, as in train.py, but was {value!r}"
        )


def check_searched(name: str, domain: Domain, default: Scalar) -> None:
    key = f"search.space.{name}"
    if isinstance(domain, Choice):
        wrong = [value for value in domain.values if not fits(value, default)]
        if wrong:
            raise ConfigError(
                f"{key} should offer {kind(default)} each time, as in train.py, "
                f"but offers {wrong[0]!r}"
            )
    elif isinstance(default, (bool, str)):
        raise ConfigError(
            f"{key} should be a choice(...), since train.py's {name} is {kind(default)}, "
            "but is an interval of numbers"
        )
    elif isinstance(default, int) and not domain.integer:
        whole = f"int(interval({domain.low:g},{domain.high:g}))"
        raise ConfigError(
            f"{key} should hold whole numbers, as in train.py, but is an interval of floats; "
            f"write {f'tag(log, {whole})' if domain.log else whole}"
        )


def fits(value: Scalar, default: Scalar) -> bool:
    if isinstance(value, (int, float)) and not abs(value) < 2**64:  # nor is it not a number
        return False
    if isinstance(default, float):
        return type(value) in (int, float)
    return type(value) is type(default)


def kind(default: Scalar) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words[type(default)]
