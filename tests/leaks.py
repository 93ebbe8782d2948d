"""Where a secret shows: in files and their names, in git objects, in what processes are told.

A secret may be spelled otherwise than it was given: in hex, or in base64 within something longer.
"""

import gzip
import lzma
import os
import re
import stat
import subprocess
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bigram import PROGRAM
from testbeds import clean_environment

from autoresearch.node import kernel

NAMES = ("ANTHROPIC_API_KEY", "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN")
# What a user may have in the environment of a controller: told from one another, and as W&B's
# client wants its key, long and without a dash.
SENTINELS = {name: f"sentinel_of_{name.lower()}_".ljust(48, "x") for name in NAMES}
STEP = 0.1  # seconds between two looks
PILOT = b"autoresearch.node.pilot"
# Who runs below a pilot, by what it was told: its command line, and after it its environment.
ROLES = {
    "pilot": re.compile(rb"autoresearch\.node\.pilot"),
    "referee": re.compile(rb"autoresearch\.node\.referee"),
    "program": re.compile(rb"autoresearch\.node\.harness.*HOME=[^\0]*/program\0", re.DOTALL),
    "scorer": re.compile(rb"autoresearch\.node\.harness.*HOME=[^\0]*/scorer-\d\0", re.DOTALL),
    "logger": re.compile(rb"autoresearch\.tracking\.logger"),
}
INFLATE: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x78": zlib.decompress,
}


def spellings(secret: str) -> Iterator[bytes]:
    """A secret as it may stand in bytes."""
    plain = secret.encode()
    yield plain
    yield secret.encode("utf-16-le")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for before in range(3):  # base64 in the middle of other base64: what its neighbours leave whole
        whole = b64encode(bytes(before) + plain)
        yield whole[4 if before else 0 : len(whole) // 4 * 4 - 4]


class Leaks:
    """Looks for secrets; each `in_` answers with a line for every place where one was found."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.spellings = {name: tuple(spellings(secret)) for name, secret in secrets.items()}

    def in_bytes(self, data: bytes, where: object) -> list[str]:
        return [
            f"{name} in {where}"
            for name, known in self.spellings.items()
            if any(spelling in data for spelling in known)
        ]

    def in_text(self, text: object, where: object) -> list[str]:
        return self.in_bytes(str(text).encode(errors="replace"), where)

    def in_folder(self, root: Path, allowed: Iterable[Path] = ()) -> list[str]:
        """Every file below, and its name; of links, where they lead; of git's folders, all that
        is packed in them."""
        found, passed = list[str](), set(allowed)
        for path in walk(root):
            if path not in passed:
                found += self.in_bytes(os.fsencode(path.relative_to(root)), f"the name of {path}")
                found += self.in_bytes(content(path), path)
            if path.name == "objects" and (path.parent / "HEAD").is_file():
                found += self.in_bytes(git_objects(path.parent), f"the objects of {path.parent}")
        return found

    def in_process(self, pid: int) -> list[str]:
        return self.in_bytes(told(pid), f"process {pid}: {command(pid)!r}")


def walk(root: Path) -> Iterator[Path]:
    """All that lies below a folder, also while others work in it."""
    for folder, folders, names in os.walk(root):
        yield from (Path(folder, name) for name in (*folders, *names))


def content(path: Path) -> bytes:
    """What a file holds, with what it holds compressed; b"" if it is gone, or no file."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return os.fsencode(path.readlink())
        if stat.S_ISREG(mode):
            data = path.read_bytes()
            return data + inflated(data)
    return b""


def inflated(data: bytes) -> bytes:
    for magic, decompress in INFLATE.items():
        if data.startswith(magic):
            with suppress(OSError, EOFError, zlib.error, lzma.LZMAError):
                return decompress(data)
    return b""


def git_objects(repository: Path) -> bytes:
    """Every object of a repository, reachable or not, packed or not."""
    command = ("git", "--git-dir", str(repository), "cat-file", "--batch-all-objects", "--batch")
    return subprocess.run(command, capture_output=True, check=True).stdout


def told(pid: int) -> bytes:
    """The command line and the environment that a process was started with."""
    return proc(pid, "cmdline") + b"\0" + proc(pid, "environ")


def command(pid: int) -> str:
    return proc(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")[:200]


def proc(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


# ---- a program that looks for secrets ----------------------------------------------------------

NOSY = "what I can see:"
LOOK = """

def tell_all():
    import os, pathlib
    print("{mark}", dict(os.environ))
    for path in pathlib.Path("/proc").glob("{who}/*"):
        if path.name in ("cmdline", "environ"):
            tell(path)
    for path in map(pathlib.Path, {files}):
        tell(path)


def tell(path):
    try:
        print(f"{{path}}:", path.read_bytes().replace(b"\\0", b" "))
    except OSError as error:
        print(f"{{path}}: {{error.strerror}}")
"""


def nosy(files: Iterable[str], *, everywhere: bool) -> str:
    """The bigram's program, which prints what it was told, or what all were whom it can see, and
    what stands in some files."""
    who = "[0-9]*" if everywhere else "self"
    program = PROGRAM.replace("    run.ready()\n", "    tell_all()\n    run.ready()\n")
    return program + LOOK.format(mark=NOSY, who=who, files=list(files))


# ---- while a campaign runs -----------------------------------------------------------------------


class Watch:
    """All that runs at and below the pilots of one campaign, and in its jobs on a cluster, which
    `job` tells by a variable; and folders in which something may lie for a while."""

    def __init__(
        self, leaks: Leaks, campaign: Path, folders: Iterable[Path], job: str = ""
    ) -> None:
        self.leaks = leaks
        self.campaign = os.fsencode(campaign)
        self.folders = tuple(folders)
        self.job = job.encode()
        self.found: set[str] = set()
        self.seen: Counter[str] = Counter()  # by role, how often

    def look(self) -> None:
        everybody = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        first = [pid for pid in everybody if self.is_first(told(pid))]
        for pid in {each for one in first for each in (one, *kernel.tree(one))}:
            self.found.update(self.leaks.in_process(pid))
            words = told(pid)
            self.seen.update(role for role, mark in ROLES.items() if mark.search(words))
        for folder in self.folders:
            self.found.update(self.leaks.in_folder(folder))

    def is_first(self, words: bytes) -> bool:
        told = words.split(b"\0")
        return (PILOT in told and self.campaign in told) or bool(self.job and self.job in told)

    def until_end(self, controller: "subprocess.Popen[bytes]", seconds: float) -> int:
        """Look until a controller has ended; its exit code."""
        for _ in range(int(seconds / STEP)):
            self.look()
            with suppress(subprocess.TimeoutExpired):
                return controller.wait(timeout=STEP)
        raise AssertionError(f"the campaign has not ended after {seconds:g} s")


def environment(**more: str) -> dict[str, str]:
    """A user's, with a secret of every kind in it."""
    return clean_environment() | SENTINELS | more
