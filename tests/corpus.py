"""The attacks of tests/attacks/: what each tries, how it must end, and real pilots to run them.

A program counts as contained if its attempt ends in a named failure, or it looks wrong before it
is run; it has got through if it has a score. `weaken` leaves a defence out of a campaign's own
frozen code, to show what it holds.
"""

import ast
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from nodes import LIMITS, TIER, Campaign, write_data

from autoresearch.experiment import Attempt, Budget, Result, Scalar
from autoresearch.inspection import inspect
from autoresearch.layout import Layout
from autoresearch.node import freeze
from autoresearch.program import parse
from autoresearch.settings import Scoring

FOLDER = Path(__file__).with_name("attacks")
SIZES = {"train": 8000, "validation": 20_000, "test": 4000}
SCORING = Scoring(rows=32, length=32, tokens=16_384)
NARROW = replace(LIMITS, memory_gb=0.8, processes=100, load_seconds=8, lookups=40_000)
INSPECTION = "inspection"  # how an attack ends that is seen before it runs
# A key ring of the session's own, as who logs in is given one.
JOIN = """
import ctypes, os, sys
keyctl = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, 250)
ctypes.CDLL(None).syscall(keyctl, 1, None)
os.execv(sys.argv[1], sys.argv[1:])
"""
LOGIN = (sys.executable, "-c", JOIN)
STORES = tuple(
    Path(f"{name}.pt")
    for name in ("/tmp/attack-weights", "/dev/shm/attack-weights", "/tmp/compiled/weights")
)
KEY = {"WANDB_API_KEY": "a key that no program should see"}

Edits = Sequence[tuple[str, str, str]]  # file below node/autoresearch/, old text, new text


@dataclass(frozen=True)
class Attack:
    """One program of the corpus, and what its header says."""

    name: str
    docstring: str
    text: str
    ends: str  # a Failure, or INSPECTION
    because: str  # a piece of the reason
    held_by: tuple[str, ...]  # defences that must all be left out to let it through
    seconds: float = 0.0  # of its budget; 0: a budget in tokens
    seeds: tuple[int, ...] = (1,)  # run one after the other; the last one counts
    beside_gpus: bool = False  # where there are some, programs see /proc; else it would find none

    @property
    def is_run(self) -> bool:
        return self.ends != INSPECTION


@cache
def attacks() -> tuple[Attack, ...]:
    return tuple(read(path) for path in sorted(FOLDER.glob("*.py")))


def read(path: Path) -> Attack:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    header = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in HEADER
    }
    values = {field: header[name] for name, field in HEADER.items() if name in header}
    return Attack(path.stem, ast.get_docstring(tree) or "", text, **values)


HEADER = {
    "ENDS": "ends",
    "BECAUSE": "because",
    "HELD_BY": "held_by",
    "SECONDS": "seconds",
    "SEEDS": "seeds",
    "BESIDE_GPUS": "beside_gpus",
}


def seen(attack: Attack) -> str:
    """What the static look says of it, in one line; "" if nothing."""
    return "; ".join(f"{remark.rule}: {remark.words}" for remark in inspect(attack.text))


# ---- running -----------------------------------------------------------------------------------


def run(
    chosen: Sequence[Attack],
    folder: Path,
    defences_left_out: Collection[str] = (),
    pilots: int = 2,
    sandbox: str = "bubblewrap",
) -> dict[str, Result]:
    """How each of them ends; those that are seen by the look are left out.

    What one seed leaves for the next has to meet it on one pilot, so these have one of their own.
    """
    results: dict[str, Result] = {}
    for is_paired, beside_gpus in product((False, True), repeat=2):
        part = [
            attack
            for attack in chosen
            if attack.is_run
            and (len(attack.seeds) > 1, attack.beside_gpus) == (is_paired, beside_gpus)
        ]
        if part:
            left_out = {*defences_left_out, *(("bare proc",) if beside_gpus else ())}
            campaign = make(folder / f"{is_paired}-{beside_gpus}", left_out, sandbox)
            results |= run_in(campaign, part, 1 if is_paired else pilots)
    return results


def run_in(campaign: Campaign, part: Sequence[Attack], pilots: int) -> dict[str, Result]:
    with queued(campaign, part) as attempts:
        work(campaign, pilots)
    return {name: campaign.result(attempt) for name, attempt in attempts.items()}


