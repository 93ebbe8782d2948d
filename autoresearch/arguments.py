"""What each verb takes on the command line. Every verb for people also takes --json.

Imports nothing that a verb needs. What is printed as help is in `words`.
"""

import argparse
from typing import NoReturn, TypeAlias

from autoresearch import __version__
from autoresearch.errors import UserError
from autoresearch.words import DESCRIPTION, HELP, HIDDEN, JSON_HELP, NAME_HELP, VERBS, WAVE


class Parser(argparse.ArgumentParser):
    """Mistakes are errors as all others: one line, exit code 1."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


def parser() -> Parser:
    """The whole command line."""
    root = Parser(prog="autoresearch", description=DESCRIPTION)
    root.add_argument("--version", action="version", version=f"autoresearch {__version__}")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    add_preparing_verbs(verbs)
    add_campaign_verbs(verbs)
    add_experiment_verbs(verbs)
    add_wave_verb(verbs)
    add_reading_verbs(verbs)
    add_completion_verbs(verbs)
    return root


def add_verb(verbs: Verbs, name: str, help: str = "", key: str = "") -> Parser:
    """`key` is where its help stands, if not under its name."""
    verb: Parser = verbs.add_parser(
        name,
        help=help or VERBS[name],
        description=HELP.get(key or name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return verb


def add_json(verb: Parser) -> None:
    verb.add_argument("--json", action="store_true", help=JSON_HELP)


def add_preparing_verbs(verbs: Verbs) -> None:
    """Verbs for what must be there before a campaign."""
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
    minutes = "minutes to wait in the queue; default: 10"
    doctor.add_argument("--minutes", metavar="N", type=float, default=10.0, help=minutes)
    add_overrides(doctor)
    for verb in (prepare, probe, doctor):
        add_json(verb)


def add_campaign_verbs(verbs: Verbs) -> None:
    """Verbs that begin a campaign, go on with it, end it."""
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
    step = add_verb(verbs, "step")
    add_directory(step)
    stop = add_verb(verbs, "stop")
    add_directory(stop)
    stop.add_argument("--now", action="store_true", help="do not finish what runs")
    for verb in (run, resume, step, stop):
        add_json(verb)


def add_experiment_verbs(verbs: Verbs) -> None:
    """Verbs that have something run."""
    for name in ("replay", "promote"):
        verb = add_verb(verbs, name)
        add_directory(verb)
        add_experiment(verb, "ID")
        add_json(verb)
        if name == "replay":
            verb.add_argument("--score-only", action="store_true", help="score the kept weights")


def add_wave_verb(verbs: Verbs) -> None:
    """Waves from outside: `wave` and the words that follow it."""
    words = add_verb(verbs, "wave").add_subparsers(dest="word", metavar="WORD", required=True)
    for name in WAVE:
        word = add_verb(words, name, WAVE[name], f"wave {name}")
        add_directory(word)
        if name == "submit":
            word.add_argument("file", metavar="FILE", help="JSON; - is standard input")
            only = "only check it, and print what is wrong"
            word.add_argument("--check", action="store_true", help=only)
        add_json(word)


def add_reading_verbs(verbs: Verbs) -> None:
    """Verbs for what is known, also while a controller is at work."""
    views = ("status", "show", "diff", "source", "effects", "notebook", "report")
    for name in ("sync", *views, "verify"):
        verb = add_verb(verbs, name)
        add_directory(verb)
        if name == "show":
            add_experiment(verb, "ID")
        elif name == "diff":
            add_experiment(verb, "A")
            verb.add_argument("other", metavar="B", nargs="?", help="the same; default: its parent")
        elif name == "source":
            whose = f"{NAME_HELP}; default: `champion`"
            verb.add_argument("name", metavar="NAME", nargs="?", default="champion", help=whose)
            verb.add_argument("-o", "--output", metavar="FILE", help="write it there")
        elif name == "effects":
            whose = "of which candidate's program; default: `champion`"
            verb.add_argument("--program", metavar="NAME", default="champion", help=whose)
        elif name == "notebook":
            verb.add_argument("--add", metavar="TEXT", help="write this down")
        elif name == "report":
            at = "and save it at W&B, at one URL"
            verb.add_argument("--wandb", action="store_true", help=at)
        add_json(verb)


def add_completion_verbs(verbs: Verbs) -> None:
    """Verbs for shells."""
    completion = add_verb(verbs, "completion")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    complete = verbs.add_parser(HIDDEN)
    complete.add_argument("words", nargs=argparse.REMAINDER)


def add_directory(verb: Parser) -> None:
    verb.add_argument("directory", metavar="DIR", help="the campaign's directory")


def add_experiment(verb: Parser, name: str) -> None:
    verb.add_argument("experiment", metavar=name, help=NAME_HELP)


def add_overrides(verb: Parser) -> None:
    verb.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides")
