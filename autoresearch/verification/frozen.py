"""Experiments, programs, cells and node code: each is what its name or its hash says."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Cell, State, digest
from autoresearch.layout import file_hash, read_json
from autoresearch.node.freeze import TRACKING
from autoresearch.verification.evidence import Evidence, frozen_names, read_experiment
from autoresearch.verification.findings import Check, check, differing, should


def frozen(evidence: Evidence) -> Iterator[Check]:
    claim = "folder, id, experiment.json and the journal agree"
    yield check("experiments", "experiment", claim, names(evidence), Folders(evidence).faults)
    claim = "train.py has the candidate's SHA-256"
    yield check("programs", "folder", claim, evidence.folders, Folders(evidence).program_faults)
    claim = "in sources.git under their own SHA-256"
    yield check("sources", "version", claim, versions(evidence), Versions(evidence).faults)
    if evidence.history:
        claim = "of config.yaml's device, budget and scoring, and of the code in node/"
        tiers = evidence.history.tiers.items()
        yield check("cells", "cell", claim, tiers, Cells(evidence).faults)
    yield node(evidence)


def names(evidence: Evidence) -> list[str]:
    """Of all experiments, on disk or in the journal."""
    known = evidence.history.entries if evidence.history else {}
    return [*known, *(name for name in evidence.folders if name not in known)]


class Folders:
    """experiments/, folder by folder."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.layout = evidence.layout

    def faults(self, id: str) -> Iterator[str]:
        path = self.layout.experiment_json(id)
        where = self.evidence.name(path)
        history = self.evidence.history
        entry = history.entries.get(id) if history else None
        if not path.exists():
            if entry is None or entry.state in (State.queued, State.running):
                yield f"{where}: should be a frozen experiment, but is missing"
            return
        try:
            experiment = read_experiment(self.layout, id)
        except ValueError as error:
            yield f"{where}: {error}"
            return
        if experiment.id != id:
            yield should(where, "id", f"its folder's, {id},", experiment.id)
        if history and entry is None:
            yield f"{where}: should be in the journal, but is not"

    def program_faults(self, id: str) -> Iterator[str]:
        path = self.layout.program(id)
        entry = self.evidence.history.entries.get(id) if self.evidence.history else None
        try:
            experiment = entry.experiment if entry else read_experiment(self.layout, id)
            wanted = experiment.candidate.program
            found = file_hash(path)
        except (OSError, ValueError):
            return  # told above, or removed by `autoresearch clean`: sources.git has it
        if found != wanted:
            yield should(self.evidence.name(path), "SHA-256", wanted, found)


def versions(evidence: Evidence) -> list[str]:
    """Every program that the journal names, or a folder where there is no journal to ask."""
    history = evidence.history
    if history is None:
        return sorted(set(programs_on_disk(evidence)))
    crowned = [test.verdict["program"] for test in history.crowns if test.crowned and test.verdict]
    tried = [entry.experiment.candidate.program for entry in history.entries.values()]
    return list(dict.fromkeys([history.baseline.program, *history.versions, *tried, *crowned]))


def programs_on_disk(evidence: Evidence) -> Iterator[str]:
    for id in evidence.folders:
        try:
            yield read_experiment(evidence.layout, id).candidate.program
        except ValueError:
            continue


class Versions:
    """sources.git, program by program."""

    def __init__(self, evidence: Evidence) -> None:
        self.sources = evidence.sources

    def faults(self, program: str) -> Iterator[str]:
        try:
            self.sources.read(program)
        except (AutoresearchError, UnicodeDecodeError) as error:
            yield f"sources.git: {error}"


class Cells:
    """The journal's cells against the settings and the node's code; results name the data."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.given = (read_json(evidence.layout.node_settings) or {}).get("scoring", {})

    def faults(self, tier_and_cell: tuple[str, Cell]) -> Iterator[str]:
        tier, cell = tier_and_cell
        start, code = self.evidence.start, self.evidence.code
        where = f"config.yaml, tier {tier}"
        known = start.cluster.tiers.get(tier)
        expected = {"device": cell.device, "budget": str(cell.budget)}
        device = known.device if known else "no such tier"
        yield from differing(where, expected, {"device": device, "budget": str(start.task.budget)})
        made, _, scoring = cell.ruler.partition("-")
        if code is not None and code[:8] != made:
            yield should("node/autoresearch", "its hash", made, code[:8])
        where = "node/settings.json" if self.given else "config.yaml, task"
        ruler = digest(self.given, 8) if self.given else start.task.scoring.ruler
        if scoring and ruler != scoring:
            yield should(where, "the hash of scoring", scoring, ruler)
        yield from differing("config.yaml, task.scoring", self.given, asdict(start.task.scoring))


def node(evidence: Evidence) -> Check:
    """Nothing may lie beside the frozen modules that Python would import in another's place."""
    package = evidence.layout.node / "autoresearch"
    known = {f"autoresearch/{name}" for name in frozen_names(package)}
    claim = "in node/, all of them the referee's own"
    found = sorted(evidence.layout.node.rglob("*")) if evidence.code is not None else []
    modules = [p for p in found if p.suffix in (".py", ".so", ".pth") or p.is_symlink()]

    def faults(path: Path) -> Iterable[str]:
        name = str(path.relative_to(evidence.layout.node))
        if name not in known and path.parent != package / TRACKING:
            yield f"node/{name}: should not be, for the code that was frozen has no such file"

    return check("node", "module", claim, modules, faults)
