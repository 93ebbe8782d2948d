"""A wave as somebody outside the planners writes it, checked and made into one that can run.

Claude's `propose_wave` and `autoresearch wave submit` take the same JSON (docs/formats.md):

    {"hypothesis": "...", "notes": ["..."],
     "experiments": [{"parent": "champion", "edits": [{"search": "...", "replace": "..."}],
                      "overrides": {"matrix_lr": 0.05}, "description": "...", "expected": -0.002}]}

Everything that is wrong is told at once, each in one line fit to repair it by. Nothing is run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch.config.checks import SET_BY_REFEREE
from autoresearch.edits import apply, from_json
from autoresearch.entry import Entry
from autoresearch.errors import CampaignError, ConfigError, SourceError, UserError, nearest
from autoresearch.experiment import Candidate, Json, Proposal, Scalar, Version, Wave, one_line
from autoresearch.history import History
from autoresearch.inspection import REFUSE, vet
from autoresearch.names import candidate_named
from autoresearch.program import bake, check, is_plain, parameters, program_of, undefined
from autoresearch.programs import Programs, brought, fits, searchable, space_of
from autoresearch.space import (
    BEYOND,
    Choice,
    Domain,
    Space,
    check_domain,
    check_inside,
    check_reach,
    space_from_json,
    space_to_json,
)

WAVE = {"hypothesis": str, "experiments": list, "notes": list, "done": bool}
EXPERIMENT = {
    "parent": str,  # `champion`, `baseline`, or the start of an experiment's id or candidate's key
    "also": str,  # another whose win this one combines with the parent's
    "edits": list,
    "source": str,  # a whole train.py instead of edits
    "space": dict,  # domains of Config fields that are new with it
    "overrides": dict,
    "description": str,
    "expected": (int, float),
    "promote": bool,
}
FEWER = "leave the least promising out"
NO_ROOM = (
    "nothing is left beside what is asked for and kept for the last tests; wait for results, "
    "or `autoresearch resume` with budget.experiments=MORE"
)
LONGEST = 500  # characters of a description, a hypothesis
LONGEST_NOTE = 2000
LARGEST_EFFECT = 1e6  # bits per byte that may be expected of an experiment
MOST, LONGEST_PROBLEM = 20, 380  # problems that are told at once, and characters of each


def is_end(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < BEYOND


def is_offer(value: object) -> bool:
    return isinstance(value, (bool, str)) or is_end(value)


NUMBER = (is_end, "a number below 2**63")
SWITCH = (lambda value: isinstance(value, bool), "true or false")
DOMAIN: dict[str, tuple[Callable[[object], bool], str]] = {
    "values": (
        lambda value: isinstance(value, list) and all(map(is_offer, value)),
        "a list of numbers below 2**63, texts, true or false",
    ),
    "low": NUMBER,
    "high": NUMBER,
    "log": SWITCH,
    "integer": SWITCH,
}


class Unusable(UserError):  # noqa: N818 - it reports a fact
    """A draft with problems: all of them, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Bench:
    """What a draft is checked against."""

    history: History
    programs: Programs
    space: Space  # the campaign's own
    capacity: int  # experiments the wave may have
    inspection: str = REFUSE  # what becomes of a program that breaks rules


@dataclass
class Checked:
    """What has been found so far."""

    problems: list[str] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    versions: dict[str, Version] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)  # place of a candidate by its key


def read(draft: object, bench: Bench, planner: str) -> Wave:
    """A wave of a draft. Raises Unusable with everything that is wrong."""
    record = keys(draft, WAVE, "the wave")
    hypothesis, notes = record.get("hypothesis", ""), record.get("notes", [])
    found = Checked()
    if not hypothesis.strip() and record.get("experiments"):
        found.problems.append("hypothesis should say what the wave is to find out, but is empty")
    if not all(isinstance(note, str) and len(note) <= LONGEST_NOTE for note in notes):
        found.problems.append(f"notes should be texts of at most {LONGEST_NOTE} characters each")
    experiments = record.get("experiments", [])
    if len(experiments) > bench.capacity:
        found.problems.append(
            f"experiments should be at most {bench.capacity} (what pilots and budget have room "
            f"for), but are {len(experiments)}; {FEWER if bench.capacity else NO_ROOM}"
        )
        experiments = []
    for place, experiment in enumerate(experiments):
        try:
            take(found, bench, experiment, place, hypothesis)
        except UserError as error:
            lines = str(error).splitlines()
            found.problems += [f"experiments[{place}]: {line}" for line in lines]
    if found.problems:
        raise Unusable(found.problems)
    return Wave(
        planner,
        hypothesis[:LONGEST],
        tuple(found.proposals),
        exhausted=record.get("done", False),
        versions=tuple(found.versions.values()),
        notes=tuple(notes),
    )


