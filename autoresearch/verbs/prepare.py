"""`autoresearch prepare`: run the task's own prepare.py with the settings of `data`.

With --slurm, here it only downloads: the node that does the rest needs no internet and no token.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autoresearch import config, opening
from autoresearch.cluster import errand
from autoresearch.cluster.environment import scrubbed
from autoresearch.cluster.errand import Errand
from autoresearch.errors import ClusterError, ConfigError, DataError
from autoresearch.experiment import digest
from autoresearch.layout import Layout, read_json
from autoresearch.settings import Settings
from autoresearch.verbs.answer import answer

LAG_SECONDS = 5.0  # for a file to be seen here, besides cluster.file_seconds


def main(options: argparse.Namespace) -> int:
    settings = config.compose(config.in_full(options.overrides))
    code = prepare(options, settings)
    if options.json and code == 0:
        directory, made = settings.task.data.directory, read_json(manifest(settings))
        answer({"directory": directory, "manifest": made})
    return code


def prepare(options: argparse.Namespace, settings: Settings) -> int:
    """Here or as a job; the exit code."""
    script = Path(settings.task.dir) / "prepare.py"
    if not script.exists():
        raise DataError(f"{script} should make this task's data, but does not exist")
    words = [str(script), "--settings", json.dumps(asdict(settings.task.data))]
    words += ["--force"] if options.force else []
    if options.download:
        return run([*words, "--download"], options)
    is_for_slurm = options.slurm or options.partition
    if is_for_slurm and (options.force or not manifest(settings).exists()):
        return as_job(settings, words, options)
    code = run(words, options)
    if code == 0:
        opening.check_data(settings)
    return code


def manifest(settings: Settings) -> Path:
    return Path(settings.task.data.directory) / "manifest.json"


def run(words: Sequence[str], options: argparse.Namespace) -> int:
    """The exit code of prepare.py. Ctrl-C reaches it too, and it says what it leaves behind."""
    output = sys.stderr if options.json else None
    with subprocess.Popen([sys.executable, *words], stdout=output) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    return code if code >= 0 else 128 - code


# ---- as a job --------------------------------------------------------------------------------


def as_job(settings: Settings, words: Sequence[str], options: argparse.Namespace) -> int:
    if settings.cluster.kind != "slurm":
        raise ConfigError(
            f"--slurm should come with a Slurm cluster, but cluster.kind is "
            f"{settings.cluster.kind}; say cluster=NAME (`autoresearch probe` writes one)"
        )
    if settings.task.data.is_on_hub and (code := run([*words, "--download"], options)):
        return code
    ours = errand_of(settings, words)
    job = errand.start(settings.cluster, ours, options.partition, tell)
    log = ours.log_of(job)
    try:
        wrong = errand.follow(job, log, tell, settings.cluster.file_seconds)
    except KeyboardInterrupt:
        tell(
            f"job {job} goes on: `squeue -j {job}` and `tail -f {log}` show it, the same command "
            f"waits for it again, `scancel {job}` ends it"
        )
        raise
    if wrong:
        raise ClusterError(
            f"job {job} should have prepared {settings.task.data.directory}, but {wrong}; see "
            f"{log}, mend it and run this again: what is done is kept"
        )
    until = time.monotonic() + LAG_SECONDS + settings.cluster.file_seconds
    while not manifest(settings).exists() and time.monotonic() < until:
        time.sleep(0.2)
    opening.check_data(settings)
    return 0


def errand_of(settings: Settings, words: Sequence[str]) -> Errand:
    """prepare.py as a job, with what a pilot would be started with."""
    data = settings.task.data
    python = settings.cluster.python or shlex.quote(sys.executable)
    env = scrubbed(Layout(Path(settings.dir))) | {"HF_HUB_OFFLINE": "1"}
    return Errand(
        name=f"autoresearch-prepare-{digest(list(words), 8)}",
        command=f"{python} {shlex.join(words)}",
        log=Path(f"{data.directory}-prepare"),
        env={name: value for name, value in env.items() if name not in ("TMPDIR", "PYTHONPATH")},
        threads=data.workers,
    )


def tell(line: str) -> None:
    """Progress, beside what prepare.py prints."""
    print(f"autoresearch: {line}", file=sys.stderr)
