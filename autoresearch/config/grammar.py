"""Hydra's override grammar: a command line's overrides, and parameter domains both ways."""

import math
from itertools import islice

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from autoresearch.errors import ConfigError
from autoresearch.experiment import Scalar
from autoresearch.space import Choice, Domain, Interval, check_domain

EXAMPLES = "choice(2,4), range(2,10,2), int(interval(2,16)) or tag(log, interval(0.01,0.1))"
LONGEST = 1000  # values a choice may have

PARSER = OverridesParser.create()


def parse_override(text: str) -> Override:
    """One override of a command line. Raises ConfigError."""
    try:
        override = PARSER.parse_override(text)
    except (HydraException, RecursionError, ValueError) as error:
        raise ConfigError(
            f"'{text[:200]}' should read like key=value, ~key or key='choice(1,2)', "
            f"but: {one_line(error)}"
        ) from None
    if not override.key_or_group:
        raise ConfigError(f"'{text}' should read like key=value, but has no key")
    return override


def one_line(error: Exception) -> str:
    """The message of Hydra, OmegaConf or YAML, without line breaks and what only they know."""
    message = str(error).split("\n    object_type")[0].replace("full_key:", "in")
    return " ".join(message.split()) or type(error).__name__


def parse_domain(key: str, text: object) -> Domain:
    """What may be searched, from text such as "tag(log, interval(0.01,0.1))".

    Raises ConfigError, which calls the domain `key`.
    """
    wanted = f"{key} should be a domain such as {EXAMPLES}"
    if not isinstance(text, str):
        raise ConfigError(f"{wanted}, but was {text!r}")
    try:
        sweep = PARSER.parse_override(f"domain={text}").value()
    except (HydraException, RecursionError) as error:
        raise ConfigError(f"{wanted}, but '{text}' says: {one_line(error)}") from None
    if not isinstance(sweep, Sweep):
        raise ConfigError(f"{wanted}, but was '{text}'; a single value goes to task.params")
    domain = to_domain(wanted, sweep)
    check_domain(key.rpartition(".")[2], domain)
    return domain


def to_domain(wanted: str, sweep: Sweep) -> Domain:
    is_interval = isinstance(sweep, IntervalSweep)
    if sweep.tags - ({"log"} if is_interval else set()):
        raise ConfigError(
            f"{wanted}, but is tagged {', '.join(sorted(sweep.tags))}: "
            "the one tag there is, log, belongs to an interval"
        )
    if isinstance(sweep, IntervalSweep) and sweep.start is not None and sweep.end is not None:
        integer = isinstance(sweep.start, int)
        return Interval(sweep.start, sweep.end, "log" in sweep.tags, integer)
    return Choice(tuple(scalar(wanted, value) for value in listed(wanted, sweep)))


def listed(wanted: str, sweep: Sweep) -> list[object]:
    """The values of a choice or a range, in the order the user wrote them."""
    if isinstance(sweep, ChoiceSweep) and not sweep.shuffle:
        return list(sweep.list)
    if not isinstance(sweep, RangeSweep) or sweep.shuffle:
        raise ConfigError(f"{wanted}, but is shuffled: planners choose the order themselves")
    try:
        values = list(islice(sweep.range(), LONGEST + 1))
    except (ValueError, HydraException):
        raise ConfigError(f"{wanted}, but its range has steps of {sweep.step}") from None
    if len(values) > LONGEST:
        raise ConfigError(
            f"{wanted}, but its range has more than {LONGEST} values; write int(interval(...))"
        )
    return [float(f"{v:.12g}") if isinstance(v, float) else v for v in values]  # 0.1+0.1+0.1


def scalar(wanted: str, value: object) -> Scalar:
    if isinstance(value, QuotedString):
        return value.text
    if not isinstance(value, (bool, int, float, str)):
        raise ConfigError(f"{wanted}, but offers {value!r}, which is no single value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{wanted}, but offers {value}, which is no finite number")
    return value


def domain_text(domain: Domain) -> str:
    """The inverse of `parse_domain`."""
    if isinstance(domain, Choice):
        return f"choice({','.join(map(scalar_text, domain.values))})"
    low, high = (int(domain.low), int(domain.high)) if domain.integer else (domain.low, domain.high)
    text = f"interval({low!r},{high!r})"
    text = f"int({text})" if domain.integer else text
    return f"tag(log, {text})" if domain.log else text


def scalar_text(value: Scalar) -> str:
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value).lower() if isinstance(value, bool) else repr(value)
