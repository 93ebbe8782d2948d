"""Write a campaign's report to report/ and show it in the terminal."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from autoresearch.errors import CampaignError
from autoresearch.layout import Layout
from autoresearch.report import results, table
from autoresearch.report.view import View

FILES = ("results.tsv", "progress.png")


def publish(view: View, console: Console | None = None) -> None:
    """Raises CampaignError if report/ cannot be written; then it is shown all the same."""
    console = console or table.Display()
    table.show(view, console)
    folder = Layout(Path(view.directory)).report
    try:
        folder.mkdir(exist_ok=True)
        results.write(view, folder / FILES[0])
    except OSError as error:
        raise CampaignError(f"{folder} should be writable, but: {error.strerror}") from error
    draw(view.directory)
    console.print(f"{folder}/{', '.join(FILES)}", style="dim", soft_wrap=True, markup=False)


def draw(directory: str) -> None:
    """The chart, by a process of its own: matplotlib is large, and a controller should be small."""
    command = [sys.executable, "-P", "-m", "autoresearch.report.chart", directory]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CampaignError(f"the chart should have been drawn, but: {done.stderr.strip()[-300:]}")
