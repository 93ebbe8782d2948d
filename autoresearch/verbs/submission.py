"""A wave from outside: checked, then put where the controller takes it in. `wave` and `notebook`.

Submitting is writing one file, named by the time and by what it says. The same words again, about
the same champion, are the same wave: a caller that does not know whether it succeeded may repeat.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoresearch.asking import OUTSIDE, open_asks
from autoresearch.drafts import Bench, read
from autoresearch.errors import CampaignError, ConfigError
from autoresearch.experiment import Json, Wave, digest, plural
from autoresearch.inspection import remarked
from autoresearch.layout import link_once, read_json, write_atomically
from autoresearch.lease import is_held
from autoresearch.programs import Programs
from autoresearch.spending import allowance, reserve
from autoresearch.verbs.answer import SCHEMA
from autoresearch.verbs.find import Campaign

LARGEST = 10_000  # experiments of a wave where no bound of the budget says less


@dataclass(frozen=True)
class Submitted:
    """A wave on its way. `wave` is None if it has been submitted before."""

    name: str
    wave: Wave | None = None

    def to_json(self) -> Json:
        wave = self.wave
        return {
            "wave": self.name,
            "is_new": wave is not None,
            "experiments": len(wave.proposals) if wave else 0,
            "programs": len(wave.versions) if wave else 0,
            "notes": len(wave.notes) if wave else 0,
            "remarks": remarked(wave.versions) if wave else [],
        }

    def text(self) -> str:
        if self.wave is None:
            return f"wave {self.name} has been submitted before: nothing is new"
        parts = [
            (len(self.wave.proposals), "experiment"),
            (len(self.wave.versions), "new program"),
            (len(self.wave.notes), "note"),
        ]
        said = ", ".join(plural(count, noun) for count, noun in parts if count)
        submitted = f"wave {self.name} is submitted: {said or 'the last one'}"
        return "\n".join([submitted, *remarked(self.wave.versions)])


def submit(campaign: Campaign, draft: object) -> Submitted:
    """Raises Unusable with all that is wrong, CampaignError if the campaign takes none."""
    mark, capacity = mark_of(campaign, draft), room(campaign)  # before another takes it up
    names = {path.stem for path in campaign.layout.waves.glob("*.json")} | campaign.history.taken
    if before := [name for name in names if name.endswith(f"-{mark}")]:
        return Submitted(before[0])
    return put(campaign.layout.waves, mark, check(campaign, draft, capacity))


def put(folder: Path, mark: str, wave: Wave) -> Submitted:
    """Write a wave under the one name its mark has: whoever submits it first chooses that, and a
    second one finishes what the first was killed over. The controller takes a name once."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = folder / f".{mark}"
    name = named(time.time(), mark)
    is_first = link_once(chosen, name, os.uname().nodename)
    if not is_first:
        said = chosen.read_text(encoding="utf-8")  # nothing, after a node's death
        is_said = said.endswith(f"-{mark}")
        name = said if is_said else named(chosen.stat().st_mtime, mark)
    path = folder / f"{name}.json"
    if not path.exists():
        write_atomically(path, json.dumps(wave.to_json()))
    return Submitted(name, wave if is_first else None)


def named(when: float, mark: str) -> str:
    """Names sort by time."""
    return f"{datetime.fromtimestamp(when, UTC):%Y%m%dT%H%M%S%f}-{mark}"


def mark_of(campaign: Campaign, draft: object) -> str:
    """The same for the same draft, until another champion reigns or the campaign is resumed."""
    history = campaign.history
    return digest([draft, history.champion.key, history.clock])


def check(campaign: Campaign, draft: object, capacity: int | None = None) -> Wave:
    """The wave of a draft, if there is room for it now. Raises as `submit` does."""
    if isinstance(draft, dict) and "schema" in draft:
        if draft["schema"] != SCHEMA:
            raise ConfigError(
                f"a wave's schema should be {SCHEMA}, but was {draft['schema']!r:.80}"
            )
        draft = {key: value for key, value in draft.items() if key != "schema"}
    check_time(campaign, draft if isinstance(draft, dict) else {})
    programs = Programs(campaign.sources)
    settings, bound = campaign.settings, room(campaign) if capacity is None else capacity
    space, policy = settings.search.space, settings.task.inspection
    wave = read(draft, Bench(campaign.history, programs, space, bound, policy), OUTSIDE)
    if not (wave.proposals or wave.notes or wave.exhausted):
        raise ConfigError("a wave should have experiments, notes or done, but has none of them")
    return wave


def check_time(campaign: Campaign, draft: Json) -> None:
    """Raises CampaignError for what nobody waits for any more. Notes are always welcome."""
    history, root, planner = campaign.history, campaign.layout.root, campaign.settings.planner.kind
    if draft.get("done") and planner != OUTSIDE:
        raise CampaignError(
            f"done ends the search of planner={OUTSIDE}, but this campaign has planner={planner}, "
            f"which goes on by itself; `autoresearch stop {root}` ends it"
        )
    if history.search_ended and (draft.get("experiments") or draft.get("done")):
        over = "ended" if history.ended else "ended its search, and finishes"
        raise CampaignError(
            f"campaign {root} should still be searching, but has {over} "
            f"({history.ended or history.search_ended}); once it has ended, `autoresearch resume "
            f"{root}` goes on, with budget.experiments=MORE if that was spent"
        )


def room(campaign: Campaign) -> int:
    """How many experiments the budget has room for now, beside what is asked for already."""
    history, settings = campaign.history, campaign.settings
    seeds = settings.search.rungs[0]
    left = (allowance(history, settings, time.time()) - reserve(history, settings)) / seeds
    promised = sum(ask.capacity for ask in open_asks(history))
    promised += sum(len(wave.proposals) for wave in waiting(campaign))
    return int(max(0, min(left - promised, LARGEST)))


def waiting(campaign: Campaign) -> list[Wave]:
    """Waves that the controller has not taken in yet."""
    found = []
    for path in sorted(campaign.layout.waves.glob("*.json")):
        if path.stem not in campaign.history.taken:
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # not of our making
                found.append(Wave.from_json(read_json(path) or {}))
    return found


def next_step(campaign: Campaign) -> str:
    """What becomes of a wave that has been submitted."""
    layout, root = campaign.layout, campaign.layout.root
    if campaign.history.ended:
        return f"the campaign has ended: `autoresearch resume {root}` takes it in"
    if layout.stop.exists():
        return f"the campaign is being stopped: `autoresearch resume {root}` takes it in"
    if is_held(layout.lease):
        return f"the controller takes it in at its next turn; see `autoresearch status {root}`"
    verbs = f"`autoresearch step {root}` (a visit) or `autoresearch resume {root}` (to stay)"
    return f"no controller is at work: {verbs} takes it in"
