"""The command line: which verbs there are, and the one boundary where errors become exit codes.

Exit codes: 0 done, 1 something the user can mend (one line on stderr), 3 our own mistake (a
traceback in a file), 75 told to leave by SIGUSR1 (start us again), 130 interrupted. A verb's module
is imported only when it is called, so that `--help` costs nothing.
"""

import argparse
import errno
import importlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from autoresearch import __version__
from autoresearch.errors import AutoresearchError, UserError, nearest

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


HELP = {
    "prepare": """\
Make the token files a task trains and is scored on: text is fetched or read, a tokenizer trained.
Done once; a second time it finds everything there. What was cut short is finished. Settings of
task.data may be written without their prefix.

  autoresearch prepare task=tiny                     Python's own text: enough to try things out
  autoresearch prepare task=climbmix                 the seed's text, from the Hugging Face hub
  autoresearch prepare task=gpt source=hf dataset=OWNER/NAME shards=20
  autoresearch prepare task=gpt source=files 'files=[notes/,corpus.jsonl]'
  autoresearch prepare task=climbmix cluster=mysite workers=16 --slurm
""",
    "probe": """\
Write conf/cluster/NAME.yaml from what Slurm says of this site: partitions, GPUs, accounts, limits.
Read it before you use it; NAME is the cluster's own unless you give one.

  autoresearch probe
  autoresearch probe mysite --print
""",
    "doctor": """\
Find out whether a campaign would work: checks here first, then a tiny job in every partition of
every tier. Exit code 1 if something is found that a campaign would fail by.

  autoresearch doctor
  autoresearch doctor cluster=mysite task=gpt
""",
    "run": RUN_HELP,
    "resume": """\
Go on with a campaign that was stopped, killed, or has ended; with settings amended if given.

  autoresearch resume campaigns/tiny
  autoresearch resume campaigns/tiny budget.experiments=80
""",
    "step": """\
Look in on a campaign: do what is due and leave, in seconds. For cron or scrontab, where no process
may stay; pilots work on through the queue in between. `run --leave` begins such a campaign.

  autoresearch step campaigns/tiny
  */5 * * * *  autoresearch step /path/to/campaigns/tiny
""",
    "stop": """\
End a campaign from another terminal: what runs is finished, unless --now, and nothing is started.
Nothing is lost either way: resume goes on.

  autoresearch stop campaigns/tiny
""",
    "replay": """\
Run one experiment again with the recorded program, settings and seed, and compare the scores. The
record does not change.

  autoresearch replay campaigns/tiny 3f9c
  autoresearch replay campaigns/tiny champion
""",
    "sync": """\
Have W&B hold every run of a campaign, from where there is internet: runs that nodes could not send
are sent, those that are being made are followed to their end; what W&B lacks, or has otherwise than
the record, is sent again. May be interrupted at any time.

  autoresearch sync campaigns/tiny
""",
    "promote": """\
Have a candidate tested against the champion next, however it did in screening.

  autoresearch promote campaigns/tiny 3f9c
""",
    "report": """\
Write report/ (results.tsv, progress.png) and show the result. With --wandb also a report at W&B,
made the first time and brought up to date from then on, at the same URL; its runs must be there.

  autoresearch report campaigns/tiny
  autoresearch report campaigns/tiny --wandb
""",
}

NAME_HELP = "the start of an experiment's id or a candidate's key; `champion`; `baseline`"

HIDDEN = "complete"  # for completion scripts

# Every verb for people, with its line in the list.
VERBS = {
    "prepare": "make token files of text, once per task",
    "probe": "write a Slurm site's settings from what it says of itself",
    "doctor": "find out whether a campaign would work here",
    "run": "start a campaign",
    "resume": "go on with a campaign, with more budget if given",
    "step": "look in on a campaign, do what is due and leave: for cron",
    "stop": "end a campaign; it can be resumed",
    "replay": "run one experiment again, from the record",
    "promote": "test a candidate against the champion next",
    "sync": "send runs to W&B from the login node, and compare",
    "status": "where a campaign stands",
    "show": "everything about one experiment",
    "diff": "how two programs differ",
    "report": "write report/ and show the result",
    "completion": "print a shell's completion script",
}

# Faults of the system that are the user's to mend, and how.
CURES = {
    errno.EACCES: "ask for the permission, or choose another place",
    errno.EPERM: "ask for the permission, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose a path through directories only",
    errno.ENOSPC: "make room, then go on",
    errno.EDQUOT: "make room, then go on",
    errno.EEXIST: "remove what is there, or choose another place",
    errno.EISDIR: "remove what is there, or choose another place",
    errno.ELOOP: "mend the links, or choose another place",
    errno.EAGAIN: "too many processes or files of yours here: end some, then go on",
    errno.EMFILE: "too many processes or files of yours here: end some, then go on",
    errno.ENOMEM: "too little memory here: end something, then go on",
    errno.EIO: "look after the disk or the file server, then go on",
    errno.ESTALE: "look after the file server, then go on",
    errno.ETIMEDOUT: "look after the file server, then go on",
}


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