def keys(record: object, known: Mapping[str, Any], what: str) -> Json:
    """An object with none but these keys, each of its type. Raises Unusable."""
    if not isinstance(record, dict):
        raise Unusable([f"{what} should be a JSON object, but was {record!r:.80}"])
    problems = [
        f"there is no key '{key:.80}'; {nearest(key, known)}" for key in record if key not in known
    ]
    for key in record.keys() & known.keys():
        is_truth = isinstance(record[key], bool) and known[key] is not bool
        if is_truth or not isinstance(record[key], known[key]):
            problems.append(f"{key} should be {word(known[key])}, but was {record[key]!r:.80}")
    if problems:
        raise Unusable(problems)
    return record


def word(kind: Any) -> str:
    words = {str: "text", list: "a list", dict: "an object", bool: "true or false"}
    return words.get(kind, "a number")


def take(found: Checked, bench: Bench, experiment: object, place: int, hypothesis: str) -> None:
    """Check one experiment of a draft. Raises UserError."""
    record = keys(experiment, EXPERIMENT, "an experiment")
    check_expected(record.get("expected", 0))
    parent = candidate_named(bench.history, record.get("parent", "champion"))
    version = written(bench, record, parent, hypothesis)
    program = version.program if version else parent.program
    overrides = chosen(bench, record, parent, version)
    candidate = Candidate(program, overrides)
    refuse_repetition(found, bench, candidate, promote=record.get("promote", False))
    if version is not None and program not in bench.history.versions:
        found.versions.setdefault(program, version)
    found.seen[candidate.key] = place
    found.proposals.append(
        Proposal(
            overrides,
            record.get("description", "")[:LONGEST] or hypothesis[:LONGEST],
            program,
            promote=record.get("promote", False),
            expected=record.get("expected"),
        )
    )


def check_expected(value: float) -> None:
    """Raises ConfigError for what is no change of a score. Not a number is none."""
    if not abs(value) <= LARGEST_EFFECT:
        raise ConfigError(
            "expected should be a change in bits per byte, a number from -1e6 to 1e6, "
            f"but was {value!r:.80}"
        )


def written(bench: Bench, record: Json, parent: Candidate, hypothesis: str) -> Version | None:
    """The program that an experiment writes, or None if it takes its parent's."""
    if "edits" in record and "source" in record:
        raise SourceError("there should be edits or a whole source, but there are both")
    if not record.get("edits") and "source" not in record:
        if "space" in record or "also" in record:
            raise SourceError("space and also belong to a new program, but there are no edits")
        return None
    before = bench.programs.text(parent)
    text = record["source"] if "source" in record else apply(before, from_json(record["edits"]))
    check_program(text)
    parents = [parent.program]
    if record.get("also"):
        parents.append(candidate_named(bench.history, record["also"]).program)
    known = map(bench.programs.sources.read, (*parents, bench.history.baseline.program))
    return Version(
        program_of(text),
        tuple(dict.fromkeys(parents)),
        record.get("description") or hypothesis,
        space_to_json(domains(record.get("space", {}), parameters(text))),
        text,
        vet(text, known, bench.inspection),
    )


def check_program(text: str) -> None:
    """Raises SourceError unless a program keeps the contract, as far as reading it tells."""
    check(text)
    fields = parameters(text)
    missing = [name for name in SET_BY_REFEREE if name not in fields] + undefined(text)
    if missing:
        raise SourceError(f"train.py should define {', '.join(missing)}, but does not any more")


def domains(record: Json, fields: Mapping[str, Scalar]) -> dict[str, Domain]:
    """Domains as a draft writes them. Raises ConfigError for one that does not fit its field."""
    found: dict[str, Domain] = {}
    for name, value in record.items():
        domain = found[name] = domain_of(name, value)
        check_reach(name, domain)
        check_domain(name, domain)
        if not fits(domain, fields.get(name)):
            raise ConfigError(f"space.{name} {unfit(name, domain, fields)}")
    return found


def domain_of(name: str, value: object) -> Domain:
    """A domain as it is written. Raises ConfigError unless all of it is of the right type."""
    check_free(f"space.{name}", name)
    is_whole = isinstance(value, dict) and ({*value} == {"values"} or is_interval({*value}))
    if not isinstance(value, dict) or not is_whole:
        raise ConfigError(
            f'space.{name} should be {{"low": 0.1, "high": 1, "log": true}} or '
            f'{{"values": [1, 2]}}, but was {value!r:.80}'
        )
    for key, inner in value.items():
        is_right, should = DOMAIN[key]
        if not is_right(inner):
            raise ConfigError(f"space.{name}.{key} should be {should}, but was {inner!r:.80}")
    return space_from_json({name: value})[name]


def is_interval(keys: set[str]) -> bool:
    return {"low", "high"} <= keys <= DOMAIN.keys() - {"values"}


