"""A campaign that waits for waves from outside: its directory is real, its results are made up.

The tests speak to it by the command line; `take_in` is the real controller's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from worlds import CELL, make_settings

from autoresearch import asking, config, dispatch
from autoresearch.cli import main
from autoresearch.entry import Purpose, brief
from autoresearch.experiment import Candidate, Failure, Json, Result, Scalar, Wave
from autoresearch.history import History
from autoresearch.journal import Journal, replay
from autoresearch.judge import Request
from autoresearch.layout import Layout
from autoresearch.programs import Programs
from autoresearch.record import Record
from autoresearch.settings import Planner, Search, Settings, Spending
from autoresearch.sources import Sources
from autoresearch.space import Choice, Domain, Interval

PROGRAM = """\
from dataclasses import dataclass


@dataclass
class Config:
    vocabulary: int = 256
    context: int = 32
    width: int = 1  # of nothing in particular
    rate: float = 0.5  # of learning


def build(config):
    return config.width


def train(run, config, model):
    for _ in run.batches(1):
        pass
"""
SPACE: dict[str, Domain] = {
    "width": Choice((1, 2, 3, 4)),
    "rate": Interval(0.1, 1.0, log=True),
}
EDIT = {"search": "return config.width", "replace": "return config.width + 1"}


@dataclass
class Campaign:
    """What a controller holds between two turns."""

    settings: Settings
    layout: Layout
    record: Record
    sources: Sources

    @property
    def history(self) -> History:
        return self.record.history

    @property
    def root(self) -> str:
        return str(self.layout.root)

    def screen(
        self,
        score: float | Failure,
        overrides: Mapping[str, Scalar] | None = None,
        program: str = "",
        seed: int = 1,
        purpose: Purpose = Purpose.screen,
    ) -> Candidate:
        """One experiment, proposed and finished."""
        candidate = Candidate(program or self.history.baseline.program, dict(overrides or {}))
        wave = Wave("test", "why not", ()) if purpose is Purpose.screen else None
        request = Request(candidate, seed, "screen", purpose, description="by hand")
        dispatch.propose(self.record, [request], wave)
        id = dispatch.experiment_of(self.history, request).id
        failure = score if isinstance(score, Failure) else None
        result = Result(id, 1, "p", None if isinstance(score, Failure) else score, failure)
        self.record.append({"type": "queued", "attempts": [[id, 1]]})
        where = {"experiment": id, "attempt": 1}
        self.record.append({"type": "finished", **where, "result": brief(result)})
        return candidate

    def crown(self, challenger: Candidate, program: str) -> None:
        """A champion, as the judge makes one; `program` has its overrides written in."""
        sides = {"challenger": asdict(challenger), "champion": asdict(self.history.champion)}
        opened = {"type": "crown_opened", "number": len(self.history.crowns) + 1, **sides}
        rules = {"tier": "screen", "seeds": [7, 8], "alpha": 0.03, "final": False}
        self.record.append({**opened, **rules})
        verdict = {"crowned": True, "difference": -0.1, "p": 0.001, "program": program}
        self.record.append({"type": "crown_closed", "number": opened["number"], **verdict})

    def end(self, reason: str = "budget") -> None:
        self.record.append({"type": "search_ended", "reason": reason})
        self.record.append({"type": "ended", "reason": reason})

    def take_in(self) -> None:
        """What the controller does with waves that were submitted."""
        hands = self.layout, self.record, self.sources, Programs(self.sources)
        asking.take_from_outside(asking.Desk(self.settings, *hands))


def begin(root: Path, planner: str = "external", experiments: int = 40) -> Campaign:
    """A campaign with a baseline of three replicates, whose mean is 2 and deviation 0.01."""
    settings = make_settings(
        name="c",
        dir=str(root),
        planner=Planner(planner),
        search=Search(SPACE, rungs=(1, 2)),
        budget=Spending(experiments=experiments, gpu_hours=1.0),  # results here cost no time
    )
    layout = Layout(root)
    dispatch.settled(layout, ["screen"])
    layout.config.write_text(config.to_yaml(settings))
    replayed = replay(layout.journal)
    record = Record(Journal.open(layout.journal, replayed), History.of(replayed.events))
    sources = Sources.create(layout.sources)
    baseline = sources.add(PROGRAM, "as given\n", when=0.0)
    tiers = {"screen": CELL.to_json()}
    record.append({"type": "started", "name": "c", "baseline": baseline, "tiers": tiers})
    campaign = Campaign(settings, layout, record, sources)
    for seed, score in enumerate((1.99, 2.0, 2.01)):
        campaign.screen(score, seed=seed, purpose=Purpose.baseline)
    return campaign


def say(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    """Run a verb; what it says on stdout and on stderr."""
    capsys.readouterr()
    assert main(words) == code
    said = capsys.readouterr()
    return said.out, said.err


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Json:
    """The answer to a verb with --json: exactly one object."""
    out, _ = say(capsys, *words, "--json", code=code)
    answer: Json = json.loads(out)
    assert answer["schema"] == 1
    return answer
