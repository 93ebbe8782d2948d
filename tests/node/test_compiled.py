"""What is handed on between attempts: to the same program in the same part, and nobody else."""

import os
import re
from pathlib import Path
from zipfile import ZipFile

import pytest
from nodes import PROGRAM, Campaign
from walls import needs_bubblewrap

from autoresearch.layout import Layout
from autoresearch.node import compiled, kernel, sandbox
from autoresearch.node.compiled import PARTS, Compiled

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


# ---- packing -----------------------------------------------------------------------------------


def test_what_is_packed_in_one_folder_is_unpacked_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(tmp_path / "one")
    work_in(tmp_path / "one", monkeypatch)
    [descriptor] = compiled.pack()
    assert kernel.is_sealed(descriptor)
    work_in(tmp_path / "two", monkeypatch)
    copy = kernel.sealed_copy(descriptor)
    compiled.unpack([copy])
    assert {name: (tmp_path / "two" / name).read_bytes() for name in files} == files
    assert not is_open(copy)
    os.close(descriptor)


def test_nothing_is_packed_where_nothing_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_in(tmp_path / "none", monkeypatch)
    assert compiled.pack() == ()


def test_too_much_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    work_in(tmp_path, monkeypatch)
    monkeypatch.setattr(compiled, "CONTENTS", 4001)
    assert compiled.pack() == ()
    monkeypatch.setattr(compiled, "CONTENTS", 4002)
    [descriptor] = compiled.pack()
    os.close(descriptor)


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


def test_each_part_gets_what_it_left_last() -> None:
    shelf = Compiled()
    first, second, other = in_memory(b"1"), in_memory(b"2"), in_memory(b"3")
    assert shelf.of(("a", "program")) is None
    assert shelf.take(("a", "program"), [first])
    assert shelf.take(("a", "scorer"), [other])
    assert shelf.take(("a", "program"), [second])
    assert shelf.take(("a", "program"), [])  # nothing new
    assert shelf.of(("a", "program")) == second
    assert shelf.of(("a", "scorer")) == other
    assert shelf.of(("b", "program")) is None
    assert not is_open(first)
    for descriptor in (second, other):
        os.close(descriptor)


def test_what_was_not_used_for_longest_is_dropped() -> None:
    shelf = Compiled()
    given = {str(number): in_memory() for number in range(PARTS)}
    for name, descriptor in given.items():
        shelf.take((name, "program"), [descriptor])
    shelf.of(("0", "program"))
    last = in_memory()
    shelf.take(("last", "program"), [last])
    assert shelf.of(("1", "program")) is None
    assert not is_open(given["1"])
    kept = [last, *(descriptor for name, descriptor in given.items() if name != "1")]
    assert all(map(is_open, kept))
    for descriptor in kept:
        os.close(descriptor)


def test_what_no_harness_packs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, key = Compiled(), ("a", "program")
    (tmp_path / "file").write_bytes(b"")
    reader, writer = os.pipe()
    os.close(writer)
    monkeypatch.setattr(compiled, "BYTES", 10)
    for wrong in (
        [in_memory(is_sealed=False)],
        [in_memory(b"x" * 11)],
        [in_memory(), in_memory()],
        [os.open(tmp_path / "file", os.O_RDONLY)],
        [reader],
    ):
        assert not shelf.take(key, wrong)
        assert not any(map(is_open, wrong))
        assert shelf.of(key) is None


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