def unfit(name: str, domain: Domain, fields: Mapping[str, Scalar]) -> str:
    """Why a field cannot be set to what a domain offers."""
    if name not in fields:
        return f"should be a field of Config, but is none; {nearest(name, fields)}"
    default = fields[name]
    if isinstance(domain, Choice):
        return f"should offer values of its field's type, as {default!r:.80}, but has another"
    if isinstance(default, int) and not isinstance(default, bool):
        return f'should have "integer": true, as its field is {default!r}, but has not'
    return f'should be {{"values": [...]}}, as its field is {default!r:.80}, but is an interval'


def check_free(place: str, name: str) -> None:
    """Raises ConfigError for a field of Config that nobody may choose."""
    if name in SET_BY_REFEREE:
        raise ConfigError(
            f"{place} should be left out: it comes from the campaign's data, but is given"
        )


def chosen(
    bench: Bench, record: Json, parent: Candidate, version: Version | None
) -> dict[str, Scalar]:
    """The overrides of an experiment: its own and, of the same program, its parent's."""
    own = record.get("overrides", {})
    if version is None:
        fields = bench.programs.parameters(parent.program)
        space = space_of(bench.history, bench.programs, bench.space, parent.program)
    else:
        fields = parameters(version.text)
        space = space_of_draft(bench, version, fields)
    own = spelled(space, own)
    values = {**(parent.overrides if version is None else {}), **own}
    bake(version.text if version else bench.programs.sources.read(parent.program), values)
    return {name: value for name, value in values.items() if fields[name] != value}


def spelled(space: Space, overrides: Json) -> dict[str, Scalar]:
    """Overrides as their domains write them, so that one value has one spelling and a candidate
    one key. Raises ConfigError for what may not be chosen."""
    for name, value in overrides.items():
        check_free(f"overrides.{name}", name)
        if not isinstance(value, str) and not is_plain(value):
            raise ConfigError(
                f"overrides.{name} should be a finite number below 2**64, text, true or false, "
                f"but was {value!r:.80}"
            )
    check_inside(space, overrides)
    return {name: space[name].spelled(value) for name, value in overrides.items()}


def space_of_draft(bench: Bench, version: Version, fields: Mapping[str, Scalar]) -> Space:
    """What may be searched of a program that is not kept yet."""
    inherited = brought(bench.history, bench.programs, version.parents[0])
    own = {**inherited, **space_from_json(version.space)}
    baseline = bench.programs.parameters(bench.history.baseline.program)
    return searchable(bench.space, fields, baseline, own)


def refuse_repetition(found: Checked, bench: Bench, candidate: Candidate, *, promote: bool) -> None:
    """Raises CampaignError for what has been tried, or stands in the same wave."""
    if candidate.key in found.seen:
        raise CampaignError(f"it is the same as experiments[{found.seen[candidate.key]}]")
    tried = list(bench.history.of_candidate(candidate, bench.history.screen))
    if tried and not promote:
        said = f"{tried[0].bpb:.4f}" if tried[0].bpb is not None else tried[0].state.name
        raise CampaignError(
            f"it has been tried as {tried[0].experiment.id} ({said}); seeds are the judge's to add"
        )


# ---- what becomes of it --------------------------------------------------------------------------


def few(problems: Sequence[str]) -> list[str]:
    """The first problems, each cut to a length that can be read, and how many more there are."""
    told = [one_line(problem, LONGEST_PROBLEM) for problem in problems[:MOST]]
    more = len(problems) - len(told)
    return [*told, f"… and {more} more problem{'s' * (more > 1)}"] if more else told


def hoped(history: History, entry: Entry) -> float | None:
    """The effect that was expected of an experiment when it was proposed."""
    if not entry.wave:
        return None
    candidate = entry.experiment.candidate
    wave, ids = history.waves[entry.wave - 1]
    whole = [p for p in wave.proposals if may_be(p, candidate)]
    exact = [p for p in whole if p.overrides == candidate.overrides]
    if whole and not exact:
        others = [history.entries[id].experiment.candidate for id in ids]
        exact = [p for p in whole if is_of(p, candidate, others)]
    return exact[0].expected if exact else None


def is_of(proposal: Proposal, candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether a candidate came of a proposal that says more: the rest is then what its program
    has anyway, so that no other candidate holds more of it."""
    size = len(candidate.overrides)
    same = (other for other in others if other.program == candidate.program)
    return not any(len(o.overrides) > size and may_be(proposal, o) for o in same)


def may_be(proposal: Proposal, candidate: Candidate) -> bool:
    """A candidate leaves out what equals its program's values."""
    same_program = proposal.program in ("", candidate.program)
    return same_program and candidate.overrides.items() <= proposal.overrides.items()
