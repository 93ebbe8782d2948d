"""What Slurm prints → plain values: pure, and never an exception, however odd the text.

Slurm 19 to 25 differ in columns and keys, hardly in these forms. What cannot be read counts as
not there, and so does every word for "no limit".
"""

import re
from collections.abc import Iterator

NOTHING = {"", "(null)", "n/a", "none", "unlimited", "infinite", "notset", "-1"}
DURATION = re.compile(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?", re.ASCII)
NUMBER = re.compile(r"(\d{1,15}(?:\.\d{0,9})?)([KMGTP]?)B?\+?", re.ASCII | re.IGNORECASE)
SUFFIXES = ("", "K", "M", "G", "T", "P")
MEMORY = {"mem", "vmem"}  # counted in megabytes


def seconds(text: str) -> int | None:
    """Of "1-00:00:00", "30:00" or "90", which is minutes; None where there is no limit."""
    match = DURATION.fullmatch(text.strip())
    if not match:
        return None
    days, *fields = match.groups()
    given = [int(field) for field in fields if field is not None]
    if days is None and len(given) < 3:  # MM or MM:SS
        given = [0, *given]
    hour, minute, second = [*given, 0, 0][:3]
    return ((int(days or 0) * 24 + hour) * 60 + minute) * 60 + second


def minutes(text: str) -> int | None:
    """Whole minutes that certainly fit; None where there is no limit."""
    found = seconds(text)
    return None if found is None else found // 60


def number(text: str, unit: str = "") -> float | None:
    """Of "16", "1.5K" or "256000+", in units of a suffix: number("1T", unit="G") is 1024."""
    match = NUMBER.fullmatch(text.strip())
    if not match:
        return None
    suffix = SUFFIXES.index(match[2].upper()) if match[2] else SUFFIXES.index(unit)
    return float(match[1]) * 1024.0 ** (suffix - SUFFIXES.index(unit))


def whole(text: str) -> int | None:
    found = number(text)
    return None if found is None else int(found)


def megabytes(text: str) -> int | None:
    found = number(text, unit="M")
    return None if found is None else int(found)


def names(text: str) -> tuple[str, ...]:
    """Of a comma-separated list; empty for ALL too, which restricts nothing."""
    if text.strip().lower() in NOTHING | {"all"}:
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip())


def word(text: str) -> str:
    """A single value, or ""."""
    return "" if text.strip().lower() in NOTHING else text.strip()


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Of "cpu=4,gres/gpu:h100=2", names in lower case."""
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            yield name.strip().lower(), value.strip()


def tres(text: str) -> dict[str, int]:
    """Trackable resources and how much of each; memory in megabytes."""
    found = {
        name: megabytes(value) if name in MEMORY else whole(value) for name, value in pairs(text)
    }
    return {name: amount for name, amount in found.items() if amount is not None}


def weights(text: str) -> dict[str, float]:
    """Of TRESBillingWeights, what one of each costs; "Mem=0.25G" is per gigabyte, ours per MB."""
    found: dict[str, float] = {}
    for name, value in pairs(text):
        match = NUMBER.fullmatch(value)
        if match:
            suffix = match[2].upper() if name in MEMORY and match[2] else "M"
            per = 1024.0 ** (SUFFIXES.index(suffix) - SUFFIXES.index("M"))
            found[name] = float(match[1]) / per
    return found


def gpus(text: str) -> dict[str, int]:
    """GPUs of a node by Slurm's type, "" for those without one: "gpu:a100:4(S:0-1),mps:400"."""
    found: dict[str, int] = {}
    for part in re.sub(r"\([^()]*\)", "", text).split(","):
        kind, *fields = [field.strip() for field in part.split(":") if field.strip() != "gres"]
        fields = [field for field in fields if field != "no_consume"]
        if kind.lower() != "gpu":
            continue
        count = whole(fields[-1]) if fields else 1
        gpu_type = ":".join(fields if count is None else fields[:-1])
        found[gpu_type] = found.get(gpu_type, 0) + (1 if count is None else count)
    return {gpu_type: count for gpu_type, count in found.items() if count}


# ---- whole answers -----------------------------------------------------------------------------


def settings(text: str) -> dict[str, str]:
    """`scontrol show config`: "Key   = value" lines."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = value.strip()
    return found


def records(text: str, first: str) -> list[dict[str, str]]:
    """`scontrol show`, on one line per record or on many: a record begins at the key `first`."""
    found: list[dict[str, str]] = []
    for key, value in re.findall(r"(?<!\S)([^\s=]+)=(\S*)", text):
        if key == first:
            found.append({})
        if found:
            found[-1][key] = value
    return found


def table(text: str) -> list[dict[str, str]]:
    """`sacctmgr -P show`, with its heading: columns by name, in lower case without spaces."""
    heading, *rows = [line for line in text.splitlines() if line.strip()] or [""]
    columns = [re.sub(r"\s", "", column).lower() for column in heading.split("|")]
    return [dict(zip(columns, row.split("|"), strict=False)) for row in rows]
