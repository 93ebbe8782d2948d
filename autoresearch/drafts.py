"""A wave as somebody outside the planners writes it, checked and made into one that can run.

Claude's `propose_wave` and `autoresearch wave submit` take the same JSON (docs/formats.md):

    {"hypothesis": "...", "notes": ["..."],
     "experiments": [{"parent": "champion", "edits": [{"search": "...", "replace": "..."}],
                      "overrides": {"matrix_lr": 0.05}, "description": "...", "expected": -0.002}]}

Everything that is wrong is told at once, each in one line fit to repair it by. Nothing is run.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch.edits import apply, from_json
from autoresearch.errors import CampaignError, ConfigError, SourceError, UserError, nearest
from autoresearch.experiment import Candidate, Json, Proposal, Scalar, Version, Wave
from autoresearch.history import History
from autoresearch.names import candidate_named
from autoresearch.program import bake, check, parameters, program_of
from autoresearch.programs import Programs, brought, fits, searchable, space_of
from autoresearch.space import (
    Choice,
    Domain,
    Space,
    check_domain,
    check_inside,
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
SET_BY_REFEREE = ("vocabulary", "context")
LONGEST = 500  # characters of a description, a hypothesis
LONGEST_NOTE = 2000


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
            f"for), but are {len(experiments)}; leave the least promising out"
        )
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
        f"there is no key '{key}'; {nearest(key, known)}" for key in record if key not in known
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
    return Version(
        program_of(text),
        tuple(dict.fromkeys(parents)),
        record.get("description") or hypothesis,
        space_to_json(domains(record.get("space", {}), parameters(text))),
        text,
    )


def check_program(text: str) -> None:
    """Raises SourceError unless a program keeps the contract, as far as reading it tells."""
    check(text)
    fields = parameters(text)
    missing = [name for name in SET_BY_REFEREE if name not in fields]
    tree = ast.parse(text)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing += [f"{name}()" for name in ("build", "train") if name not in defined]
    if missing:
        raise SourceError(f"train.py should define {', '.join(missing)}, but does not any more")


def domains(record: Json, fields: Mapping[str, Scalar]) -> dict[str, Domain]:
    """Domains as a draft writes them. Raises ConfigError for one that does not fit its field."""
    found: dict[str, Domain] = {}
    for name, value in record.items():
        try:
            domain = space_from_json({name: value})[name]
        except (TypeError, KeyError, AttributeError):
            raise ConfigError(
                f'space.{name} should be {{"low": 0.1, "high": 1, "log": true}} or '
                f'{{"values": [1, 2]}}, but was {value!r:.80}'
            ) from None
        check_domain(name, domain)
        if not fits(domain, fields.get(name)):
            kind = "values of its own type" if isinstance(domain, Choice) else "a number"
            raise ConfigError(f"space.{name} should be a field of Config that takes {kind}")
        found[name] = domain
    return found


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
    check_inside(space, own)
    values = {**(parent.overrides if version is None else {}), **own}
    bake(version.text if version else bench.programs.sources.read(parent.program), values)
    return {name: value for name, value in values.items() if fields[name] != value}


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
