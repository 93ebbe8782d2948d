"""A campaign's rules played through without machines: results are drawn, not trained.

`World` keeps a History and answers every request of the judge at once with a score (or a failure)
drawn by a function of candidate and seed. It replaces nodes only; history and judge are the real
ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch import judge
from autoresearch.dispatch import line
from autoresearch.entry import Purpose, brief
from autoresearch.experiment import (
    Budget,
    Candidate,
    Cell,
    Experiment,
    Failure,
    Json,
    Proposal,
    Result,
    Scalar,
    Seconds,
    Wave,
)
from autoresearch.history import History
from autoresearch.programs import Programs
from autoresearch.settings import Cluster, Data, Judge, Search, Settings, Task, Tier
from autoresearch.sources import Sources

Outcome = float | Failure
Draw = Callable[[Candidate, int], Outcome]

BASELINE = "b" * 64
CELL = Cell("cpu-1", Budget(tokens=1000), "data", "software", "ruler")


class Known(Programs):
    """Programs without texts: one family, with these defaults."""

    def __init__(self, **defaults: Scalar) -> None:
        super().__init__(Sources(Path("/nowhere")))
        self.defaults = defaults

    def parameters(self, program: str) -> Mapping[str, Scalar]:
        return self.defaults

    def family(self, program: str) -> str:
        return "one"


def make_settings(**changes: object) -> Settings:
    """Small settings of a campaign with one tier; `changes` replace whole groups."""
    base = Settings(
        name="test",
        dir="/nowhere",
        task=Task("tiny", "train", Data("/nowhere/data"), Budget(tokens=1000)),
        search=Search(rungs=(1, 2), eta=3),
        cluster=Cluster("local", {"screen": Tier("cpu-1", pilots=2)}),
        judge=Judge(alpha=0.05, baseline_seeds=3, crown_seeds=4, certify_seeds=4),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """One campaign under test."""

    draw: Draw
    settings: Settings = field(default_factory=make_settings)
    cells: Mapping[str, Cell] = field(default_factory=lambda: {"screen": CELL})
    history: History = field(default_factory=History)
    events: list[Json] = field(default_factory=list)
    time: float = 1000.0

    def __post_init__(self) -> None:
        tiers = {tier: cell.to_json() for tier, cell in self.cells.items()}
        self.record({"type": "started", "name": "test", "baseline": BASELINE, "tiers": tiers})

    def record(self, event: Json) -> None:
        self.time += 1
        self.events.append({"n": len(self.events) + 1, "t": self.time, **event})
        self.history.apply(self.events[-1])

    def ask(self, requests: Sequence[judge.Request], wave: Wave | None = None) -> None:
        """Propose, queue, run and finish these experiments."""
        for request in requests:
            experiment = Experiment(
                request.candidate, request.seed, self.cells[request.tier], request.split
            )
            if experiment.id not in self.history.entries:
                self._propose(experiment, request, wave)
                wave = None
                self._finish(experiment)

    def _propose(self, experiment: Experiment, request: judge.Request, wave: Wave | None) -> None:
        self.record(
            {
                "type": "proposed",
                "purpose": request.purpose,
                "wave": wave.to_json() if wave else None,
                "experiments": [line(experiment, request)],
            }
        )
        self.record({"type": "queued", "attempts": [[experiment.id, 1]]})

    def _finish(self, experiment: Experiment) -> None:
        outcome = self.draw(experiment.candidate, experiment.seed)
        seconds = Seconds(train=10.0)
        if isinstance(outcome, Failure):
            result = Result(experiment.id, 1, "pilot", failure=outcome, seconds=seconds)
        else:
            result = Result(experiment.id, 1, "pilot", outcome, seconds=seconds)
        where = {"experiment": experiment.id, "attempt": 1}
        self.record({"type": "finished", **where, "result": brief(result)})

    def propose(self, *overrides: Mapping[str, Scalar]) -> None:
        """A planner's wave, screened with the first seeds."""
        seeds = judge.screening_seeds(self.settings, self.settings.search.rungs[0])
        wave = Wave("test", "why not", tuple(Proposal(o) for o in overrides))
        champion = self.history.champion.program
        self.ask(
            [
                judge.Request(Candidate(champion, o), seed, self.history.screen, Purpose.screen)
                for o in overrides
                for seed in seeds
            ],
            wave,
        )

    def settle(self) -> None:
        """Let the judge ask and decide until it wants nothing more."""
        while True:
            wanted = judge.requests(self.history, self.settings)
            self.ask(wanted)
            event = judge.decision(self.history, self.settings)
            if event is not None:
                if event["type"] == "crown_closed" and event["crowned"]:
                    event["program"] = f"{event['number']:064d}"
                self.record(event)
            elif not wanted:
                return

    def finish(self) -> None:
        """End the search and let the judge conclude."""
        self.settle()
        self.record({"type": "search_ended", "reason": "budget"})
        self.settle()
