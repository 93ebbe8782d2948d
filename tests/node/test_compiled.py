"""What is handed on between attempts: to the same program in the same part, and nobody else."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from nodes import PROGRAM, Campaign
from walls import needs_bubblewrap

from autoresearch.layout import Layout
from autoresearch.node import compiled, kernel, sandbox
from autoresearch.node.compiled import PARTS, Compiled, Key

WALLS = (sandbox.NONE, sandbox.BUBBLEWRAP)


def in_memory(content: bytes = b"code", *, is_sealed: bool = True) -> int:
    descriptor = kernel.memory_file("compiled")
    os.write(descriptor, content)
    if is_sealed:
        kernel.seal(descriptor)
    return descriptor


def is_open(descriptor: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def work_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in compiled.environment(root).items():
        monkeypatch.setenv(name, folder)


def fill(root: Path) -> dict[str, bytes]:
    files = {"inductor/a/kernel.so": b"\x7fELF" * 1000, "triton/b.json": b"{}", "inductor/e": b""}
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return files


def is_packed() -> bool:
    descriptor = kernel.memory_file("compiled")
    compiled.pack(descriptor)
    size, is_sealed = os.fstat(descriptor).st_size, kernel.is_sealed(descriptor)
    os.close(descriptor)
    assert is_sealed == (size > 0)
    return is_sealed


# ---- packing -----------------------------------------------------------------------------------


def test_what_is_packed_in_one_folder_is_unpacked_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(tmp_path / "one")
    work_in(tmp_path / "one", monkeypatch)
    descriptor = kernel.memory_file("compiled")
    compiled.pack(descriptor)
    assert kernel.is_sealed(descriptor)
    work_in(tmp_path / "two", monkeypatch)
    os.lseek(descriptor, 0, os.SEEK_SET)
    compiled.unpack([descriptor])
    assert {name: (tmp_path / "two" / name).read_bytes() for name in files} == files
    assert not is_open(descriptor)


def test_nothing_is_packed_where_nothing_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_in(tmp_path / "none", monkeypatch)
    assert not is_packed()


def test_too_much_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    work_in(tmp_path, monkeypatch)
    monkeypatch.setattr(compiled, "CONTENTS", 4001)
    assert not is_packed()
    monkeypatch.setattr(compiled, "CONTENTS", 4002)
    assert is_packed()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(30)])
def test_what_is_damaged_is_left_alone(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_in(tmp_path / "two", monkeypatch)
    compiled.unpack([in_memory(content)])
    assert not list(tmp_path.rglob("*.so"))


def test_nothing_is_unpacked_beside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = kernel.memory_file("compiled")
    with os.fdopen(os.dup(descriptor), "wb") as file, ZipFile(file, "w") as archive:
        archive.writestr("../beside", "")
    work_in(tmp_path / "two", monkeypatch)
    compiled.unpack([descriptor])
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


# ---- the referee's shelf -----------------------------------------------------------------------


@pytest.fixture
def shelf() -> Iterator[Compiled]:
    shelf = Compiled()
    yield shelf
    for key in list(shelf.kept):
        shelf.drop(key)


def take(shelf: Compiled, key: Key, content: bytes, *, is_sealed: bool = True) -> bytes | None:
    """Offer a file; what the shelf has for the key then."""
    descriptor = in_memory(content, is_sealed=is_sealed)
    shelf.take(key, descriptor)
    os.close(descriptor)
    return held(shelf, key)


def held(shelf: Compiled, key: Key) -> bytes | None:
    descriptor = shelf.of(key)
    return None if descriptor is None else b"".join(kernel.pieces(descriptor))


def test_each_part_gets_what_it_left_last(shelf: Compiled) -> None:
    before = len(os.listdir("/proc/self/fd"))
    program, scorer = ("a", "program"), ("a", "scorer")
    assert held(shelf, program) is None
    assert take(shelf, program, b"1") == b"1"
    assert take(shelf, scorer, b"3") == b"3"
    assert take(shelf, program, b"2") == b"2"
    assert take(shelf, program, b"") == b"2"  # nothing new
    assert held(shelf, scorer) == b"3"
    assert held(shelf, ("b", "program")) is None
    assert len(os.listdir("/proc/self/fd")) == before + 2


def test_what_was_not_used_for_longest_is_dropped(shelf: Compiled) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(PARTS):
        take(shelf, (str(number), "program"), b"code")
    assert held(shelf, ("0", "program")) == b"code"
    assert take(shelf, ("last", "program"), b"code") == b"code"
    assert held(shelf, ("1", "program")) is None
    assert len(os.listdir("/proc/self/fd")) == before + PARTS


def test_what_no_harness_packs_is_not_kept(
    shelf: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BYTES", 10)
    key = ("a", "program")
    assert take(shelf, key, b"x" * 10, is_sealed=False) is None
    assert take(shelf, key, b"x" * 11) is None
    assert take(shelf, key, b"x" * 10) is not None


# ---- between attempts --------------------------------------------------------------------------

LEAVES = """
import os
from pathlib import Path
ROOT = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).parent
print("found", *sorted(path.name for path in ROOT.rglob("*.made")))

def leave(name):
    (ROOT / "inductor").mkdir(parents=True, exist_ok=True)
    (ROOT / "inductor" / f"{name}.made").write_text(name)

leave("at-start")
"""
READY = "    run.ready()\n"
LEAVING = LEAVES + PROGRAM.replace(READY, f"    leave('set-up')\n{READY}    leave('training')\n")


def found(log: str) -> list[list[str]]:
    """What each child has found: the program's, the scorers'."""
    return [line.split()[1:] for line in re.findall("^found.*$", log, re.MULTILINE)]


@pytest.mark.parametrize("kind", WALLS)
def test_the_next_attempt_finds_what_the_last_one_had_when_it_was_ready(
    kind: str, tmp_path: Path
) -> None:
    needs_bubblewrap(kind)
    campaign = Campaign(Layout(tmp_path / "campaign"), sandbox=kind)
    campaign.freeze()
    attempts = [campaign.queue(LEAVING, seed=seed) for seed in (1, 2)]
    attempts += [campaign.queue(f"{LEAVING}# another\n"), campaign.queue(LEAVING, seed=3)]
    campaign.run()
    results = [campaign.result(attempt) for attempt in attempts]
    assert all(result.bpb is not None for result in results), results
    first, second, other, third = [found(campaign.log(attempt)) for attempt in attempts]
    assert first == other == [[], [], []]
    # With a budget in tokens nobody waits for scorers before the start: theirs is not kept.
    assert second == third == [["at-start.made", "set-up.made"], [], []]


COMPILING = PROGRAM.replace("return Model(config)", "return torch.compile(Model(config))").replace(
    READY,
    """\
    x, y = run.synthetic(config.batch)
    nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
    model.zero_grad()
    from torch._dynamo.utils import counters
    print("found", counters["inductor"]["fxgraph_cache_hit"])
    run.ready()
""",
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WALLS)
def test_torch_compiles_once(kind: str, tmp_path: Path) -> None:
    needs_bubblewrap(kind)
    campaign = Campaign(Layout(tmp_path / "campaign"), sandbox=kind)
    campaign.limits = campaign.limits.__class__(setup_seconds=500, score_seconds=500)
    campaign.freeze()
    attempts = [campaign.queue(COMPILING, seed=seed) for seed in (1, 2)]
    campaign.run()
    assert all(campaign.result(attempt).bpb is not None for attempt in attempts)
    [[first]], [[second]] = [found(campaign.log(attempt)) for attempt in attempts]
    assert (int(first), int(second) > 0) == (0, True)
