"""Versions in a real git repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_program import TEXT

from autoresearch.errors import RecordError, SourceError
from autoresearch.program import program_of
from autoresearch.sources import Sources, reference


def git(path: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources.create(tmp_path / "sources.git")


def test_a_version_is_found_by_the_hash_of_its_bytes(sources: Sources) -> None:
    program = sources.add(TEXT, "the baseline", when=1e9)
    assert program == program_of(TEXT)
    assert sources.read(program) == TEXT
    assert git(sources.path, "rev-parse", f"refs/versions/{program}").strip() == sources.commit(
        program
    )


def test_line_endings_and_a_missing_last_newline_are_kept(sources: Sources) -> None:
    text = "a = 1\r\nb = '\u2028'\r\nc = 3"
    assert sources.read(sources.add(text, "windows", when=0)) == text


def test_the_same_text_is_the_same_version(sources: Sources) -> None:
    program = sources.add(TEXT, "first", when=1)
    commit = sources.commit(program)
    assert sources.add(TEXT, "second", when=2) == program
    assert sources.commit(program) == commit


def test_equal_arguments_give_equal_commits_anywhere(tmp_path: Path) -> None:
    commits = set()
    for name in ("a.git", "b.git"):
        sources = Sources.create(tmp_path / name)
        parent = sources.add("a = 1\n", "parent", when=5)
        commits.add(sources.commit(sources.add("a = 2\n", "child", [parent], when=6.7)))
    assert len(commits) == 1


def test_the_users_git_settings_play_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Someone\n[core]\nautocrlf = true\n[i18n]\ncommitEncoding = latin1\n"
        "[diff]\nexternal = false\n[color]\nui = always\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Someone")
    sources = Sources.create(tmp_path / "sources.git")
    a = sources.add("a = 1\r\n", "ü", when=0)
    b = sources.add("a = 2\r\n", "b", [a], when=0)
    assert "+a = 2\r\n" in sources.diff(a, b)
    assert sources.read(a) == "a = 1\r\n"
    monkeypatch.delenv("GIT_DIR")
    assert "Someone" not in git(sources.path, "cat-file", "commit", sources.commit(a))


def test_diff_says_what_changed(sources: Sources) -> None:
    a = sources.add("a = 1\nb = 2\n", "a", when=0)
    b = sources.add("a = 1\nb = 3\n", "b", [a], when=0)
    assert sources.diff(a, b) == (
        f"--- {a[:7]}\n+++ {b[:7]}\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3\n"
    )
    assert sources.diff(a, a) == ""


def test_the_champion_is_a_branch_with_a_lineage(sources: Sources, tmp_path: Path) -> None:
    assert sources.champion() is None
    programs: list[str] = []
    for number in range(3):
        programs.append(sources.add(f"a = {number}\n", f"number {number}", programs[-1:], when=0))
        sources.set_champion(programs[-1])
    assert sources.champion() == programs[-1]
    graph = git(sources.path, "log", "--graph", "--format=%s", "champion")
    assert graph == "* number 2\n* number 1\n* number 0\n"
    subprocess.run(["git", "clone", "-q", sources.path, tmp_path / "clone"], check=True)
    assert (tmp_path / "clone" / "train.py").read_text() == "a = 2\n"


def test_two_parents_are_both_in_the_lineage(sources: Sources) -> None:
    a, b = (sources.add(f"{name} = 1\n", name, when=0) for name in "ab")
    child = sources.add("c = 1\n", "c", [a, b], when=0)
    line = git(sources.path, "rev-list", "--parents", "-1", sources.commit(child))
    assert line.split() == [sources.commit(p) for p in (child, a, b)]


def test_a_hostile_message_stays_a_message(sources: Sources) -> None:
    message = "--amend\x00\x1b[31m\n\ntree 0000\nüber \ud800" + "x" * 5000
    program = sources.add(TEXT, message, when=0)
    shown = git(sources.path, "log", "-1", "--format=%B", sources.commit(program))
    assert "\x1b" not in shown
    assert len(shown) < 2100


def test_unknown_versions_are_named(sources: Sources) -> None:
    sources.add("a = 1\n", "a", when=0)
    for program in ("0" * 64, "", "*"):
        with pytest.raises(SourceError, match="should be in"):
            sources.read(program)
    with pytest.raises(SourceError, match="should be in"):
        sources.add("b = 1\n", "b", ["0" * 64], when=0)


def test_a_version_that_is_not_what_its_name_says_is_a_damaged_record(sources: Sources) -> None:
    a, b = (sources.add(f"{name} = 1\n", name, when=0) for name in "ab")
    git(sources.path, "update-ref", reference(a), sources.commit(b))
    with pytest.raises(RecordError, match=a):
        sources.read(a)


def test_create_opens_what_is_there(sources: Sources) -> None:
    program = sources.add("a = 1\n", "a", when=0)
    assert Sources.create(sources.path).read(program) == "a = 1\n"
    assert [p.name for p in sources.path.parent.iterdir()] == ["sources.git"]


def test_a_missing_git_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git should be on PATH, but is not; install it"):
        Sources.create(tmp_path / "sources.git")
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_git_that_died_is_taken_away(sources: Sources) -> None:
    lock = sources.path / f"{reference(program_of(TEXT))}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    program = sources.add(TEXT, "after a power cut", when=0)
    assert sources.read(program) == TEXT
    assert not lock.exists()


GIT_THAT_DIES = """#!/bin/sh
echo x >> "$COUNT"
[ "$(wc -l < "$COUNT")" -ge "$LAST" ] && kill -9 $PPID
exec {git} "$@"
"""


@pytest.mark.parametrize("last", range(1, 10))
def test_a_death_between_any_two_steps_loses_nothing(tmp_path: Path, last: int) -> None:
    """The writer is killed at its n-th call of git; doing it again completes the work."""
    real, fake, path = shutil.which("git"), tmp_path / "bin" / "git", tmp_path / "sources.git"
    fake.parent.mkdir()
    fake.write_text(GIT_THAT_DIES.format(git=real))
    fake.chmod(0o755)
    script = (
        "from pathlib import Path; from autoresearch.sources import Sources\n"
        f"s = Sources.create(Path({str(path)!r}))\n"
        "s.set_champion(s.add('a = 1\\n', 'a', when=0))"
    )
    environment = {
        **os.environ,
        "PATH": f"{fake.parent}:{os.environ['PATH']}",
        "COUNT": str(tmp_path / "count"),
        "LAST": str(last),
    }
    died = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert died.returncode == -9
    subprocess.run([sys.executable, "-c", script], check=True)
    sources = Sources(path)
    assert sources.read(sources.champion() or "") == "a = 1\n"
    git(path, "fsck", "--strict")
