"""What crosses into the program's process: without a wall a short environment, with one no more."""

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from walls import needs_bubblewrap

from autoresearch.errors import ConfigError
from autoresearch.node import kernel, sandbox

SCRATCH = Path("/tmp/scratch")


def test_no_key_and_no_home_reach_the_program() -> None:
    outer = {
        "WANDB_API_KEY": "s",
        "ANTHROPIC_API_KEY": "s",
        "HF_TOKEN": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "SSH_AUTH_SOCK": "s",
        "SLURM_JOB_ID": "s",
        "HOME": "s",
        "PATH": "/bin",
        "PYTHONPATH": "/node",
        "CUDA_VISIBLE_DEVICES": "3",
    }
    inner = sandbox.environment(outer, SCRATCH, threads=4)
    assert "s" not in inner.values()
    assert (inner["PATH"], inner["PYTHONPATH"]) == ("/bin", "/node")
    assert inner["CUDA_VISIBLE_DEVICES"] == "3"
    assert inner["HOME"] == inner["TMPDIR"] == str(SCRATCH)
    assert inner["OMP_NUM_THREADS"] == "4"


def test_no_sandbox_leaves_the_command_as_it_is() -> None:
    command = sandbox.command("none", ("python", "-V"), SCRATCH, threads=1)
    assert command.argv == ("python", "-V")


@pytest.mark.parametrize("kind", ["bubble", ""])
def test_an_unknown_sandbox_is_an_error_and_never_no_sandbox(kind: str) -> None:
    with pytest.raises(ConfigError, match="sandbox should be one of auto, bubblewrap, none, but"):
        sandbox.command(kind, ("python",), SCRATCH, threads=1)
    with pytest.raises(ConfigError, match="sandbox should be one of auto, bubblewrap, none, but"):
        sandbox.choose(kind)


def test_without_bubblewrap_the_choice_is_none_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox.choose("auto") == sandbox.choose("none") == "none"
    with pytest.raises(
        ConfigError, match=r"there is no bwrap; install bubblewrap .* with cluster\.sandbox=none"
    ):
        sandbox.choose("bubblewrap")


def test_where_user_namespaces_are_forbidden_the_choice_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert sandbox.choose("auto") == "none"
    with pytest.raises(ConfigError, match="but bwrap: No permissions to create new namespace;"):
        sandbox.choose("bubblewrap")


def test_what_works_is_remembered_and_what_does_not_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    needs_bubblewrap()
    (note,) = tmp_path.glob("autoresearch-wall-*")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions'; exit 1\n")
    fake.chmod(0o755)
    real = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert sandbox.problem() == sandbox.problem() == "No permissions"  # another bwrap
    monkeypatch.setenv("PATH", real)
    assert sandbox.problem() == ""
    os.utime(note, (0, 0))
    assert not sandbox.is_known(note)
    sandbox.remember(other := note.with_name(note.name[:-16] + "f" * 16))
    assert [*tmp_path.glob("autoresearch-wall-*")] == [other]


