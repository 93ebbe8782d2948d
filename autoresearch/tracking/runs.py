"""Events → W&B runs. The only importer of wandb; offline only.

wandb makes folders and reads the environment as it is imported: `scratch.isolate` comes first.
"""

import signal
from pathlib import Path
from typing import Any

import wandb

from autoresearch.errors import ConfigError, RecordError
from autoresearch.experiment import Json
from autoresearch.settings import Tracker
from autoresearch.tracking.naming import run_name
from autoresearch.tracking.scratch import Scratch

KILLED = 128 + signal.SIGTERM  # the exit code of a run nobody finished
FLUSH_SECONDS = 1.0  # wandb's own 15 s would lose that much of a run that is killed
FINISH_SECONDS = 30.0  # wandb's finish() can wait for days


class Logger:
    """Takes events; at most one run is open."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.run: Any = None

    def take(self, event: Json) -> None:
        """Raises RecordError for an event that does not fit, ConfigError for a tracker that cannot
        be used, OSError if the run cannot be written."""
        try:
            match event["event"]:
                case "start":
                    self.end(KILLED)
                    self.start(event["run"], Path(event["dir"]), Tracker(**event["tracker"]))
                case "log":
                    self.run.log(event["values"], step=event["step"], commit=True)
                case "finish":
                    self.run.summary.update(event["summary"])
                    self.end(event["exit_code"])
                case other:
                    raise RecordError(f"event '{other}' should be start, log or finish")
        except wandb.Error as error:
            raise ConfigError(f"W&B should take the run, but: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"a W&B event should be complete and in order: {error!r}") from error

    def start(self, run: Json, home: Path, tracker: Tracker) -> None:
        check_tracker(tracker)
        name = run_name(run["campaign"], run["experiment"], run["attempt"], run["tier"])
        self.scratch.home = home
        self.run = wandb.init(
            mode="offline",
            dir=self.scratch.path,
            project=tracker.project,
            entity=tracker.entity or None,
            id=name.id,
            name=name.name,
            group=name.group,
            job_type=name.job_type,
            tags=name.tags,
            config=run["config"],
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,  # user, paths and command line are nobody's business
                x_disable_stats=True,
                x_save_requirements=False,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )

    def end(self, exit_code: int) -> None:
        """Close the open run, if any, and bring it home."""
        run, self.run = self.run, None
        if run is not None:
            run.finish(exit_code=exit_code)
            wandb.teardown()  # only then is the end of the run in its file
            self.scratch.bring_home()


def check_tracker(tracker: Tracker) -> None:
    if (tracker.kind, tracker.mode) != ("wandb", "offline"):
        raise ConfigError(
            f"the W&B logger should get tracker kind 'wandb', mode 'offline', but got "
            f"'{tracker.kind}', '{tracker.mode}'; only offline runs are supported"
        )
