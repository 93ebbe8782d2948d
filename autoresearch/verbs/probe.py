"""`autoresearch probe`: write conf/cluster/SITE.yaml from what Slurm says of the site."""

import argparse
import re
import time
from pathlib import Path

from autoresearch.cluster.commands import NoAnswer
from autoresearch.cluster.proposal import Proposal, propose
from autoresearch.cluster.proposal_text import WORDS, render
from autoresearch.cluster.site import Site
from autoresearch.cluster.survey import read_site
from autoresearch.errors import ClusterError, ConfigError
from autoresearch.layout import write_atomically
from autoresearch.verbs.answer import answer

NAME = r"[A-Za-z][A-Za-z0-9_-]*"  # one that Hydra takes for text: cluster=NAME
OURS = {"local", "local_gpu"}  # a site's file of that name would hide ours


def main(options: argparse.Namespace) -> int:
    name = checked(options.name) if options.name else ""
    path = place(name) if name else None
    if path and not options.print:
        check_free(path, options.force)
    site = survey()
    name = name or site_name(site)
    proposal = propose(site)
    text = render(proposal, name, time.strftime("%Y-%m-%d"))
    if not options.print:
        check_free(place(name), options.force)
        place(name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place(name), text)
    if options.json:
        answer({"name": name, "file": "" if options.print else str(place(name)), "text": text})
    else:
        print(text if options.print else f"{summary(proposal, name)}\n", end="")
    return 0


def checked(name: str) -> str:
    if not re.fullmatch(NAME, name) or name.lower() in WORDS:
        raise ConfigError(
            f"NAME should be letters, digits, '_' and '-', a letter first, but was '{name}'; "
            "choose another"
        )
    return name


def place(name: str) -> Path:
    return Path("conf") / "cluster" / f"{name}.yaml"


def check_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ConfigError(f"{path} should not be there yet, but is; give another NAME, or --force")


def survey() -> Site:
    """Raises ClusterError if there is no Slurm here, or none that answers."""
    try:
        return read_site()
    except NoAnswer as error:
        raise ClusterError(f"Slurm should answer, but: {error}; try again later") from error


def site_name(site: Site) -> str:
    """The cluster's own name, as far as it can be one of ours."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", site.name).strip("-_") or "site"
    is_ours = re.fullmatch(NAME, name) and name.lower() not in WORDS | OURS
    return name if is_ours else f"site-{name}"


def summary(proposal: Proposal, name: str) -> str:
    """What was written and what to do next."""
    lines = [f"{place(name)}:"]
    for tier in proposal.tiers:
        queues = ", ".join(place.partition.name for place in tier.places)
        lines.append(f"  {tier.name}: {tier.pilots} x {tier.kind.device} in {queues}")
        if tier.kind.is_gpu and not tier.kind.strength:
            lines.append(
                f"  cluster.tiers.{tier.name}.device is a guess: the file says how to know"
            )
    if proposal.site.silence:
        lines.append(f"  accounts are not known: {proposal.site.silence}")
    lines.append(
        f"Read it, it says what was left out and why; then: autoresearch run cluster={name}"
    )
    return "\n".join(lines)