@contextmanager
def queued(campaign: Campaign, part: Sequence[Attack]) -> Iterator[dict[str, Attempt]]:
    """The attempts that count, by name; in the meantime there is something to steal and reach."""
    folder = campaign.layout.root.parent
    (folder / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    campaign.environment |= KEY | {"HOME": str(folder)}
    try:
        with listening() as port:
            yield {attack.name: queue(campaign, attack, port) for attack in part}
    finally:
        for path in STORES:  # what attacks leave on this machine where they can
            path.unlink(missing_ok=True)


def make(folder: Path, defences_left_out: Collection[str] = (), sandbox: str = "none") -> Campaign:
    campaign = Campaign(
        Layout(folder / "c"),
        limits=NARROW,
        tier=replace(TIER, device="auto"),
        scoring=SCORING,
        sandbox=sandbox,
    )
    if not campaign.data.exists():
        write_data(campaign.data, SIZES)
    campaign.freeze()
    for name in defences_left_out:
        weaken(campaign.layout.node, DEFENCES[name])
    campaign.code = freeze.node_hash(campaign.layout.node / "autoresearch")
    return campaign


def queue(campaign: Campaign, attack: Attack, port: int) -> Attempt:
    """The attempt that counts."""
    fields = known(attack.text)
    overrides: dict[str, Scalar] = {}
    overrides |= {"place": str(campaign.layout.root.parent)} if "place" in fields else {}
    overrides |= {"port": port} if "port" in fields else {}
    budget = Budget(seconds=attack.seconds) if attack.seconds else None
    attempts = [
        campaign.queue(attack.text, overrides, seed=seed, budget=budget) for seed in attack.seeds
    ]
    return attempts[-1]


def known(text: str) -> set[str]:
    config = next(
        node
        for node in parse(text).body
        if isinstance(node, ast.ClassDef) and node.name == "Config"
    )
    return {
        n.target.id
        for n in config.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


def work(campaign: Campaign, pilots: int) -> None:
    running = [campaign.start(f"p{number}", prefix=LOGIN) for number in range(pilots)]
    for pilot in running:
        _, printed = pilot.communicate(timeout=1200)
        if pilot.returncode:
            raise RuntimeError(printed)


@contextmanager
def listening() -> Iterator[int]:
    """Servers for programs to reach, if they can: one port's number for both."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port: int = tcp.getsockname()[1]
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(f"\0autoresearch-attack-{port}")
        unix.listen()
        yield port


# ---- defences ----------------------------------------------------------------------------------


def weaken(node: Path, edits: Edits) -> None:
    """Leave a part out of a campaign's frozen code."""
    for name, old, new in edits:
        path = node / "autoresearch" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (
            f"{name} should hold once, but holds {text.count(old)} times: {old}"
        )
        path.write_text(text.replace(old, new), encoding="utf-8")


QUESTIONS = "node/questions.py"
WALL, SCORE, CHILDREN = "node/sandbox.py", "node/scoring.py", "node/children.py"
ATTEMPT, KERNEL, LAUNCH = "node/attempt.py", "node/kernel.py", "node/launch.py"
DEFENCES: Mapping[str, Edits] = {
    # the score
    "random": [(SCORE, "if gains.sum() > LEAK_EVIDENCE:", "if False:")],
    "altered": [
        (SCORE, "if worst > scoring.prefix_tolerance:", "if False:"),
        (SCORE, "if abs(drift) > scoring.mean_tolerance:", "if False:"),
    ],
    "drift": [(SCORE, "if abs(drift) > scoring.mean_tolerance:", "if False:")],
    "challenge": [
        (SCORE, "if worst > scoring.token_tolerance:", "if False:"),
        (SCORE, "if abs(mean) > scoring.mean_tolerance:", "if False:"),
    ],
    "exact": [
        (
            SCORE,
            "recomputed = chosen + np.log(np.exp(-below).sum(axis=1, dtype=np.float64))",
            """total = logits.max(axis=1) + np.log(np.exp(-below).sum(axis=1, dtype=np.float64))
    recomputed = total - logits[each, plan.flat[asked.place, asked.targets_at]]""",
        )
    ],
    "hidden": [
        (
            SCORE,
            "sent = np.where(is_seen, rows[:, :-1], noise)",
            """each = np.arange(count)
    known = (rows[each, position + 1] + 1) % len(token_bytes)  # what the target is not
    noise[each, (position + 1) % scoring.length] = known
    sent = np.where(is_seen, rows[:, :-1], noise)""",
        )
    ],
    "range": [(SCORE, "if nats.min() < -1e-5:", "if False:")],
    "copies": [
        (
            KERNEL,
            'copy, at = memory_file("copy"), 0',
            """copy, at = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY), 0
    yield copy
    os.close(copy)
    return""",
        )
    ],
    "own tokens": [
        (
            ATTEMPT,
            "with sealed_copy(self.node.data.training, self.children.glance) as tokens:",
            "if tokens := self.node.data.training:",
        )
    ],
    "pause": [
        (ATTEMPT, "self.children.pause(other)", "pass"),
        (ATTEMPT, "self.children.resume(scorers[1])", "pass"),
    ],
    "sleep": [
        (CHILDREN, "if found == (True, child.slept):", "if found[0]:"),
        (CHILDREN, "if kernel.work(child.pids) != (True, child.slept):", "if False:"),
    ],
    "death": [
        (
            ATTEMPT,
            "self.children.kill(scorers[0])",
            "os.kill(scorers[0].process.pid, 9); self.children.alive.remove(scorers[0])",
        )
    ],
    # clock and data
    "clock": [(ATTEMPT, "budget.seconds + self.limits.grace_seconds", "budget.seconds + 60")],
    "sealed": [(ATTEMPT, "if not is_sealed(weights):", "if False:")],
    "before the start": [(ATTEMPT, 'if self.progress.stage == "setup":', "if True:")],
    "own shelf": [
        ("node/compiled.py", "with sealed_copy(descriptor) as copy:", "for copy in (descriptor,):")
    ],
    "seal of compiled code": [("node/compiled.py", "not is_sealed(descriptor) or ", "")],
    "seal": [("node/data.py", "        seal(descriptor)\n", "")],
    "loading": [(QUESTIONS, "time.monotonic() + seconds, slow", "time.monotonic() + 100, slow")],
    # the wall
    "files": [
        (WALL, "*flat(system()),", '*("--bind", "/", "/"),'),
        (WALL, "*flat(in_memory(path) for path in TEMPORARY),", ""),
        (WALL, '*("--remount-ro", "/dev", "--remount-ro", "/"),', ""),
        (WALL, "(*TEMPORARY, str(scratch))", "(str(scratch),)"),
    ],
    "own tmp": [
        (
            WALL,
            "*flat(in_memory(path) for path in TEMPORARY),",
            '*flat(("--bind", path, path) for path in TEMPORARY),',
        ),
        (WALL, "(*TEMPORARY, str(scratch))", "(str(scratch),)"),
        (LAUNCH, "if is_walled and os.geteuid() == 0:", "if False:"),  # else /dev/shm is read-only
    ],
    "read-only": [
        (
            WALL,
            '*flat(("--ro-bind", path, path) for path in software()),',
            '*flat(("--bind", path, path) for path in software()),',
        )
    ],
    "bare proc": [(WALL, "    if devices():\n", "    if True:\n")],
    "modes": [(WALL, 'flat(("--ro-bind-try", path, path) for path in machine_wide())', "()")],
    "boards": [(WALL, "*flat(map(shown_empty, boards()))", "")],
    "prose": [(WALL, "*flat(shown_empty(path) for path in prose()),", "")],
    "environment": [(WALL, "return {**kept, **home,", "return {**outer, **kept, **home,")],
    "network": [(WALL, '"pid", "net", "uts"', '"pid", "uts"')],
    "processes": [
        (WALL, '"ipc", "pid", "net"', '"ipc", "net"'),
        (WALL, '("--proc", "/proc", *seen,', '("--ro-bind", "/proc", "/proc",'),
        (WALL, "*flat(map(shown_empty, boards()))", ""),
    ],
    "watchers": [(CHILDREN, "self._see_that_it_watches_nothing(child)\n", "pass\n")],
    "calls": [(LAUNCH, "if not refuse_calls() and ", "if False and ")],
    "file locks": [(LAUNCH, "(6, 7, 37, 38, 1024,", "(1024,")],
    "lookups": [(LAUNCH, "if int(lookups):", "if False:")],
    # bounds
    "memory": [(CHILDREN, "if held > self.limits.memory_gb * 2**30:", "if False:")],
    "process count": [(CHILDREN, "if threads > self.limits.processes:", "if False:")],
    "output": [(CHILDREN, "if child.output.size > self.limits.output_mb * 2**20:", "if False:")],
}
