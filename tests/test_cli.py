"""The command line: exit codes, one line for a user's mistake, nothing heavy for --help."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch.arguments import parser
from autoresearch.cli import main, parse
from autoresearch.errors import UserError
from autoresearch.words import HELP


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "nowhere"], "should be a campaign directory"),
        (["resume", "nowhere"], "start one with `autoresearch run`"),
        (["run", "planner=bays"], "bayes"),
        (["run", "budget.experimints=3"], "budget.experiments"),
        (["run", "budget.experiments=many"], "budget.experiments"),
        (["run", "task.dir=/nowhere"], "/nowhere"),
        (["status", "n" * 300], "File name too long; choose a shorter name"),
        (["stat"], "did you mean 'status'?"),
        (["xyzzy"], "choose one of: completion, diff,"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_1(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("autoresearch: ")
    assert error.count("\n") == 1
    assert words in error
    assert not list(tmp_path.glob("campaigns/*"))


def test_a_mistake_of_ours_is_kept_in_a_file_and_is_exit_code_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("we erred")

    monkeypatch.setattr("autoresearch.verbs.status.main", broken)
    assert main(["status", "x"]) == 3
    error = capsys.readouterr().err
    path = Path(error.split()[-1])
    assert "RuntimeError: we erred" in path.read_text(encoding="utf-8")
    path.unlink()


def test_overrides_stand_on_both_sides_of_an_option() -> None:
    words = ["run", "task=tiny", "--json", "name=x", "~search.space.depth"]
    assert parse(words).overrides == ["task=tiny", "name=x", "~search.space.depth"]
    for wrong in (["run", "--jsn", "a=1"], ["show", "c", "champion", "--json", "a=1"]):
        with pytest.raises(UserError, match="unrecognized arguments"):
            parse(wrong)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 1), (errno.EROFS, 1), (errno.EACCES, 1), (errno.EBADF, 3)]
)
def test_what_the_system_refuses_a_user_is_one_line(
    number: int, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr("autoresearch.verbs.status.main", refused)
    assert main(["status", "x"]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("autoresearch: some/file should be usable, but: ") == (code == 1)
    if code == 3:
        Path(error.split()[-1]).unlink()


def test_a_hidden_verb_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 1
    assert "complete," not in capsys.readouterr().err
    assert main(["complete", "--", "sta"]) == 0


@pytest.mark.parametrize("name", HELP)
def test_every_verb_says_how_it_is_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    assert HELP[name].strip() in capsys.readouterr().out


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autoresearch.verbs.status.main", interrupted)
    assert main(["status", "x"]) == 130


def loaded_by(code: str) -> set[str]:
    """The top-level modules a fresh interpreter has after `code`."""
    script = f"import sys\n{code}\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    code = "from autoresearch.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    heavy = {"hydra", "omegaconf", "numpy", "torch", "rich", "submitit", "scipy", "wandb", "optuna"}
    assert not loaded_by(code) & heavy


@pytest.mark.parametrize(
    "verb",
    [
        *("run", "resume", "stop", "status", "show", "diff", "report"),
        *("wave", "effects", "source", "notebook"),
    ],
)
def test_no_controller_verb_imports_torch(verb: str) -> None:
    heavy = {"torch", "wandb", "optuna", "matplotlib"}
    assert not loaded_by(f"import autoresearch.verbs.{verb}") & heavy


OF_SEVERAL = {"__init__", "answer", "attend", "find", "submission", "template"}


def test_every_verb_has_a_module_and_every_module_is_a_verb() -> None:
    actions = [a for a in parser()._actions if a.dest == "verb"]
    verbs = set(actions[0].choices or ())
    folder = Path(main.__code__.co_filename).parent / "verbs"
    modules = {path.stem for path in folder.glob("*.py")} - OF_SEVERAL
    assert verbs == modules


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m autoresearch completion bash | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_terminal_that_knows_few_signs_is_no_error() -> None:
    code = "from autoresearch import cli; cli.parse = print; cli.main(['\u00b1'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['?']\n"
