"""A wave to start from: a draft with a campaign's own names, a value inside each domain, an edit.

It is valid as it stands, so that whoever changes one thing is told of that thing alone.
"""

from collections.abc import Mapping

from autoresearch.errors import SourceError
from autoresearch.experiment import Candidate, Json, Scalar
from autoresearch.history import History
from autoresearch.program import defaults, parameters
from autoresearch.programs import Programs, space_of
from autoresearch.space import Space
from autoresearch.verbs.find import Campaign

STEP = 0.618  # of a domain from one try to the next: it comes near every value in time
TRIES = 100
FIELD = "gain"
DOMAIN = {"low": 0.1, "high": 10.0, "log": True}


def template(campaign: Campaign) -> Json:
    """In the words of docs/formats.md."""
    history, programs = campaign.history, Programs(campaign.sources)
    champion = history.champion
    space = space_of(history, programs, campaign.settings.search.space, champion.program)
    experiments = []
    if space:
        point = untried(history, space, programs.parameters(champion.program))
        experiments.append(experiment("what is changed, in a few words", overrides=point))
    if found := edit(programs.text(champion)):
        why = "what the new program does differently, and why that should help"
        experiments.append(experiment(why, **found))
    return {
        "hypothesis": "what this wave is to find out, so that results can prove it wrong",
        "notes": ["what the results so far have taught, for whoever plans the next wave"],
        "experiments": experiments,
    }


def experiment(description: str, **what: object) -> Json:
    return {"parent": "champion", **what, "description": description, "expected": -0.001}


def untried(history: History, space: Space, known: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A point of the space that the champion's program has not run with, if there is one."""
    point: dict[str, Scalar] = {}
    for k in range(1, TRIES):
        point = {name: domain.at(k * STEP % 1) for name, domain in space.items()}
        changed = {name: value for name, value in point.items() if known[name] != value}
        candidate = Candidate(history.champion.program, changed)
        if not list(history.of_candidate(candidate, history.screen)):
            break
    return point


def edit(text: str) -> Json | None:
    """A new field of Config, below one whose line is like no other, with a domain to search."""
    fields = defaults(text)
    name = next(n for n in (FIELD + "_" * k for k in range(len(fields) + 1)) if n not in fields)
    lines = [line.decode() for line in text.encode().splitlines()]
    for node in reversed(fields.values()):
        line = lines[node.lineno - 1]
        indent = line[: len(line) - len(line.lstrip())]
        new = f"{line}\n{indent}{name}: float = 1.0  # new fields join what is searched"
        if text.count(line) == 1 and has_field(text.replace(line, new), name):
            return {"edits": [{"search": line, "replace": new}], "space": {name: DOMAIN}}
    return None


def has_field(text: str, name: str) -> bool:
    """Whether it is a program, and its Config has this field."""
    try:
        return name in parameters(text)
    except SourceError:
        return False
