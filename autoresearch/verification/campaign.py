"""All checks of one campaign, in the order in which a reader believes them."""

from collections.abc import Iterator
from pathlib import Path

from autoresearch.errors import CampaignError, DataError
from autoresearch.experiment import plural
from autoresearch.layout import Layout
from autoresearch.node.data import manifest_id
from autoresearch.verification.chain import journal
from autoresearch.verification.decisions import decisions
from autoresearch.verification.evidence import Evidence, gather
from autoresearch.verification.findings import Report
from autoresearch.verification.frozen import frozen
from autoresearch.verification.results import Reading, results
from autoresearch.verification.signatures import signatures


def verify(layout: Layout) -> Report:
    """Raises UserError for a directory whose settings cannot be read, or that has not begun."""
    evidence = gather(layout)
    if evidence.history and not evidence.history.started:
        raise CampaignError(f"{layout.root} should have begun, but was interrupted before")
    chain, notes = journal(evidence)
    reading = results(evidence)
    checks = [chain, *frozen(evidence), *reading.checks]
    if evidence.history:
        checks += signatures(evidence, evidence.history)
        checks += decisions(evidence, evidence.history, reading.briefs)
    return Report(tuple(checks), (*notes, *said(evidence, reading)))


def said(evidence: Evidence, reading: Reading) -> Iterator[str]:
    """What is no complaint, but should be known."""
    if reading.unprotected:
        how = "unprotected: no wall held the program"
        yield f"{reading.unprotected} of {plural(reading.scored, 'score')} {how}"
    gone = sum(not evidence.layout.program(id).exists() for id in evidence.folders)
    if gone:
        yield f"train.py is gone from {plural(gone, 'folder')}: sources.git has what was run"
    if not any(check.count for check in reading.checks if check.name == "peak"):
        yield "no device here has a peak that is known: how fast results may be was not checked"
    yield from about_data(evidence)
    if evidence.code is None:
        yield "node/ is gone: the code behind the results is known by its hash alone"
    if evidence.history is None:
        yield "without a journal that can be read, no decision could be checked"
    elif not evidence.history.ended:
        left = plural(len(evidence.history.active), "experiment")
        yield f"the campaign has not ended: {left} to finish, which is no complaint"


def about_data(evidence: Evidence) -> Iterator[str]:
    """The data lies outside of the campaign, and may be changed or gone: results name it."""
    directory = Path(evidence.start.task.data.directory)
    cells = evidence.history.tiers.values() if evidence.history else ()
    try:
        found = manifest_id(directory)
    except DataError:
        yield f"the data is not in {directory}: results name it by the hash of its manifest"
        return
    if {cell.data for cell in cells} - {found}:
        yield f"the data in {directory} is another now: results name it by the hash of its manifest"
