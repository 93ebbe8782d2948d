"""`autoresearch report`: write report/ and show the result; --wandb: a report at W&B as well."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoresearch.errors import CampaignError, UserError
from autoresearch.experiment import Json
from autoresearch.report.publish import FILES, publish
from autoresearch.report.summary import summarize
from autoresearch.report.table import Display
from autoresearch.tracking import server
from autoresearch.verbs import find
from autoresearch.verbs.answer import answer, status_json, unsent

COMMAND = (sys.executable, "-P", "-m", "autoresearch.report.workspace")
PATIENCE = 300.0  # seconds for all that W&B is asked


def main(options: argparse.Namespace) -> int:
    campaign = find.read(options.directory)
    if options.wandb:
        check(campaign)
    console = Display(stderr=options.json)
    publish(summarize(campaign.history, campaign.settings, campaign.sources), console)
    sys.stdout.flush()  # before what stderr has to say
    url = at_wandb(campaign) if options.wandb else ""
    for line in unsent(campaign) if options.wandb else ():
        print(line, file=sys.stderr)
    if options.json:
        files = [str(campaign.layout.report / name) for name in FILES]
        answer({"files": files, "url": url, "view": status_json(campaign)})
    elif url:
        print(f"W&B report: {url}")
    return 0


def at_wandb(campaign: find.Campaign) -> str:
    """Save the report at W&B and say if it had to be a new one; its URL."""
    saved = post(campaign)
    if saved["gone"]:
        print(f"{saved['gone']} is no longer there: made a new report", file=sys.stderr)
    url: str = saved["url"]
    return url


def check(campaign: find.Campaign) -> None:
    """Raises CampaignError, UserError if there can be no report at W&B."""
    kind = campaign.settings.tracker.kind
    if kind != "wandb":
        raise CampaignError(
            "report --wandb needs tracker=wandb, whose runs it shows, but this campaign has "
            f"tracker={kind}; `autoresearch report {campaign.layout.root}` needs none"
        )
    try:
        version("wandb-workspaces")
    except PackageNotFoundError:
        raise UserError(
            "report --wandb needs the package wandb-workspaces, but it is not installed; "
            "`pip install wandb-workspaces`, or ./scripts/setup"
        ) from None


def post(campaign: find.Campaign) -> Json:
    """Save the report at W&B; its `url`. Raises UserError if W&B does not take it."""
    tracker = campaign.settings.tracker
    url = server.address(tracker)
    account = server.ask(url)
    if account.problem:
        raise UserError(f"W&B should take the report, but {account.problem}")
    entity = tracker.entity or account.entity
    if not entity:
        raise UserError(
            "tracker.entity should name a user or team of W&B: the key has none of its own"
        )
    answer = run(url, str(campaign.layout.root), entity, tracker.project)
    if "problem" in answer:
        raise UserError(answer["problem"])
    return answer


def run(url: str, *words: str) -> Json:
    """The answer of the process that W&B's client is left to, in a folder that goes with it.

    Through files: the client's helper holds on to pipes a little longer.
    """
    with tempfile.TemporaryDirectory(prefix="autoresearch-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "answer").open("w+b") as answer, (folder / "errors").open("w+b") as errors:
            try:
                done = subprocess.run(
                    [*COMMAND, *words],
                    check=False,
                    cwd=folder,
                    env=environment(url, name),
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=errors,
                    timeout=PATIENCE,
                )
            except subprocess.TimeoutExpired:
                raise UserError(
                    f"W&B should take the report within {PATIENCE:.0f} s, but {url} is too slow; "
                    "try again later"
                ) from None
        if done.returncode:
            raise RuntimeError((folder / "errors").read_text(encoding="utf-8", errors="replace"))
        last: Json = json.loads((folder / "answer").read_bytes().splitlines()[-1])
        return last


def environment(url: str, folder: str) -> dict[str, str]:
    """The user's, with W&B's client kept silent and from writing anywhere but into a folder."""
    folders = {f"WANDB_{name}": folder for name in ("DIR", "CACHE_DIR", "DATA_DIR")}
    ours = {"MODE": "online", "SILENT": "true", "ERROR_REPORTING": "false", "BASE_URL": url}
    return {**os.environ, **folders, **{f"WANDB_{name}": value for name, value in ours.items()}}
