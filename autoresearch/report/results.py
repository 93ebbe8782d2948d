"""results.tsv: every finished experiment, a line each.

The first five columns are those of karpathy/autoresearch. There a crash is written as 0.000000;
here a number that does not exist is empty.
"""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

from autoresearch.experiment import one_line
from autoresearch.layout import write_atomically
from autoresearch.report.view import Row, View

COLUMNS = (
    *("commit", "val_bpb", "memory_gb", "status", "description"),
    *("experiment", "candidate", "wave", "purpose", "tier", "cell", "seed"),
    *("test_bpb", "failure", "reason", "overrides"),
    *("queue_s", "setup_s", "train_s", "score_s", "ended", "protected"),
)


def write(view: View, path: Path) -> None:
    """Raises OSError if the file cannot be written; then the old one is still whole."""
    write_atomically(path, render(view))


def render(view: View) -> str:
    """Tab-separated, quoted as Python's csv and pandas expect; one header line."""
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(fields(row) for row in view.rows if row.is_finished)
    return out.getvalue()


def fields(row: Row) -> tuple[str, ...]:
    """One row, in the order of COLUMNS."""
    is_test = row.split == "test"  # another text: a number of its own, never in val_bpb's column
    return (
        row.commit,
        "" if is_test else number(row.bpb, 6),
        number(row.memory_gb, 1),
        row.status,
        cell(row.description),
        *(row.experiment, row.candidate, str(row.wave), row.purpose),
        *(cell(row.tier), row.cell, str(row.seed)),
        number(row.bpb, 6) if is_test else "",
        row.failure or "",
        cell(row.reason),
        json.dumps(dict(row.overrides), sort_keys=True),
        *(number(s, 1) for s in times(row)),
        datetime.fromtimestamp(row.ended, UTC).isoformat(timespec="seconds") if row.ended else "",
        "yes" if row.protected else "unprotected",
    )


def times(row: Row) -> tuple[float, float, float, float]:
    return row.seconds.queue, row.seconds.setup, row.seconds.train, row.seconds.score


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def cell(text: str) -> str:
    """Untrusted text on one line; a spreadsheet must not take it for a formula."""
    line = one_line(text, 500)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
