"""What tests of the researcher read and write: a campaign's library, a long history, a node.

The campaign is the one of `outside`, with a rule book beside it. The Node plays controller and
pilot for smoke experiments: it takes wishes in as the real controller does, and writes results as
a referee would.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from outside import Campaign, begin

from autoresearch import asking, dispatch
from autoresearch.claude.library import Library
from autoresearch.claude.writing import Work
from autoresearch.entry import Purpose, brief
from autoresearch.experiment import (
    Attempt,
    Candidate,
    Failure,
    Proposal,
    Result,
    Seconds,
    Wave,
)
from autoresearch.judge import Request
from autoresearch.layout import write_atomically
from autoresearch.planning import Planning
from autoresearch.programs import Programs
from autoresearch.settings import Claude
from autoresearch.smoke import Wish

RULE_BOOK = "Improve train.py. Keep it causal."


def study(root: Path) -> Campaign:
    """A campaign with a baseline, and program.md in its task's folder."""
    task = root / "task"
    task.mkdir(parents=True)
    (task / "program.md").write_text(RULE_BOOK, encoding="utf-8")
    return begin(root / "c")


def library(campaign: Campaign) -> Library:
    """As it is now."""
    return Library.open(campaign.layout.root)


def work(campaign: Campaign, capacity: int = 4, **settings: float) -> Work:
    """Claude's place in a question's folder."""
    folder = campaign.layout.ask("0001")
    folder.mkdir(parents=True, exist_ok=True)
    known = {"smoke_seconds": 5.0, "smokes": 3, **settings}
    return Work(library(campaign), folder, capacity, replace(Claude(), **known))  # type: ignore[arg-type]


def finish(campaign: Campaign, attempt: Attempt, result: Result, log: str = "") -> None:
    """What a referee leaves behind."""
    folder = campaign.layout.attempt(attempt)
    folder.mkdir(parents=True, exist_ok=True)
    campaign.layout.log(attempt).write_text(log, encoding="utf-8")
    write_atomically(campaign.layout.result(attempt), json.dumps(result.to_json()))


def ran(wish: Wish, attempt: Attempt) -> Result:
    """A program that works."""
    seconds = Seconds(setup=2.0, train=0.5)
    return Result(
        attempt.experiment, 1, "p", 5.0, seconds=seconds, tokens=wish.tokens, peak_memory=1 << 29
    )


@dataclass
class Node:
    """Runs wishes while its context is open."""

    campaign: Campaign
    folder: Path
    outcome: Callable[[Wish, Attempt], Result] = ran
    log: str = ""
    seen: list[str] = field(default_factory=list)  # the programs that it ran
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def work(self) -> None:
        while not self.stop.wait(0.01):
            for wish in Wish.found(self.folder):
                if wish.candidate.key not in self.seen:
                    self.seen.append(wish.candidate.key)
                    self.run(wish)

    def run(self, wish: Wish) -> None:
        campaign = self.campaign
        hands = campaign.layout, campaign.record, campaign.sources, Programs(campaign.sources)
        asking.queue_wishes(asking.Desk(campaign.settings, *hands), Planning(self.folder, 1, 0))
        dispatch.enqueue(campaign.record, campaign.layout, campaign.sources)
        id = smoke_id(campaign, wish)
        finish(campaign, Attempt(id, 1), self.outcome(wish, Attempt(id, 1)), self.log)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.work)
        self.thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop.set()
        if self.thread:
            self.thread.join()


def smoke_id(campaign: Campaign, wish: Wish) -> str:
    wanted = Request(wish.candidate, 0, "screen", Purpose.smoke, budget=wish.budget)
    return dispatch.experiment_of(campaign.history, wanted).id


def broken(reason: str) -> Callable[[Wish, Attempt], Result]:
    """A program that crashes, with this reason."""
    return lambda wish, attempt: Result(
        attempt.experiment, 1, "p", failure=Failure.crashed, reason=reason
    )


def crowd(campaign: Campaign, count: int, words: str = "something else", note: str = "") -> None:
    """So many more screened candidates, ten to a wave; some fail, the last ones wait, and every
    fiftieth wave's best was tested."""
    program = campaign.history.baseline.program
    for wave in range(count // 10):
        points = [round(0.1 + 0.8 * (10 * wave + k + 1) / (count + 1), 6) for k in range(10)]
        proposals = tuple(Proposal({"rate": p}, words, program, expected=-0.01) for p in points)
        notes = (f"{wave}: {note}",) if note else ()
        requests = [
            Request(Candidate(program, {"rate": p}), 1, "screen", Purpose.screen, description=words)
            for p in points
        ]
        said = Wave("claude", f"{wave}: {words}", proposals, notes=notes)
        dispatch.propose(campaign.record, requests, said)
        if wave < count // 10 - 1:
            settle(campaign, requests)
        if wave % 50 == 49:
            test(campaign, requests[0].candidate)


def settle(campaign: Campaign, requests: list[Request]) -> None:
    """Results of a wave, worse and worse; the last candidate diverges."""
    ids = [dispatch.experiment_of(campaign.history, request).id for request in requests]
    campaign.record.append({"type": "queued", "attempts": [[id, 1] for id in ids]})
    events = []
    for place, id in enumerate(ids):
        failure = Failure.diverged if place == len(ids) - 1 else None
        score = None if failure else 2.0 + place / 100
        result = Result(id, 1, "p", score, failure, "not finite" * bool(failure))
        where = {"experiment": id, "attempt": 1}
        events.append({"type": "finished", **where, "result": brief(result)})
    campaign.record.append(*events)


def test(campaign: Campaign, candidate: Candidate) -> None:
    """A crown test that is won; the program stays the same but for a remark."""
    text = f"{campaign.sources.read(candidate.program)}# {candidate.key}\n"
    campaign.crown(candidate, campaign.sources.add(text, "crowned", when=0.0))
