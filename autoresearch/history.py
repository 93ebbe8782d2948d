"""The state of a campaign: a replay of its journal, and the questions asked of it.

`History.apply` is the only thing that changes it, one event at a time; the events are listed in
docs/formats.md. It answers questions; it decides nothing (that is `judge`) and reads no file.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Self

from autoresearch.entry import Ask, Crown, Entry, Note, PilotRecord, Purpose, from_brief
from autoresearch.errors import RecordError
from autoresearch.experiment import (
    Budget,
    Candidate,
    Cell,
    Experiment,
    Failure,
    Json,
    Split,
    State,
    Version,
    Wave,
)
from autoresearch.journal import collector_paused


class History:
    """What has happened so far."""

    def __init__(self) -> None:
        self.name = ""
        self.baseline = Candidate("")
        self.champion = Candidate("")
        self.tiers: dict[str, Cell] = {}
        self.entries: dict[str, Entry] = {}
        self.waves: list[tuple[Wave, tuple[str, ...]]] = []
        self.versions: dict[str, Version] = {}  # programs that came with waves
        self.notes: list[Note] = []
        self.asks: dict[str, Ask] = {}
        self.taken: set[str] = set()  # asks and files whose wave is recorded
        self.pilots: dict[str, PilotRecord] = {}
        self.crowns: list[Crown] = []
        self.certifications: list[Json] = []
        self.seeds_to_certify: tuple[int, ...] = ()
        self.promoted: list[Candidate] = []  # people asked for these to be tested next
        self.amendments: list[str] = []
        self.started = 0.0
        self.clock = 0.0  # since when the wall clock of the budget runs
        self.search_ended = ""  # why, or "" while the search goes on
        self.ended = ""
        self.controllers = 0
        self.schema = 0  # of the segment whose events come now
        self.latest = 0.0  # when the last event was recorded
        self.absence = 0.0  # seconds without a controller before the present one
        self.retries: Counter[str] = Counter()  # lost attempts by failure
        self.failed_on: defaultdict[str, set[str]] = defaultdict(set)  # by node, what it lost
        self.active: dict[str, Entry] = {}  # every entry that is not finished
        self.born: dict[str, str] = {}  # key of a baked champion -> key of the candidate it was
        self._by_candidate: defaultdict[tuple[str, str, Split], list[Entry]] = defaultdict(list)

    @classmethod
    def of(cls, events: Iterable[Json]) -> Self:
        """Raises RecordError if an event contradicts what came before."""
        history = cls()
        with collector_paused():
            for event in events:
                history.apply(event)
        return history

    def forgive(self) -> None:
        """Hold no pilot's end against those to come: somebody has mended what was wrong."""
        for pilot in self.pilots.values():
            pilot.was_of_use = True

    # ---- events ------------------------------------------------------------------------------

    def apply(self, event: Json) -> None:
        """Take one recorded event in. Raises RecordError if it does not fit."""
        handler = getattr(self, f"_on_{event['type']}", None)
        if handler is None:
            raise RecordError(
                f"journal event {event['n']} should be of a known type, but is "
                f"'{event['type']}'; it was written by a newer version: update autoresearch"
            )
        try:
            handler(event)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise RecordError(f"journal event {event['n']} ({event['type']}): {error!r}") from error
        self.latest = event["t"]

    def _on_segment(self, event: Json) -> None:
        self.controllers += 1
        self.schema = event["schema"]
        self.absence = event["t"] - self.latest if self.latest else 0.0

    def _on_started(self, event: Json) -> None:
        self.name = event["name"]
        self.started = self.clock = event["t"]
        self.baseline = self.champion = Candidate(event["baseline"])
        self.tiers = {tier: Cell.from_json(cell) for tier, cell in event["tiers"].items()}

    def _on_proposed(self, event: Json) -> None:
        if event["wave"] is not None:
            self._take_wave(Wave.from_json(event["wave"]), event)
            self.taken.add(event.get("ask", ""))
        for record in event["experiments"]:
            experiment = Experiment(
                Candidate(record["program"], record["overrides"]),
                record["seed"],
                self._cell(record),
                Split(record["split"]),
            )
            if experiment.id != record["id"]:
                raise RecordError(f"experiment {record['id']} should have id {experiment.id}")
            entry = Entry(
                experiment,
                Purpose(event["purpose"]),
                record["tier"],
                len(self.waves) if event["wave"] is not None else 0,
                record["description"],
                len(self.entries) + 1,
                planner=record.get("planner", ""),
            )
            self.entries[experiment.id] = self.active[experiment.id] = entry
            self._by_candidate[self._place(experiment)].append(entry)

    def _take_wave(self, wave: Wave, event: Json) -> None:
        ids = tuple(record["id"] for record in event["experiments"])
        self.waves.append((wave, ids))
        for version in wave.versions:
            self.versions.setdefault(version.program, version)
        number = len(self.waves)
        self.notes += [Note(number, wave.planner, text, event["t"]) for text in wave.notes]

    def _cell(self, record: Json) -> Cell:
        """Of an experiment as it is written down: its tier's, or one with a budget of its own."""
        cell = self.tiers[record["tier"]]
        budget = record.get("budget")
        return replace(cell, budget=Budget(**budget)) if budget else cell

    def _on_asking(self, event: Json) -> None:
        ask = Ask(event["ask"], event["planner"], event["capacity"], event["usd"], event["t"])
        self.asks[ask.name] = ask

    def _on_asked(self, event: Json) -> None:
        ask = self.asks[event["ask"]]
        ask.ended, ask.spent, ask.requests = event["t"], event["usd"], event["requests"]
        ask.tokens, ask.problem = event["tokens"], event["problem"]

    def _on_queued(self, event: Json) -> None:
        for experiment, number in event["attempts"]:
            entry = self.entries[experiment]
            entry.state, entry.attempt = State.queued, number

    def _on_running(self, event: Json) -> None:
        entry = self._current(event)
        entry.state, entry.pilot, entry.since = State.running, event["pilot"], event["t"]
        self._used(event["pilot"])

    def _on_lost(self, event: Json) -> None:
        entry = self._current(event)
        entry.state = State.proposed  # it waits for its next attempt to be queued
        self.retries[event["failure"]] += 1
        entry.lost[event["failure"]] += 1
        entry.losses.append(f"{event['failure']}: {event['reason']}")
        self._blame(event["failure"], event.get("pilot", ""), event["experiment"])
        self._used(event.get("pilot", ""))

    def _on_finished(self, event: Json) -> None:
        entry = self._current(event)
        entry.result = from_brief(event["experiment"], event["attempt"], event["result"])
        entry.state, entry.pilot = State.finished, entry.result.pilot
        self._used(entry.result.pilot)
        del self.active[event["experiment"]]

    def _on_submitting(self, event: Json) -> None:
        for name in event["pilots"]:
            pilot = PilotRecord(name, event["tier"], event["t"], minutes=event.get("minutes", 0.0))
            self.pilots[name] = pilot

    def _on_submitted(self, event: Json) -> None:
        for name, job in event["jobs"].items():
            self.pilots[name].job = job
            if self.schema == 1:
                self.pilots[name].started = event["t"]

    def _on_pilot_started(self, event: Json) -> None:
        pilot = self.pilots[event["pilot"]]
        pilot.started, pilot.node = event["started"], event["node"]

    def _on_pilot_ended(self, event: Json) -> None:
        pilot = self.pilots[event["pilot"]]
        failure = event.get("failure", Failure.node_failed)
        pilot.ended = event.get("ended", event["t"])
        pilot.failure = None if failure is None else Failure(failure)
        pilot.reason = event.get("reason", "")
        if pilot.is_useless:
            self._blame(Failure.node_failed, pilot.name, pilot.name)

    def _on_crown_opened(self, event: Json) -> None:
        self.crowns.append(
            Crown(
                event["number"],
                Candidate(**event["challenger"]),
                Candidate(**event["champion"]),
                event["tier"],
                tuple(event["seeds"]),
                event["alpha"],
                event["final"],
            )
        )

    def _on_crown_closed(self, event: Json) -> None:
        test = self.crowns[event["number"] - 1]
        verdict = {key: event[key] for key in event if key not in ("n", "t", "type", "number")}
        self.crowns[event["number"] - 1] = closed = Crown(
            **{f: getattr(test, f) for f in Crown.__dataclass_fields__ if f != "verdict"},
            verdict=verdict,
        )
        if closed.crowned:
            self.champion = Candidate(event["program"])
            if self.champion.key != test.challenger.key:  # as it is without overrides
                self.born[self.champion.key] = test.challenger.key

    def _on_promoted(self, event: Json) -> None:
        self.promoted.append(Candidate(**event["candidate"]))

    def _on_certifying(self, event: Json) -> None:
        self.seeds_to_certify = tuple(event["seeds"])

    def _on_certified(self, event: Json) -> None:
        self.certifications.append(event)
        self.seeds_to_certify = ()

    def _on_search_ended(self, event: Json) -> None:
        self.search_ended = event["reason"]

    def _on_amended(self, event: Json) -> None:
        self.amendments += event["overrides"]

    def _on_resumed(self, event: Json) -> None:
        self.search_ended = self.ended = ""
        self.clock = event["t"]

    def _on_ended(self, event: Json) -> None:
        self.ended = event["reason"]

    def _blame(self, failure: str, pilot: str, lost: str) -> None:
        """Hold against a pilot's node what was lost there: once, however often it was tried."""
        node = self.pilots[pilot].node if pilot in self.pilots else ""
        if node and failure == Failure.node_failed:
            self.failed_on[node].add(lost)

    def _used(self, pilot: str) -> None:
        if pilot in self.pilots:
            self.pilots[pilot].was_of_use = True

    def _current(self, event: Json) -> Entry:
        entry = self.entries[event["experiment"]]
        if entry.state is State.finished or entry.attempt != event["attempt"]:
            raise RecordError(
                f"attempt {event['attempt']} of {event['experiment']} should be the current one, "
                f"but the experiment is {entry.state.name} at attempt {entry.attempt}"
            )
        return entry

    @staticmethod
    def _place(experiment: Experiment) -> tuple[str, str, Split]:
        return experiment.candidate.key, experiment.cell.key, experiment.split

    # ---- questions ---------------------------------------------------------------------------

    @property
    def screen(self) -> str:
        """The tier candidates are screened on: the first."""
        return next(iter(self.tiers))

    @property
    def validate(self) -> str:
        """The tier crowns are decided on: the last."""
        return list(self.tiers)[-1]

    @property
    def open_crown(self) -> Crown | None:
        return self.crowns[-1] if self.crowns and self.crowns[-1].verdict is None else None

    def author(self, entry: Entry) -> str:
        """The planner whose idea an experiment was; "" for one of the judge's."""
        return entry.planner or (self.waves[entry.wave - 1][0].planner if entry.wave else "")

    def of_candidate(
        self, candidate: Candidate, tier: str, split: Split = Split.validation
    ) -> Iterator[Entry]:
        """Every experiment of a candidate in a tier's cell, also those from before it was baked."""
        cell = self.tiers[tier].key
        keys = [candidate.key]
        while keys[-1] in self.born:
            keys.append(self.born[keys[-1]])
        for key in keys:
            yield from self._by_candidate.get((key, cell, split), ())

    def scores(
        self, candidate: Candidate, tier: str, split: Split = Split.validation
    ) -> Mapping[int, float]:
        """Bits per byte by seed, of the finished experiments that have a score."""
        return {
            entry.experiment.seed: entry.bpb
            for entry in self.of_candidate(candidate, tier, split)
            if entry.bpb is not None
        }

    def screened(self) -> dict[str, list[Entry]]:
        """The planner's candidates in order of proposal: their experiments on the screen tier."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            if entry.purpose is Purpose.screen:
                candidate = entry.experiment.candidate
                groups[candidate.key] = list(self.of_candidate(candidate, self.screen))
        return groups

    def waiting(self, tier: str) -> int:
        """How many experiments of a tier no pilot has claimed yet."""
        return sum(e.tier == tier and e.state < State.running for e in self.active.values())

    def urgency(self, tier: str) -> int:
        """The priority of the most urgent experiment that waits in a tier: smaller is sooner."""
        waiting = [e for e in self.active.values() if e.tier == tier and e.state < State.running]
        return min((entry.purpose.priority for entry in waiting), default=len(Purpose))

    def running(self, tier: str) -> list[Entry]:
        """The experiments of a tier that a pilot is at work on."""
        return [e for e in self.active.values() if e.tier == tier and e.state is State.running]

    def live_pilots(self, tier: str | None = None) -> list[PilotRecord]:
        """Pilots of a tier, or of all, that have not been seen to be gone."""
        return [p for p in self.pilots.values() if p.tier == (tier or p.tier) and p.ended is None]

    def useless_pilots(self, tier: str) -> list[PilotRecord]:
        """The last pilots of a tier in a row that ended without having claimed anything."""
        mine = [pilot for pilot in reversed(self.pilots.values()) if pilot.tier == tier]
        ended = [pilot for pilot in mine if pilot.ended is not None]
        judged = [p for p in ended if p.is_useless or p.was_of_use]  # who went home says nothing
        return list(takewhile(lambda pilot: pilot.is_useless, judged))

    def bad_nodes(self, failures: int) -> list[str]:
        """The nodes that have lost so many experiments or pilots; none if `failures` is 0."""
        return sorted(n for n, lost in self.failed_on.items() if 0 < failures <= len(lost))

    def seconds_per_experiment(self, tier: str) -> float:
        """Mean device seconds of a finished experiment in a tier; 0 before the first one."""
        spent = [
            entry.result.seconds.occupied
            for entry in self.entries.values()
            if entry.tier == tier and entry.result and entry.result.failure is None
            if entry.purpose is not Purpose.smoke
        ]
        return sum(spent) / len(spent) if spent else 0.0

    def pilot_hours(self, now: float) -> float:
        """Hours that pilots have held their devices, those still running included."""
        return sum(pilot.hours(now) for pilot in self.pilots.values())
