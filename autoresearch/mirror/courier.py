"""W&B's own tool as a child process: it sends .wandb files and leaves a mark beside each.

It exits with 0 whatever happened, and marks files that the server did not take: what has arrived
only the server can say.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from autoresearch.node import kernel

COMMAND = (sys.executable, "-P", "-m", "wandb", "beta", "sync", "--no-skip-online")
NICENESS = 10
MARK = ".synced"  # behind the name of a file it is done with
PRINTED = "printed.txt"
KEPT = ("WANDB_API_KEY", "WANDB_HTTP_PROXY", "WANDB_HTTPS_PROXY")  # of the user's environment

# Of wandb's own process: it would try for a week, and hold up all that is asked later.
PATIENCE = {
    "WANDB_X_GRAPHQL_RETRY_MAX": "3",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MIN_SECONDS": "1",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS": "30",
    "WANDB_X_GRAPHQL_TIMEOUT_SECONDS": "20",
    "WANDB_X_FILE_STREAM_RETRY_MAX": "5",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "1",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "30",
    "WANDB_X_FILE_STREAM_TIMEOUT_SECONDS": "30",
}


class Courier:
    """Sends every file of a folder; if `is_live`, waits for the end of each that has none yet."""

    def __init__(self, folder: Path, url: str, workers: int, *, is_live: bool) -> None:
        """To be called by the main thread. Raises OSError."""
        self.folder = folder
        own = folder / "own"
        # Without this folder it leaves its log with the user's temporary files.
        (own / "wandb").mkdir(parents=True)
        options = ("-n", str(workers), *(("--live",) if is_live else ()))
        self.printed = own / PRINTED
        with self.printed.open("wb") as output:
            self.process = kernel.launch(
                (*COMMAND, *options, str(folder)),
                environment(url, own),
                signal.SIGKILL,
                nice=NICENESS,
                cwd=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def done(self) -> int:
        """How many files it is done with, well or not."""
        return sum(name.endswith(MARK) for name in os.listdir(self.folder))

    def has(self, path: Path) -> bool:
        """Whether it says that it is done with a file of this name."""
        return (self.folder / f"{path.name}{MARK}").exists()

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        """Now. What the server has of a run that was on its way, it keeps."""
        if not self.is_over:
            for pid in [*kernel.tree(self.process.pid), self.process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def complaint(self) -> str:
        """The last of what went wrong in its own words, without advice; "" if nothing did."""
        text = self.printed.read_text(encoding="utf-8", errors="replace")
        errors = re.findall(r"ERROR (?:\[[^]]*\] )?(.*?)(?:\. .*)?$", text, re.MULTILINE)
        return errors[-1] if errors else ""


def environment(url: str, folder: Path) -> Mapping[str, str]:
    """The user's, without their settings and caches of wandb; it finds the key as they would."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_") or k in KEPT}
    folders = {f"WANDB_{name}_DIR": str(folder) for name in ("CONFIG", "CACHE", "DATA")}
    return {**kept, **folders, **PATIENCE, "WANDB_BASE_URL": url, "WANDB_ERROR_REPORTING": "false"}
