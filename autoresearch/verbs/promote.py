"""`autoresearch promote`: have a candidate tested against the champion next, whatever its rung."""

import argparse
import json
import secrets
import time
from dataclasses import asdict, replace

from autoresearch.errors import CampaignError
from autoresearch.experiment import Candidate
from autoresearch.history import History
from autoresearch.layout import write_atomically
from autoresearch.lease import is_held
from autoresearch.settings import Settings, Spending
from autoresearch.spending import allowance
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    entry = find.entry(campaign.history, options.experiment)
    candidate = entry.experiment.candidate
    check(campaign.history, candidate)
    layout = campaign.layout
    layout.promotions.mkdir(parents=True, exist_ok=True)
    wish = json.dumps({"experiment": entry.experiment.id})
    write_atomically(layout.promotions / f"{secrets.token_hex(4)}.json", wish)
    next_step = when(campaign)
    if options.json:
        answer({"experiment": entry.experiment.id, "candidate": candidate.key, "next": next_step})
    else:
        print(f"candidate {candidate.key} will be tested against the champion {next_step}")
    return 0


def check(history: History, candidate: Candidate) -> None:
    """Raises CampaignError for a candidate that no test will follow for, or that cannot win one."""
    tests = [t.number for t in history.crowns if t.challenger == candidate]
    tried = [e for e in history.entries.values() if e.experiment.candidate == candidate]
    failures = [e.result.failure for e in tried if e.result and e.result.failure]
    if find.is_champion(history, candidate):
        problem = "is the champion"
    elif candidate == history.baseline:
        problem = "is the baseline"
    elif any(history.crowns[n - 1].champion == history.champion for n in tests):
        problem = f"has met this champion in crown test {tests[-1]}"
    elif failures and len(failures) == len(tried):
        problem = f"has only failed: {failures[-1]}"
    else:
        return
    raise CampaignError(
        f"candidate {candidate.key} should be one that can still win, but {problem}; "
        "promote another"
    )


def when(campaign: find.Campaign) -> str:
    root = campaign.layout.root
    if bounds := exhausted(campaign.history, campaign.settings):
        more = " ".join(f"budget.{name}=MORE" for name in bounds)
        return f"once the budget has room for it: `autoresearch resume {root} {more}`"
    return "next" if is_held(campaign.layout.lease) else f"after `autoresearch resume {root}`"


def exhausted(history: History, settings: Settings) -> list[str]:
    """The bounds of the budget that leave too little for a test and what must follow it."""
    needed = 2 * (settings.judge.crown_seeds + settings.judge.certify_seeds)
    now = history.clock if history.ended else time.time()  # resume starts the clock anew
    alone = {
        name: replace(settings, budget=Spending(**{name: bound}))
        for name, bound in asdict(settings.budget).items()
    }
    return [name for name in alone if allowance(history, alone[name], now) < needed]
