"""What a node answered → findings. Pure: facts of the checkup against what the settings want."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from autoresearch.doctor.advice import State
from autoresearch.experiment import Json
from autoresearch.hardware import FAKE, gpus_of, is_fake
from autoresearch.node.device import AUTO, same_gpu
from autoresearch.settings import Tier, Tracker

LEAST_DISK = 1e9  # bytes: programs, weights in passing and W&B's own files
TOLERATED_SKEW = 2.0  # seconds
TOLERATED_DELAY = 2.0  # seconds above cluster.file_seconds
GIB = 1 << 30

Judged = tuple[State, str]
Named = tuple[str, State, str]  # with the name of the check


@dataclass(frozen=True)
class Wanted:
    """What a pilot of a tier counts on finding."""

    tier: Tier
    tracker: Tracker
    software: str  # as the login node's: "python 3.11 torch 2.13.0"
    manifest: str  # SHA-256 of the prepared data's manifest; "" if there is none here
    memory_gb: float  # what a program may hold
    file_seconds: float
    login_offset: float  # the login node's clock minus the file server's
    host: str  # W&B's
    sandbox: str  # one of SANDBOXES


def judge(wanted: Wanted, facts: Json, delay: float | None) -> Iterator[Named]:
    """The check, what came of it, what was found. `delay`: until a file written there was seen."""
    for check, (look, verdict) in VERDICTS.items():
        fact = facts.get(look)
        if not concerns(check, wanted):
            continue
        if fact is None:
            yield check, State.unknown, "the job ended before"
        elif "error" in fact:
            yield check, *failed(check, wanted, fact["error"])
        else:
            yield check, *verdict(wanted, fact["value"])
    yield from clock_and_delay(wanted, facts.get("clock") or {}, delay)


def concerns(check: str, wanted: Wanted) -> bool:
    if check in ("gpu", "visible"):
        return bool(wanted.tier.gpus)
    if check == "cuda":
        return bool(wanted.tier.gpus) and not is_fake(wanted.tier.device)
    return check != "key" or wanted.tracker.kind == "wandb"


def failed(check: str, wanted: Wanted, error: str) -> Judged:
    """A look that failed is a problem where the thing itself fails so, else it says nothing."""
    words = error.partition(": ")[2] or error
    if check == "key":
        return key(wanted, False)
    tells = check in ("numpy", "torch", "data", "disk", "links", "sealing")
    if check == "cuda":
        return State.unknown, "torch cannot be imported"
    return (State.problem if tells else State.unknown), words


# ---- software --------------------------------------------------------------------------------


def python(wanted: Wanted, value: Json) -> Judged:
    version = ".".join(map(str, value["version"]))
    ours = wanted.software.split()[1]
    found = f"{version} ({value['executable']})"
    if value["version"][:2] < [3, 11]:
        return State.problem, f"{found}; should be 3.11 or newer"
    if ".".join(version.split(".")[:2]) != ours:
        return State.problem, f"{found}; here it is {ours}"
    return State.ok, found


def numpy(_: Wanted, value: Json) -> Judged:
    return State.ok, str(value["version"])


def torch(wanted: Wanted, value: Json) -> Judged:
    found, ours = str(value["version"]), wanted.software.split()[-1]
    if found.partition("+")[0] != ours:
        return State.problem, f"{found}; here it is {ours}"
    return State.ok, found


# ---- what the job was given ------------------------------------------------------------------


def gpu(wanted: Wanted, value: Json) -> Judged:
    """The type of those GPUs that CUDA may see; where it names them by number, in the listing."""
    device = wanted.tier.device.removeprefix(FAKE)
    kinds = gpus_of(value["listing"])
    numbers = [int(name) for name in (value["visible"] or "").split(",") if name.isdigit()]
    if len(kinds) > wanted.tier.gpus and all(number < len(kinds) for number in numbers):
        kinds = [kinds[number] for number in numbers] or kinds
    if not kinds:
        said = value["listing"].strip().splitlines()
        return State.problem, f"nvidia-smi shows none ({said[-1] if said else 'it says nothing'})"
    found = ", ".join(sorted(set(kinds)))
    if device != AUTO and any(not same_gpu(device, kind) for kind in kinds):
        return State.problem, f"{found}; should be {device}"
    return State.ok, found


def visible(wanted: Wanted, value: Json) -> Judged:
    shown = value["visible"]
    if shown is None:
        return State.problem, "CUDA_VISIBLE_DEVICES is not set"
    count = len([name for name in shown.split(",") if name])
    found = f"CUDA_VISIBLE_DEVICES={shown}"
    if count != wanted.tier.gpus:
        return State.problem, f"{found}; should show {wanted.tier.gpus}"
    return State.ok, found


def cuda(wanted: Wanted, value: Json) -> Judged:
    if not value["cuda"]:
        return State.problem, f"torch {value['version']} finds no CUDA device"
    names = ", ".join(value["names"])
    if wanted.tier.device != AUTO and not all(
        same_gpu(wanted.tier.device, name) for name in value["names"]
    ):
        return State.problem, f"{names}; should be {wanted.tier.device}"
    return State.ok, names


def cores(wanted: Wanted, value: int) -> Judged:
    if value < wanted.tier.threads:
        return State.problem, f"{value}; the tier's programs have {wanted.tier.threads} threads"
    return State.ok, str(value)


def memory(wanted: Wanted, value: Json) -> Judged:
    """Less than a program alone may hold is too little; referee, data and scorers come on top."""
    found = f"{value['bytes'] / GIB:.1f} GiB by {value['by']}"
    if value["bytes"] < wanted.memory_gb * GIB * 0.99:
        return State.problem, f"{found}; a program may hold {wanted.memory_gb:g} GiB"
    return State.ok, found


def disk(_: Wanted, value: Json) -> Judged:
    found = f"{value['free'] / 1e9:.1f} GB free in {value['path']}"
    return (State.ok if value["free"] >= LEAST_DISK else State.problem), found


def sealing(_: Wanted, value: bool) -> Judged:
    return (State.ok, "works") if value else (State.problem, "what is sealed can be changed")


# ---- what it shares with the login node ------------------------------------------------------


def shared(_: Wanted, value: float | None) -> Judged:
    if value is None:
        return State.problem, "what is written here is not seen there within 90 s"
    return State.ok, f"there and back in {value:.1f} s"


def links(_: Wanted, value: str) -> Judged:
    return (State.problem, value) if value else (State.ok, "work")


def data(wanted: Wanted, value: Json) -> Judged:
    if value["wrong"]:
        return State.problem, f"not as the manifest says: {', '.join(value['wrong'][:3])}"
    if wanted.manifest and value["sha256"] != wanted.manifest:
        return State.problem, f"another manifest than here: {value['sha256'][:12]}"
    return State.ok, f"manifest {value['sha256'][:12]}"


def clock_and_delay(wanted: Wanted, clock: Json, delay: float | None) -> Iterator[Named]:
    """Clocks by the stamps a file server gives: no message's way is part of that."""
    if "value" not in clock:
        yield "clock", State.unknown, clock.get("error", "the job ended before")
        return
    server = offset(**clock["value"])
    here = server - wanted.login_offset
    worst = max(abs(server), abs(wanted.login_offset), abs(here))
    found = f"node {here:+.1f} s from here, {server:+.1f} s from the file server"
    yield "clock", State.problem if worst > TOLERATED_SKEW else State.ok, found
    if delay is not None:
        lag = max(0.0, delay + here)
        is_late = lag > wanted.file_seconds + TOLERATED_DELAY
        yield "delay", State.problem if is_late else State.ok, f"{lag:.1f} s until seen here"


