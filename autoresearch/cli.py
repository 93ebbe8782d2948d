"""The command line: from words to a verb, and the one boundary where errors become exit codes.

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
from autoresearch.arguments import parser
from autoresearch.errors import AutoresearchError, UserError, nearest
from autoresearch.experiment import one_line
from autoresearch.words import HIDDEN, VERBS

LONGEST = 4000  # characters of a complaint, which may quote what anybody wrote
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


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Raises UserError for what no verb takes. Overrides may stand on both sides of an option."""
    if words and not words[0].startswith("-") and words[0] not in (*VERBS, HIDDEN):
        raise UserError(f"there should be a verb, but was '{words[0]}'; {nearest(words[0], VERBS)}")
    options, left = parser().parse_known_args(words)
    if any(word.startswith("-") for word in left) or "overrides" not in options:
        return parser().parse_args(words)  # says what is wrong
    options.overrides += left
    return options


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
    print(f"autoresearch: {one_line(message, LONGEST)}", file=sys.stderr)
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
