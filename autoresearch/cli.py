"""The command line: which verbs there are, and the one boundary where errors become exit codes.

Exit codes: 0 done, 1 something the user can mend (one line on stderr), 3 our own mistake (a
traceback in a file), 130 interrupted. A verb's module is imported only when it is called, so that
`--help` costs nothing.
"""

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from autoresearch import __version__
from autoresearch.errors import AutoresearchError

DESCRIPTION = "Search over train.py on a cluster: hypotheses in waves, results that can be trusted."

RUN_HELP = """\
Start a campaign. Settings come from conf/ and from Hydra overrides:

  autoresearch run                                     the default task and planner
  autoresearch run planner=greedy budget.experiments=40
  autoresearch run task.params.depth=4                 fixed for every candidate
  autoresearch run task.params.matrix_lr='tag(log, interval(0.01, 0.1))'
  autoresearch run '~search.space.weight_decay'        not searched
  autoresearch run --cfg job                           print the settings and stop

Ctrl-C once: finish what runs and start nothing. Twice: end at once; nothing is lost either way.
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="autoresearch", description=DESCRIPTION)
    root.add_argument("--version", action="version", version=f"autoresearch {__version__}")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    add_campaign_verbs(verbs)
    add_reading_verbs(verbs)
    add_completion_verbs(verbs)
    return root


Verbs = argparse._SubParsersAction


def add_campaign_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs that change something."""
    prepare = verbs.add_parser("prepare", help="make token files of text, once per task")
    prepare.add_argument("--force", action="store_true", help="make them again from nothing")
    add_overrides(prepare)
    run = verbs.add_parser(
        "run",
        help="start a campaign",
        description=RUN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--cfg", choices=["job"], help="print the settings and stop")
    add_overrides(run)
    resume = verbs.add_parser("resume", help="go on with a campaign, with more budget if given")
    add_directory(resume)
    add_overrides(resume)
    stop = verbs.add_parser("stop", help="end a campaign; it can be resumed")
    add_directory(stop)
    stop.add_argument("--now", action="store_true", help="do not finish what runs")
    replay = verbs.add_parser("replay", help="run one experiment again, from the record")
    add_directory(replay)
    add_experiment(replay, "ID", "an experiment, or `champion`")
    replay.add_argument("--json", action="store_true", help="print JSON")
    promote = verbs.add_parser("promote", help="test a candidate against the champion next")
    add_directory(promote)
    add_experiment(promote, "ID", "one of the candidate's experiments")


def add_reading_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs that only read, also while a controller is at work."""
    status = verbs.add_parser("status", help="where a campaign stands")
    add_directory(status)
    status.add_argument("--json", action="store_true", help="print JSON")
    show = verbs.add_parser("show", help="everything about one experiment")
    add_directory(show)
    add_experiment(show, "ID", "an experiment, or the beginning of its id")
    show.add_argument("--json", action="store_true", help="print JSON")
    diff = verbs.add_parser("diff", help="how two programs differ")
    add_directory(diff)
    add_experiment(diff, "A", "an experiment, `baseline` or `champion`")
    diff.add_argument("other", metavar="B", nargs="?", help="the same; left out: its parent")
    report = verbs.add_parser("report", help="write report/ and show the result")
    add_directory(report)


def add_completion_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs for shells."""
    completion = verbs.add_parser("completion", help="print a shell's completion script")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    complete = verbs.add_parser("complete")
    complete.add_argument("words", nargs=argparse.REMAINDER)


def add_directory(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("directory", metavar="DIR", help="the campaign's directory")


def add_experiment(verb: argparse.ArgumentParser, name: str, text: str) -> None:
    verb.add_argument("experiment", metavar=name, help=text)


def add_overrides(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        verb = importlib.import_module(f"autoresearch.verbs.{options.verb}")
        code: int = verb.main(options)
    except AutoresearchError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has enough
        return 0
    except Exception:  # noqa: BLE001 - the one boundary: whatever is left is our mistake
        return confess()
    return code


def complain(message: str) -> int:
    """One line for something the user can mend."""
    print(f"autoresearch: {' '.join(message.split())}", file=sys.stderr)
    return 1


def confess() -> int:
    """Keep the traceback of a mistake of ours, and say where."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="autoresearch-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"autoresearch {__version__}: {' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    print(
        f"autoresearch: a mistake of ours ({sys.exc_info()[1]!r}); nothing recorded is lost. "
        f"Please report it with {file.name}",
        file=sys.stderr,
    )
    return 3
