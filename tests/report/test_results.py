"""results.tsv, read back by Python's csv module."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch.report import results
from autoresearch.report.view import View


def parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", strict=True))


def test_the_first_columns_are_the_seeds(view: View) -> None:
    header = results.render(view).splitlines()[0].split("\t")
    assert header[:5] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert len(header) == len(set(header))


def test_every_finished_experiment_has_a_line(view: View) -> None:
    table = parse(results.render(view))
    assert [row["experiment"] for row in table] == [
        row.experiment for row in view.rows if row.is_finished
    ]
    first = table[0]
    assert float(first["val_bpb"]) == pytest.approx(view.rows[0].bpb, abs=1e-6)
    assert (first["memory_gb"], first["train_s"], first["seed"]) == ("3.2", "300.0", "0")
    assert first["ended"] == "2027-01-15T08:00:00+00:00"
    assert {row["protected"] for row in table} == {"unprotected"}


def test_a_crash_has_no_number(view: View) -> None:
    [crash] = [row for row in parse(results.render(view)) if row["status"] == "crash"]
    assert (crash["val_bpb"], crash["test_bpb"]) == ("", "")
    assert crash["failure"] == "out_of_memory"


def test_scores_of_the_test_split_have_their_own_column(view: View) -> None:
    [row] = [row for row in parse(results.render(view)) if row["purpose"] == "certify"]
    assert (row["val_bpb"], row["test_bpb"]) == ("", "0.500000")


def test_hostile_words_stay_in_their_field(view: View) -> None:
    text = results.render(view)
    table = parse(text)
    assert len(table) == len(text.splitlines()) - 1
    assert all(None not in row and None not in row.values() for row in table)
    [row] = [row for row in table if row["candidate"] == "1053000000"]
    assert row["description"] == '[31m=cmd| "calc" [bold red]$x^{ 变 end'
    assert table[-1]["protected"] == "unprotected"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\x1b@"])
def test_a_spreadsheet_finds_no_formula(view: View, start: str) -> None:
    rows = (replace(view.rows[0], description=f"{start}HYPERLINK()"),)
    [row] = parse(results.render(replace(view, rows=rows)))
    assert row["description"][0] == "'"


def test_write_replaces_the_file_whole(view: View, tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    results.write(replace(view, rows=()), path)
    results.write(view, path)
    assert parse(path.read_text()) == parse(results.render(view))
    assert list(tmp_path.iterdir()) == [path]
