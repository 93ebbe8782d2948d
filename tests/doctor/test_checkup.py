"""What the checkup sees of a node, and that any Python can run it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from walls import needs_bubblewrap

from autoresearch.cluster.environment import SECRET, SECRET_VALUE
from autoresearch.doctor import checkup
from autoresearch.doctor.checkup import Checkup, tried, wrong_with_links

SCRIPT = Path(checkup.__file__)
REQUEST = {
    "data": "/nowhere",
    "secret": SECRET.pattern,
    "url": SECRET_VALUE.pattern,
    "machine": "127.0.0.1",
    "host": "127.0.0.1",
    "port": 9,
}


def run(folder: Path, *prefix: str, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [*prefix, sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(
        argv, env=os.environ | more, capture_output=True, text=True, check=False, timeout=120
    )


def test_an_old_python_can_read_it() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_it_needs_the_standard_library_alone(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    (tmp_path / "reply.json").write_text("{}")
    isolated = [sys.executable, "-I", "-S", str(SCRIPT), str(tmp_path)]
    subprocess.run(isolated, check=True, timeout=120)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["complete"]
    assert facts["python"]["value"]["version"][:2] == list(sys.version_info[:2])
    assert set(facts) == {*checkup.LOOKS, "complete"}


def test_it_greets_and_notices_the_answer(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    (tmp_path / "reply.json").write_text("{}")
    assert run(tmp_path, SLURMD_NODENAME="n7").returncode == 0
    assert json.loads((tmp_path / "hello.json").read_text())["host"] == "n7"
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert 0 <= facts["reply"]["value"] < 30
    assert facts["numpy"]["value"]["version"]
    assert facts["torch"]["value"]["cuda"] in (True, False)


def test_an_answer_that_never_comes_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "WAIT_SECONDS", 0.2)
    assert Checkup(tmp_path, REQUEST).reply() is None


def test_a_folder_that_is_not_there_is_its_own_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path / "hidden")
    assert done.returncode == checkup.UNSEEN
    assert "No such file" in done.stderr


def test_a_look_that_fails_says_why(tmp_path: Path) -> None:
    fact = tried(Checkup(tmp_path, REQUEST), "data")
    assert fact["error"].startswith("FileNotFoundError: ")
    assert "/nowhere/manifest.json" in fact["error"]


def test_a_broken_import_ends_with_the_programs_last_words(tmp_path: Path) -> None:
    here = Checkup(tmp_path, REQUEST)
    with pytest.raises(RuntimeError, match="No module named 'nonesuch'"):
        here.imported("import nonesuch")
    with pytest.raises(RuntimeError, match="exit -6"):
        here.imported("import os; os.abort()")


def test_keys_are_named_but_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("http_proxy", "http://me:mine@proxy:3128")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert Checkup(tmp_path, REQUEST).secrets() == ["WANDB_API_KEY", "http_proxy"]


def test_links_do_what_they_should_here(tmp_path: Path) -> None:
    assert wrong_with_links(tmp_path) == ""
    assert wrong_with_links(tmp_path) == ""  # what an earlier look has left does not count


def test_a_file_system_whose_names_can_be_taken_twice_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        Path(target).unlink(missing_ok=True)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert wrong_with_links(tmp_path) == "a name can be taken twice"


def test_a_file_system_that_copies_instead_of_linking_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", lambda _, target: Path(target).write_text("x"))
    assert wrong_with_links(tmp_path) == "a file with two names counts 1"


def test_data_is_compared_with_its_manifest(tmp_path: Path) -> None:
    files = {"a.bin": {"bytes": 3}, "b.bin": {"bytes": 3}, "c.bin": {"bytes": 3}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "b.bin").write_bytes(b"ab")
    found = Checkup(tmp_path, {"data": str(tmp_path)}).data()
    assert found["wrong"] == ["b.bin", "c.bin"]
    assert len(found["sha256"]) == 64


def test_the_tightest_bound_on_memory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    assert Checkup(tmp_path, {}).memory() == {"bytes": 100 << 20, "by": "Slurm"}
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "50")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert Checkup(tmp_path, {}).memory() == {"bytes": 50 << 20, "by": "Slurm"}
    monkeypatch.setattr(checkup, "group_limits", lambda: [1 << 40, 1 << 20])
    assert Checkup(tmp_path, {}).memory() == {"bytes": 1 << 20, "by": "the control group"}


def test_a_key_is_looked_for_in_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    here = Checkup(tmp_path, {"machine": "api.wandb.ai"})
    assert "error" in tried(here, "key")
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password 0123456789\n")
    netrc.chmod(0o600)
    assert here.key()
    assert not Checkup(tmp_path, {"machine": "example.org"}).key()


def test_what_the_kernel_offers(tmp_path: Path) -> None:
    here = Checkup(tmp_path, REQUEST)
    assert here.sealing()
    assert 1 <= here.cores() <= (os.cpu_count() or 1)
    assert here.disk()["free"] > 0
    clock = here.clock()
    assert clock["before"] - 1 < clock["stamp"] < clock["after"] + 1
    assert here.internet()  # the discard port of this machine: nobody listens


def test_a_sandbox_that_works_is_no_problem(tmp_path: Path) -> None:
    needs_bubblewrap()
    assert Checkup(tmp_path, REQUEST).sandbox() == ""