def add_verb(verbs: "Verbs[argparse.ArgumentParser]", name: str) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=VERBS[name],
        description=HELP.get(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_campaign_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs that change something."""
    prepare = add_verb(verbs, "prepare")
    prepare.add_argument("--force", action="store_true", help="make them again from nothing")
    prepare.add_argument("--download", action="store_true", help="fetch the text, and no more")
    slurm = "fetch the text here and do the rest in a job of cluster=NAME"
    prepare.add_argument("--slurm", action="store_true", help=slurm)
    where = "of the job; default: of a tier without GPUs, or one that Slurm shows"
    prepare.add_argument("--partition", metavar="NAME", default="", help=where)
    add_overrides(prepare)
    probe = add_verb(verbs, "probe")
    probe.add_argument("name", metavar="NAME", nargs="?", help="of the file, and of cluster=NAME")
    probe.add_argument("--print", action="store_true", help="print it, write nothing")
    probe.add_argument("--force", action="store_true", help="write it anew if it is there")
    doctor = add_verb(verbs, "doctor")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    minutes = "minutes to wait in the queue; default: 10"
    doctor.add_argument("--minutes", metavar="N", type=float, default=10.0, help=minutes)
    add_overrides(doctor)
    run = add_verb(verbs, "run")
    run.add_argument("--cfg", choices=["job"], help="print the settings and stop")
    go_on = "go on with the campaign if it is there already"
    leave = "look after it once and leave: `step` goes on"
    run.add_argument("--leave", action="store_true", help=leave)
    run.add_argument("--continue", dest="go_on", action="store_true", help=go_on)
    add_overrides(run)
    resume = add_verb(verbs, "resume")
    add_directory(resume)
    add_overrides(resume)
    add_directory(add_verb(verbs, "step"))
    stop = add_verb(verbs, "stop")
    add_directory(stop)
    stop.add_argument("--now", action="store_true", help="do not finish what runs")
    replay = add_verb(verbs, "replay")
    add_directory(replay)
    add_experiment(replay, "ID")
    replay.add_argument("--json", action="store_true", help="print JSON")
    promote = add_verb(verbs, "promote")
    add_directory(promote)
    add_experiment(promote, "ID")
    sync = add_verb(verbs, "sync")
    add_directory(sync)
    sync.add_argument("--json", action="store_true", help="print JSON")


def add_reading_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs that only read, also while a controller is at work."""
    status = add_verb(verbs, "status")
    add_directory(status)
    status.add_argument("--json", action="store_true", help="print JSON")
    show = add_verb(verbs, "show")
    add_directory(show)
    add_experiment(show, "ID")
    show.add_argument("--json", action="store_true", help="print JSON")
    diff = add_verb(verbs, "diff")
    add_directory(diff)
    add_experiment(diff, "A")
    diff.add_argument("other", metavar="B", nargs="?", help="the same; left out: its parent")
    report = add_verb(verbs, "report")
    add_directory(report)
    report.add_argument("--wandb", action="store_true", help="and save it at W&B, at one URL")


def add_completion_verbs(verbs: "Verbs[argparse.ArgumentParser]") -> None:
    """Verbs for shells."""
    completion = add_verb(verbs, "completion")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    complete = verbs.add_parser(HIDDEN)
    complete.add_argument("words", nargs=argparse.REMAINDER)


def add_directory(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("directory", metavar="DIR", help="the campaign's directory")


def add_experiment(verb: argparse.ArgumentParser, name: str) -> None:
    verb.add_argument("experiment", metavar=name, help=NAME_HELP)


def add_overrides(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Raises UserError for a verb that does not exist; argparse itself ends what else is wrong."""
    if words and not words[0].startswith("-") and words[0] not in (*VERBS, HIDDEN):
        raise UserError(f"there should be a verb, but was '{words[0]}'; {nearest(words[0], VERBS)}")
    return parser().parse_args(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may know fewer signs than we write
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        verb = importlib.import_module(f"autoresearch.verbs.{options.verb}")
        code: int = verb.main(options)
    except AutoresearchError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has enough
        return 0
    except OSError as error:
        return complain(mendable(error)) if error.errno in CURES else confess()
    except Exception:  # noqa: BLE001 - the one boundary: whatever is left is our mistake
        return confess()
    return code


def mendable(error: OSError) -> str:
    """A fault of the system in one line."""
    what = error.filename or "the file system"
    return f"{what} should be usable, but: {error.strerror}; {CURES[error.errno or 0]}"


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
