"""`autoresearch prepare`: run the task's own prepare.py with the settings of `data`."""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from autoresearch import config, opening
from autoresearch.errors import DataError


def main(options: argparse.Namespace) -> int:
    settings = config.compose(options.overrides)
    task = settings.task
    script = Path(task.dir) / "prepare.py"
    if not script.exists():
        raise DataError(f"{script} should make this task's data, but does not exist")
    force = ["--force"] if options.force else []
    command = [sys.executable, str(script), "--settings", json.dumps(asdict(task.data)), *force]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        opening.check_data(settings)
    return code