def offset(before: float, after: float, stamp: float) -> float:
    """A clock minus the file server's; 0 if the stamp lies between two looks at the clock."""
    if stamp < before:
        return before - stamp if before - stamp > 0.05 else 0.0  # kernels stamp by the last tick
    return after - stamp if stamp > after else 0.0


# ---- what lies outside -----------------------------------------------------------------------


def secrets(_: Wanted, value: list[str]) -> Judged:
    return (State.problem, ", ".join(value)) if value else (State.ok, "none")


def key(wanted: Wanted, value: bool) -> Judged:
    where = f"{wanted.host} in ~/.netrc"
    return (State.ok, where) if value else (State.problem, f"there is no {where}")


def internet(wanted: Wanted, value: str) -> Judged:
    if not value:
        return State.ok, f"{wanted.host} can be reached"
    is_needed = wanted.tracker.kind == "wandb" and wanted.tracker.mode == "online"
    found = f"{wanted.host} cannot be reached: {value}"
    return (State.problem, found) if is_needed else (State.note, f"{found}; it is not needed")


def sandbox(wanted: Wanted, value: str) -> Judged:
    if wanted.sandbox == "none":
        found = "bubblewrap would work, but " if not value else ""
        return State.note, f"{found}cluster.sandbox=none: results will be unprotected"
    if not value:
        return State.ok, "bubblewrap works"
    why = value.splitlines()[-1]
    if wanted.sandbox == "bubblewrap":
        return State.problem, why
    return State.note, f"{why}; results would be unprotected"


# The check: what the checkup calls it, and who judges. In the order they are shown.
VERDICTS: dict[str, tuple[str, Callable[..., Judged]]] = {
    "shared": ("reply", shared),
    "links": ("links", links),
    "data": ("data", data),
    "python": ("python", python),
    "numpy": ("numpy", numpy),
    "torch": ("torch", torch),
    "gpu": ("gpus", gpu),
    "visible": ("gpus", visible),
    "cuda": ("torch", cuda),
    "cores": ("cores", cores),
    "memory": ("memory", memory),
    "disk": ("disk", disk),
    "sealing": ("sealing", sealing),
    "secrets": ("secrets", secrets),
    "key": ("key", key),
    "internet": ("internet", internet),
    "sandbox": ("sandbox", sandbox),
}