@pytest.mark.parametrize(
    ("outside", "why"),
    [(True, "CUDA works outside of it, not inside: no CUDA"), (False, "")],
)
def test_a_wall_behind_which_no_gpu_works_is_none(
    outside: bool, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is only seen outside stands for a GPU: without the wall it is found."""
    needs_bubblewrap()
    gpu = tmp_path / "gpu"
    if outside:
        gpu.touch()
    found = f"import os; print('{sandbox.WORKS}' if os.path.exists('{gpu}') else 'no CUDA')"
    monkeypatch.setattr(sandbox, "PROBE", found)
    monkeypatch.setattr(sandbox, "devices", lambda: ["/dev/null"])
    monkeypatch.setattr(sandbox, "proof", lambda: tmp_path / "note")
    assert sandbox.problem() == why
    assert (tmp_path / "note").exists() is not outside


# ---- behind the wall -----------------------------------------------------------------------------

SPY = """
import ctypes, json, os, socket, struct, sys, sysconfig
from pathlib import Path
secret, scratch = map(Path, sys.argv[1:])

def attempt(what):
    try:
        return what()
    except OSError as error:
        return f"{type(error).__name__}"

def rights():
    version, mine = struct.pack("Ii", 0x20080522, 0), bytearray(24)
    where = (ctypes.c_char * 24).from_buffer(mine)
    assert ctypes.CDLL(None).capget(version, where) == 0
    return struct.unpack("6I", mine)

print(json.dumps({
    "secret": attempt(secret.read_text),
    "beside": attempt(lambda: os.listdir(secret.parent)),
    "users": attempt(lambda: Path("/etc/passwd").read_text()),
    "home": attempt(lambda: os.listdir(Path(sys.argv[1]).home())),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "links": os.listdir("/sys/class/net") and [name for _, name in socket.if_nameindex()],
    "network": attempt(lambda: socket.create_connection(("1.1.1.1", 53), 2)),
    "unix": attempt(lambda: os.listdir("/run")),
    "system": attempt(lambda: Path("/usr/mark").write_text("x")),
    "python": attempt(lambda: Path(sys.prefix, "mark").write_text("x")),
    "prose": os.listdir(Path(sysconfig.get_paths()["stdlib"], "pydoc_data")),
    "scratch": attempt(lambda: (scratch / "mark").write_text("x")),
    "program": attempt(lambda: (scratch / "train.py").write_text("x")),
    "root": attempt(lambda: Path("/mark").write_text("x")),
    "devices": attempt(lambda: Path("/dev/mark").write_text("x")),
    "unhidden": ctypes.CDLL(None).umount2(sysconfig.get_paths()["stdlib"].encode() + b"/test", 0),
    "inner wall": ctypes.CDLL(None).unshare(0x10000000),
    "rights": rights(),
    "room": [fs.f_blocks * fs.f_frsize for fs in map(os.statvfs, ("/tmp", "/dev/shm", scratch))],
    "host": socket.gethostname(),
    "environment": sorted(os.environ),
}))
"""


@pytest.fixture(scope="module", params=[False, True], ids=["without GPUs", "beside GPUs"])
def gpus(request: pytest.FixtureRequest) -> Iterator[bool]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(sandbox, "devices", lambda: ["/dev/null"])
        yield request.param


@pytest.fixture(scope="module")
def spied(gpus: bool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program finds that looks around behind bubblewrap."""
    needs_bubblewrap()
    root = tmp_path_factory.mktemp("campaign")
    scratch = root / "scratch"
    scratch.mkdir()
    (root / "secret").write_text("validation text")
    (scratch / "train.py").write_text("")
    argv = (sys.executable, "-P", "-c", SPY, str(root / "secret"), str(scratch))
    command = sandbox.command("bubblewrap", argv, scratch, threads=1)
    done = subprocess.run(command.argv, env=command.env, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert os.listdir(scratch) == ["train.py"]  # nothing comes out
    return found


def test_nothing_of_the_campaign_and_the_user_can_be_read(spied: dict[str, Any]) -> None:
    assert spied["secret"] == "FileNotFoundError"
    assert spied["beside"] == ["scratch"]
    assert spied["users"] == "FileNotFoundError"
    assert spied["home"] == ["train.py"]  # the scratch folder


def test_what_is_hidden_is_what_the_demos_text_is_made_of() -> None:
    prepare = Path(__file__).parents[2] / "train" / "prepare.py"
    line = next(ln for ln in prepare.read_text().splitlines() if ln.startswith("FOLDERS = "))
    assert ast.literal_eval(line.partition(" = ")[2]) == sandbox.PROSE


def test_the_demos_text_cannot_be_read_from_python_itself(spied: dict[str, Any]) -> None:
    assert spied["prose"] == []


def test_there_is_no_network_and_no_other_process(spied: dict[str, Any], gpus: bool) -> None:
    assert spied["links"] == ["lo"]
    assert spied["network"] == "OSError"
    assert spied["unix"] == "FileNotFoundError"
    assert spied["processes"] == (2 if gpus else 0)  # bubblewrap's own, and the program


def test_only_the_scratch_folder_can_be_written(spied: dict[str, Any]) -> None:
    assert spied["scratch"] == 1
    for place in ("system", "python", "program", "root", "devices"):
        assert spied[place] == "OSError", place


NODES = """
import os
for path in ("/dev/null", "/dev/full", "/dev/urandom"):
    for change in (lambda: os.chmod(path, 0o600), lambda: os.utime(path, ns=(1, 1))):
        try:
            change()
        except OSError:
            print("kept")
with open("/dev/null", "w") as null:
    null.write("used")
"""


def test_a_program_uses_devices_and_leaves_nothing_in_them(tmp_path: Path) -> None:
    """Root, who owns them, must have been launched."""
    needs_bubblewrap()
    command = sandbox.command("bubblewrap", (sys.executable, "-c", NODES), tmp_path, threads=1)
    launched = kernel.launch(
        command.argv, command.env, signal.SIGKILL, file_bytes=1 << 30, stdout=subprocess.PIPE
    )
    said, _ = launched.communicate()
    assert launched.returncode == 0
    assert said.split() == [b"kept"] * 6


@pytest.mark.parametrize(
    ("release", "apart"),
    [("4.18.0-553.el8", False), ("5.13.9", False), ("5.14.0-427.el9", True), ("6.8.0", True)],
)
def test_processes_are_counted_apart_behind_a_wall_of_newer_kernels(
    release: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = os.uname_result(("Linux", "node", release, "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: facts)
    assert sandbox.counts_apart("bubblewrap") is apart
    assert not sandbox.counts_apart("none")


def test_what_it_writes_is_bounded_and_lies_in_memory(spied: dict[str, Any]) -> None:
    assert spied["room"] == [sandbox.TEMPORARY_BYTES] * 3


def test_a_program_has_no_rights_even_if_root_runs_it(spied: dict[str, Any]) -> None:
    assert spied["rights"] == [0] * 6
    assert spied["unhidden"] == spied["inner wall"] == -1


def test_no_more_of_the_environment_than_without_a_wall(spied: dict[str, Any]) -> None:
    allowed = sandbox.environment(os.environ, SCRATCH, 1)
    assert set(spied["environment"]) <= {*allowed, "PWD"}


def test_a_compiler_that_a_module_brought_is_seen_and_a_home_with_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("module", "home"):
        (tmp_path / root / "bin").mkdir(parents=True)
        (tmp_path / root / "secret").touch()
    compiler, own = tmp_path / "module" / "bin" / "gcc", tmp_path / "home" / "bin" / "clang"
    for path in (compiler, own):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:{own.parent}", prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/home:.")
    assert str(tmp_path / "module") in sandbox.software()
    assert str(tmp_path / "home") not in sandbox.software()
    assert "." not in sandbox.software()
    needs_bubblewrap()
    script = 'gcc && test ! -e "$0"'
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    argv = ("sh", "-c", script, str(tmp_path / "home" / "secret"))
    command = sandbox.command("bubblewrap", argv, scratch, threads=1)
    assert subprocess.run(command.argv, env=command.env, check=False).returncode == 0


def test_a_walls_programs_end_by_signals_as_others_do(tmp_path: Path) -> None:
    """Seen in exit codes: 128 and the signal's number."""
    if sandbox.problem():
        pytest.skip("needs bubblewrap: ./scripts/test --slurm")
    argv = (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)")
    command = sandbox.command("bubblewrap", argv, tmp_path, threads=1)
    done = subprocess.run(command.argv, env=command.env, capture_output=True, check=False)
    assert command.temporary
    assert done.returncode == 128 + 11
