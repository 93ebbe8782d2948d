"""Every train.py a campaign has tried, in its own bare git repository.

A version is a commit whose tree holds `train.py`; the program is known by the SHA-256 of its bytes
and found at `refs/versions/<sha256>`; branch `champion` is the result. `git log --graph champion`
shows the lineage. Needs the git binary, no git settings of the user.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from autoresearch.errors import RecordError, SourceError
from autoresearch.experiment import plain
from autoresearch.program import check, program_of, unified

CHAMPION = "refs/heads/champion"
AUTHOR = "autoresearch"
LOCK_SECONDS = 2.0  # git holds a ref's lock for milliseconds; one this old has lost its owner


class Sources:
    """The versions in one repository. One writer at a time; any number of readers.

    A version never changes, so what git has said of one is not asked again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._texts: dict[str, str] = {}
        self._commits: dict[str, str] = {}
        self._champion = ""  # where we have moved the branch last

    @classmethod
    def create(cls, path: Path) -> Self:
        """An empty repository at `path`, or the one that is there already.

        Raises SourceError if git is missing or the directory cannot be written.
        """
        sources = cls(path)
        if not path.exists():
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                draft = cls(temporary)
                draft._git("init", "--quiet", "--bare", "--template=", str(temporary))
                draft._git("symbolic-ref", "HEAD", CHAMPION)  # what `git clone` checks out
                temporary.rename(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return sources

    def add(self, text: str, message: str, parents: Sequence[str] = (), *, when: float) -> str:
        """Keep a version and return its program. Same text: the same version, nothing new.

        `parents` are programs kept before; `when` is Unix time: equal arguments give the same
        commit. Raises SourceError if the text fails `check` or a parent is unknown.
        """
        check(text)
        program = program_of(text)
        if self._resolve(reference(program)) is None:
            lineage = [word for parent in parents for word in ("-p", self.commit(parent))]
            blob = self._git("hash-object", "-w", "--stdin", stdin=text.encode()).strip()
            tree = self._git("mktree", stdin=b"100644 blob " + blob + b"\ttrain.py\n")
            note = plain(message).encode("utf-8", "replace") + b"\n"
            commit = self._git("commit-tree", tree.decode().strip(), *lineage, stdin=note, at=when)
            self._point(reference(program), commit.decode().strip())
        return program

    def read(self, program: str) -> str:
        """The text of a version. Raises SourceError if it is unknown, RecordError if damaged."""
        if program not in self._texts:
            data = self._git("cat-file", "blob", f"{self.commit(program)}:train.py")
            if hashlib.sha256(data).hexdigest() != program:
                raise RecordError(f"version {program} in {self.path} should have this SHA-256")
            self._texts[program] = data.decode()
        return self._texts[program]

    def commit(self, program: str) -> str:
        """The git id of a version's commit. Raises SourceError if there is no such version."""
        if program not in self._commits:
            commit = self._resolve(reference(program))
            if commit is None:
                raise SourceError(f"version {program} should be in {self.path}, but is not")
            self._commits[program] = commit
        return self._commits[program]

    def log(self, program: str) -> list[tuple[str, str]]:
        """A version and its ancestors, newest first: git id and first line of the message."""
        text = self._git("log", "--format=%H %s", self.commit(program)).decode(errors="replace")
        return [(line[:40], line[41:]) for line in text.splitlines()]

    def diff(self, a: str, b: str) -> str:
        """What changes from version `a` to version `b`, as `unified` shows it."""
        return unified(self.read(a), self.read(b), a[:7], b[:7])

    def set_champion(self, program: str) -> None:
        """Move branch `champion` to a version; does nothing if we left it there."""
        if program != self._champion:
            self._point(CHAMPION, self.commit(program))
            self._champion = program

    def champion(self) -> str | None:
        """The program branch `champion` is at; None before the first one."""
        commit = self._resolve(CHAMPION)
        if commit is None:
            return None
        return hashlib.sha256(self._git("cat-file", "blob", f"{commit}:train.py")).hexdigest()

    def _resolve(self, ref: str) -> str | None:
        listed = self._git("for-each-ref", "--format=%(refname) %(objectname)", ref).decode()
        return dict(line.split() for line in listed.splitlines()).get(ref)

    def _point(self, ref: str, commit: str) -> None:
        try:
            self._git("update-ref", ref, commit)
        except SourceError:
            if not is_abandoned(self.path / f"{ref}.lock"):
                raise
            (self.path / f"{ref}.lock").unlink(missing_ok=True)
            self._git("update-ref", ref, commit)

    def _git(self, *arguments: str, stdin: bytes = b"", at: float = 0) -> bytes:
        # core.fsync: what a ref names must survive a power cut, the journal counts on it.
        command = ["git", "-c", "core.fsync=all", "--git-dir", str(self.path), *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, env=environment(at), check=False
            )
        except FileNotFoundError as error:
            raise SourceError(
                "git should be on PATH, but is not; install it or `module load git`"
            ) from error
        if done.returncode != 0:
            lines = plain(done.stderr.decode(errors="replace")).splitlines()
            reason = lines[-1] if lines else f"exit code {done.returncode}"
            raise SourceError(f"git {arguments[0]} should work in {self.path}, but: {reason}")
        return done.stdout


def reference(program: str) -> str:
    return f"refs/versions/{program}"


def environment(at: float) -> dict[str, str]:
    """What git sees: nothing of the user's own git settings, and the time it is told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (
            ("NAME", AUTHOR),
            ("EMAIL", f"{AUTHOR}@localhost"),
            ("DATE", f"@{int(at)} +0000"),
        )
    }
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return {**kept, **person, **settings}


def is_abandoned(lock: Path) -> bool:
    """Whether a lock file stays unchanged for so long that the git that made it must be dead."""
    try:
        before = lock.stat()
        time.sleep(LOCK_SECONDS)
        after = lock.stat()
    except FileNotFoundError:
        return True
    return (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
