"""Results that W&B carried: the referee's signature, where the run's file is still here.

What came straight from W&B's server was checked when it came; here its file is compared again with
what was signed, if the node has left that in wandb/.
"""

from collections.abc import Iterator
from pathlib import Path

from autoresearch.history import History
from autoresearch.mirror.receipt import Receipts
from autoresearch.mirror.records import read
from autoresearch.mirror.seen import Seen
from autoresearch.mirror.sync import id_of
from autoresearch.tracking.scratch import OFFLINE
from autoresearch.verification.evidence import Evidence
from autoresearch.verification.findings import Check, check


def signatures(evidence: Evidence, history: History) -> Iterator[Check]:
    """Nothing where results were written to files, and nobody had to sign them."""
    if evidence.start.cluster.results != "wandb":
        return
    claim = "at hand whose result is signed by the referee, and the one in experiments/"
    try:
        receipts = Receipts(evidence.layout, history.name)
    except OSError as error:
        why = f"control/key: should be the key that results are signed with, but: {error.strerror}"
        yield Check("signatures", "run", claim, 0, (why,))
        return
    runs = sorted(evidence.layout.wandb.glob(f"{OFFLINE}run-*/run-*.wandb"))

    def faults(path: Path) -> Iterator[str]:
        seen = Seen(id_of(path), summary=read(path).summary)
        attempt = receipts.attempt(seen)
        if attempt is None or "result" not in seen.summary:
            return  # it was cut off, or its claim is gone
        where = evidence.layout.result(attempt)
        text = receipts.proven(seen, attempt)
        if not text:
            yield f"{evidence.name(path)}: should carry the referee's signature, but does not"
        elif where.exists() and where.read_text(encoding="utf-8") != text:
            yield f"{evidence.name(where)}: should be what the referee signed, but differs"

    yield check("signatures", "run", claim, runs, faults)
