"""`autoresearch replay`: one experiment once more, from the record, beside the campaign.

It gets a small campaign directory of its own under replays/, with the campaign's node code and
settings, and one pilot. The journal is not touched, so this is safe while a controller is at work.
"""

import argparse
import math
import os
import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path

from autoresearch import judge
from autoresearch.cluster.interface import Cluster, Phase, Refused
from autoresearch.cluster.table import connect
from autoresearch.collect import read_result
from autoresearch.dispatch import freeze, log_folder, settled
from autoresearch.errors import CampaignError
from autoresearch.experiment import Attempt, Experiment, Json, Result, Split, one_line
from autoresearch.history import History
from autoresearch.journal import now
from autoresearch.layout import Layout, file_hash, read_json
from autoresearch.placement import life
from autoresearch.settings import NodeSettings, Tracker
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    weights: Path | None = None
    if options.score_only:
        experiment, tier, weights = kept(campaign, options.experiment)
    else:
        experiment, tier = chosen(campaign, options.experiment)
    result = again(campaign, experiment, tier, weights)
    compared = compare(experiment, recorded(campaign.history, experiment, tier), result)
    if options.json:
        answer(compared)
    else:
        print(sentence(compared))
    is_other = weights is not None and abs(compared["difference"] or 0) > rounding(campaign)
    if is_other:
        print("the same weights should have the same score, but have another", file=sys.stderr)
    return 0 if result.failure is None and not is_other else 1


def rounding(campaign: find.Campaign) -> float:
    """Bits per byte that two scorings of the same weights may differ by: a token has a byte."""
    return campaign.settings.task.scoring.mean_tolerance / math.log(2)


def chosen(campaign: find.Campaign, name: str) -> tuple[Experiment, str]:
    """The experiment to run. `champion` stands for the champion with the first screening seed."""
    history = campaign.history
    if name != "champion":
        entry = find.entry(history, name)
        return entry.experiment, entry.tier
    if history.champion == history.baseline:
        print("there is no champion yet: this replays the baseline", file=sys.stderr)
    (seed,) = judge.screening_seeds(campaign.settings, 1)
    return Experiment(history.champion, seed, history.tiers[history.screen]), history.screen


def recorded(history: History, experiment: Experiment, tier: str) -> float | None:
    """The score on record. A champion's may be from when it was a challenger, not baked yet."""
    entry = history.entries.get(experiment.id)
    if entry is not None:
        return entry.bpb
    return history.scores(experiment.candidate, tier, experiment.split).get(experiment.seed)


def kept(campaign: find.Campaign, name: str) -> tuple[Experiment, str, Path]:
    """An experiment whose weights were kept, with its tier; `champion`: any that it won by.

    Raises CampaignError if there are none, or others than the referee has kept.
    """
    history, layout = campaign.history, campaign.layout
    if name == "champion":
        splits = [(tier, split) for tier in history.tiers for split in Split]
        entries = [e for at in splits for e in history.of_candidate(history.champion, *at)]
    else:
        entries = [find.entry(history, name)]
    for entry in entries:
        path = layout.checkpoint(entry.current)
        if path.exists():
            check_weights(path, layout.result(entry.current))
            return entry.experiment, entry.tier, path
    path = layout.checkpoint(entries[0].current) if len(entries) == 1 else layout.experiments
    raise CampaignError(
        f"{path} should hold weights of {name}, but there are none; a campaign keeps those "
        "that task.keep_checkpoint names, and replay without --score-only trains them anew"
    )


def check_weights(path: Path, result: Path) -> None:
    """Raises CampaignError unless they are those that the result names."""
    wanted = ((read_json(result) or {}).get("hashes") or {}).get("weights", "none")
    found = file_hash(path)
    if found != wanted:
        raise CampaignError(
            f"{path} should have the SHA-256 of its result.json, {wanted:.12}, but has "
            f"{found:.12}: these are not the weights that were kept"
        )


def again(
    campaign: find.Campaign, experiment: Experiment, tier: str, weights: Path | None
) -> Result:
    """Run it and wait. Raises CampaignError if the pilot ends without a result."""
    if campaign.settings.cluster.results == "wandb":
        raise CampaignError(
            "replay needs result files that can be seen from here, but cluster.results=wandb says "
            "that none can; see the run at W&B"
        )
    layout = Layout(campaign.layout.replays / f"{experiment.id}-{secrets.token_hex(3)}")
    settled(layout, [tier])
    borrow_node(layout, campaign.layout)
    freeze(layout, campaign.sources, experiment)
    if weights:
        layout.weights(experiment.id).symlink_to(weights.resolve())
    attempt = Attempt(experiment.id, 1)
    layout.queue_entry(tier, 0, attempt).touch()
    cluster = connect(layout, campaign.settings.cluster)
    pilot = f"{tier}-replay-0"
    minutes = life(campaign.history, campaign.settings, tier, cluster.longest(tier), now())
    try:
        asked = {"submitted": now(), "started": None}
        jobs = {pilot: asked | cluster.submit(tier, [pilot], minutes).get(pilot, {})}
    except Refused as refusal:
        raise CampaignError(f"the cluster should take a pilot, but says: {refusal}") from refusal
    try:
        ended = wait(layout, cluster, attempt, jobs, campaign.settings.cluster.poll_seconds)
    except KeyboardInterrupt:
        cluster.cancel(jobs)
        raise
    finally:
        layout.drain.touch()
    result = read_result(layout, attempt)
    if result is None:
        where = log_folder(layout, pilot)
        raise CampaignError(f"the pilot should have left a result, but {ended}; see {where}")
    return result


def borrow_node(layout: Layout, of: Layout) -> None:
    """The campaign's own node code, but no W&B: there a replay would pass for the original."""
    code = of.node / "autoresearch"
    layout.node.mkdir()
    (layout.node / code.name).symlink_to(os.path.relpath(code, layout.node))
    settings = NodeSettings.read(of.node_settings)
    alone = replace(settings, tracker=Tracker(), results="files", keep_checkpoint="none")
    alone.write(layout.node_settings, of.node_settings)


def wait(
    layout: Layout, cluster: Cluster, attempt: Attempt, jobs: dict[str, Json], poll_seconds: float
) -> str:
    """Until there is a result, or the pilot is gone; how it ended then."""
    while not layout.result(attempt).exists():
        for seen in cluster.look(jobs).values():
            if seen.phase is Phase.gone:
                time.sleep(cluster.lag)
                return seen.reason or "ended"
        time.sleep(poll_seconds)
    return ""


def compare(experiment: Experiment, recorded: float | None, result: Result) -> Json:
    difference = result.bpb - recorded if result.bpb is not None and recorded is not None else None
    return {
        "experiment": experiment.id,
        "recorded": recorded,
        "again": result.bpb,
        "difference": difference,
        "failure": result.failure,
        "reason": result.reason,
    }


def sentence(compared: Json) -> str:
    if compared["failure"]:
        return (
            f"{compared['experiment']}: {compared['failure']}: {one_line(compared['reason'], 500)}"
        )
    if compared["difference"] is None:
        return f"{compared['experiment']}: {compared['again']:.6f} bits per byte, without a record"
    same = "identical" if compared["difference"] == 0 else f"{compared['difference']:+.6f}"
    return (
        f"{compared['experiment']}: recorded {compared['recorded']:.6f}, "
        f"again {compared['again']:.6f} bits per byte ({same})"
    )
