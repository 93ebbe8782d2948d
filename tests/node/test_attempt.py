"""Whole attempts by real pilots: good programs are scored, bad ones fail by name, all go on.

Two campaigns run once for the whole file. `zoo` holds every kind of bad program between good ones
and does without the second scorer to save time; `judged` has the full protocol. Each is run by
programs as the user has them, and by programs behind bubblewrap: what becomes of them is the same.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from nodes import LIMITS, PROGRAM, SCORING, Campaign
from walls import needs_bubblewrap

from autoresearch.experiment import Attempt, Budget, Failure, Result, Split
from autoresearch.hardware import gpus_here
from autoresearch.layout import Layout
from autoresearch.node import sandbox
from autoresearch.settings import Tier

LOOP = "    for x, y in run.batches(config.batch):\n"
LAST = "        run.log(loss=loss, progress=run.progress)\n"


def with_(old: str, new: str) -> str:
    """The good program with one thing changed."""
    assert old in PROGRAM
    return PROGRAM.replace(old, new)


def in_training(line: str) -> str:
    return with_(LAST, f"{LAST}        {line}\n")


def after_training(line: str) -> str:
    return f"{PROGRAM}    {line}\n"


AHEAD = with_(
    "before = torch.cat([x[:, :1], x[:, :-1]], dim=1)",
    "before = torch.cat([x[:, 1:], x[:, -1:]], dim=1)",
)

# A scorer that calls its losses 2 % smaller than they are.
FLATTERER = """
import sys
if sys.modules["__main__"].__file__.endswith("harness.py"):
    true = nn.functional.cross_entropy
    nn.functional.cross_entropy = lambda *a, **k: true(*a, **k) * 0.98
"""

DAEMON = ("sleep", f"600.{os.getpid()}")
WALLS = (sandbox.NONE, sandbox.BUBBLEWRAP)

ZOO: dict[str, tuple[str, Failure, str]] = {
    "does not compile": (with_("def build", "deff build"), Failure.crashed, "SyntaxError"),
    "raises": (in_training("1 / 0"), Failure.crashed, "train.py line 38: ZeroDivisionError"),
    "exits": (in_training("raise SystemExit(0)"), Failure.crashed, "return, but called exit(0)"),
    "wrong shape": (
        with_("c.vocabulary)\n    def forward", "c.vocabulary + 1)\n    def forward"),
        Failure.crashed,
        "logits should be (B, T, V) = (4, 16, 32), but were (4, 16, 33)",
    ),
    "not a number": (
        in_training("loss = loss * float('nan'); run.log(loss=loss); run.flush()"),
        Failure.diverged,
        "the loss is nan",
    ),
    "prints a gigabyte": (
        in_training("[print('x' * (1 << 20)) for _ in range(1024)]"),
        Failure.crashed,
        "should print at most 1 MB",
    ),
    "takes all memory": (
        in_training("keep = [torch.ones(1 << 24) for _ in range(1 << 10)]"),
        Failure.out_of_memory,
        "should hold at most 2 GB",
    ),
    "is never ready": (
        with_("    run.ready()\n", "    return\n"),
        Failure.crashed,
        "train() should call run.ready() once, but never called it",
    ),
    "is ready twice": (
        with_("    run.ready()\n", "    run.ready()\n    run.ready()\n"),
        Failure.crashed,
        "train() should call run.ready() once, but called it twice",
    ),
    "hangs at the end": (after_training("while True: pass"), Failure.overran, "within 2 s of the"),
    "delivers what it can still change": (
        with_("def build", "import sys\nsys.modules['__main__'].seal = print\n\ndef build"),
        Failure.disqualified,
        "weights should come as a sealed file",
    ),
}


# Its model imports something in its third call, when a scorer has its weights.
LATE = """
built = build

def build(config):
    model, calls = built(config), []
    def late(*_):
        calls.append(1)
        if len(calls) > 2:
            import decimal
    model.register_forward_hook(late)
    return model
"""


def make(root: Path, **changes: object) -> Campaign:
    made = Campaign(Layout(root / "campaign"), **changes)  # type: ignore[arg-type]
    made.freeze()
    return made


class Ran:
    """A campaign after its pilot has gone home."""

    def __init__(self, campaign: Campaign, attempts: dict[str, Attempt], printed: str) -> None:
        self.campaign = campaign
        self.attempts = attempts
        self.printed = printed

    def result(self, name: str) -> Result:
        return self.campaign.result(self.attempts[name])

    def log(self, name: str) -> str:
        return self.campaign.log(self.attempts[name])


def run_two(campaign: Campaign) -> str:
    """Two pilots to their ends; what they printed."""
    pilots = [campaign.start(name) for name in ("p1", "p2")]
    return "".join(pilot.communicate(timeout=500)[1] for pilot in pilots)


def wall(request: pytest.FixtureRequest) -> str:
    """The sandbox that a test's campaign has."""
    kind: str = request.param
    needs_bubblewrap(kind)
    return kind


@pytest.fixture(
    scope="module",
    params=[sandbox.NONE, pytest.param(sandbox.BUBBLEWRAP, marks=pytest.mark.slow)],
)
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    scoring = replace(SCORING, challenges=0)
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}  # as the cluster starts pilots
    root, kind = tmp_path_factory.mktemp("zoo"), wall(request)
    campaign = make(root, scoring=scoring, environment=environment, sandbox=kind)
    attempts = {}
    for name, (program, _, _) in ZOO.items():
        budget = Budget(seconds=0.5) if "hangs" in name else None
        attempts[name] = campaign.queue(program, budget=budget)
    attempts["leaves a daemon"] = campaign.queue(
        after_training(f"import subprocess as s; s.Popen({DAEMON}, start_new_session=True)")
    )
    return Ran(campaign, attempts, run_two(campaign))


@pytest.fixture(scope="module", params=WALLS)
def judged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ran]:
    campaign = make(tmp_path_factory.mktemp("judged"), sandbox=wall(request))
    os.environ["WANDB_API_KEY"] = "secret"
    queue: Callable[..., Attempt] = campaign.queue
    attempts = {
        "first": queue(overrides={"lr": 0.05, "width": 8}),
        "again": queue(overrides={"lr": 0.05, "width": 8}, number=2),
        "timed": queue(budget=Budget(seconds=1.0)),
        "tested": queue(after_training("import os; print(sorted(os.environ))"), split=Split.test),
        "looks ahead": queue(AHEAD),
        "flatters itself": queue(PROGRAM + FLATTERER),
    }
    yield Ran(campaign, attempts, run_two(campaign))
    del os.environ["WANDB_API_KEY"]


@pytest.mark.parametrize("name", ZOO)
def test_a_bad_program_is_a_named_failure_with_a_one_line_cause(zoo: Ran, name: str) -> None:
    _, failure, reason = ZOO[name]
    result = zoo.result(name)
    assert (result.failure, reason in result.reason) == (failure, True), result.reason
    assert result.bpb is None
    assert "\n" not in result.reason


def test_a_program_that_leaves_a_daemon_is_scored_and_the_daemon_is_gone(zoo: Ran) -> None:
    assert zoo.result("leaves a daemon").bpb is not None
    line = "\0".join((*DAEMON, "")).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert path.read_bytes() != line


def test_no_bad_program_disturbs_its_pilot(zoo: Ran) -> None:
    assert zoo.printed == ""
    assert os.listdir(zoo.campaign.layout.queue("screen")) == []


def test_no_process_of_an_attempt_writes_bytecode_beside_the_frozen_code(zoo: Ran) -> None:
    assert list(zoo.campaign.layout.node.rglob("*.pyc")) == []


def test_the_log_shows_the_traceback_and_the_ends_of_a_flood(zoo: Ran) -> None:
    assert "Traceback" in zoo.log("raises")
    assert "1 / 0" in zoo.log("raises")
    flood = zoo.log("prints a gigabyte")
    assert "bytes left out" in flood
    assert len(flood) < 200_000


def test_time_is_accounted_for_even_in_failures(zoo: Ran) -> None:
    for name in zoo.attempts:
        result = zoo.result(name)
        assert result.seconds.occupied == pytest.approx(result.ended - result.started, abs=0.3)
    assert zoo.result("hangs at the end").seconds.train == pytest.approx(2.5, abs=0.5)


def test_the_same_experiment_gives_the_same_score_again(judged: Ran) -> None:
    first, again = judged.result("first"), judged.result("again")
    assert first.failure is None, first.reason
    assert first.bpb == again.bpb
    assert first.curve[-1][1:] == again.curve[-1][1:]


def test_a_result_says_everything_about_its_making(judged: Ran) -> None:
    campaign, result = judged.campaign, judged.result("first")
    assert result.bpb is not None
    assert 0 < result.bpb < 1.6  # 32 tokens of 3 bytes at random: 5 bits / 3 bytes
    assert (result.steps, result.tokens, result.attempt) == (157, 157 * 128, 1)
    assert result.parameters == {
        "vocabulary": 32,
        "context": 16,
        "width": 8,
        "lr": 0.05,
        "batch": 8,
    }
    assert result.weights == 2 * 32 * 8 + 8 * 32 + 32
    assert 50 << 20 < result.peak_memory < 2 << 30
    kind = campaign.sandbox
    assert (result.sandbox, result.protected) == (kind, kind == "bubblewrap")
    assert set(result.probes) == {
        "random_excess",
        "prefix_difference",
        "prefix_drift",
        "challenge_mean",
        "challenge_worst",
    }
    assert result.hashes["node"] == campaign.code
    assert result.hashes["manifest"] == campaign.cell(Budget(seconds=1)).data
    assert {"host", "name", "torch", "kind", "threads"} <= set(result.device)
    assert min(result.seconds.setup, result.seconds.train, result.seconds.score) > 0
    assert result.curve[0][2] > result.curve[-1][2]


def test_a_budget_in_seconds_lasts_that_long(judged: Ran) -> None:
    result = judged.result("timed")
    assert result.failure is None, result.reason
    assert 1.0 <= result.seconds.train < 3.0
    assert result.steps > 10


def test_the_test_split_is_another_text(judged: Ran) -> None:
    tested = judged.result("tested")
    assert tested.failure is None
    assert tested.bpb != judged.result("first").bpb


def test_a_model_that_looks_ahead_is_disqualified(judged: Ran) -> None:
    result = judged.result("looks ahead")
    assert result.failure is Failure.disqualified
    assert "random rows' mean nats should be at least ln V = 3.4657, but were" in result.reason


def test_a_scorer_that_flatters_its_program_is_caught_by_the_challenge(judged: Ran) -> None:
    result = judged.result("flatters itself")
    assert result.failure is Failure.disqualified
    assert "challenged token" in result.reason


def test_a_scorer_that_imports_late_is_told_when_it_could_have(tmp_path: Path) -> None:
    needs_bubblewrap()
    campaign = make(tmp_path, sandbox=sandbox.BUBBLEWRAP)
    attempt = campaign.queue(PROGRAM + LATE)
    campaign.run()
    result = campaign.result(attempt)
    assert result.failure is Failure.crashed
    assert (
        "ModuleNotFoundError: No module named 'decimal'; the scorer opens no file" in result.reason
    )


def test_no_key_reaches_the_program(judged: Ran) -> None:
    environment = judged.log("tested")
    assert "PYTHONHASHSEED" in environment
    assert "WANDB" not in environment


@pytest.mark.parametrize("pilot", ["p1", "p2"])
def test_a_pilot_is_busy_almost_all_the_time(judged: Ran, pilot: str) -> None:
    results = [r for name in judged.attempts if (r := judged.result(name)).pilot == pilot]
    first, last = min(r.started for r in results), max(r.ended for r in results)
    assert sum(r.seconds.occupied for r in results) / (last - first) > 0.95


@pytest.mark.gpu
def test_a_gpu_trains_and_scores_in_its_own_cell(campaign: Campaign) -> None:
    campaign.tier = Tier(device=gpus_here()[0], threads=4, gpus=1)
    campaign.write_settings()
    attempts = [campaign.queue(budget=Budget(seconds=3.0)), campaign.queue(AHEAD)]
    campaign.run()
    result, ahead = map(campaign.result, attempts)
    assert result.failure is None, result.reason
    assert result.device["kind"] == "cuda"
    assert 3.0 <= result.seconds.train < 3.5
    assert 0 < result.peak_memory < 1 << 30
    assert abs(float(result.probes["challenge_mean"])) < 1e-6
    assert ahead.failure is Failure.disqualified


def test_weights_that_cannot_be_kept_cost_no_score(campaign: Campaign) -> None:
    campaign.keep_checkpoint = "all"
    campaign.write_settings()
    attempt, full = campaign.queue(), campaign.queue(seed=2)
    campaign.layout.attempt(full).mkdir()
    campaign.layout.checkpoint(full).symlink_to("/dev/full")
    campaign.run()
    kept = campaign.layout.checkpoint(attempt).read_bytes()
    assert campaign.result(attempt).bpb is not None
    assert campaign.result(attempt).hashes["weights"] == hashlib.sha256(kept).hexdigest()
    assert campaign.result(full).bpb is not None
    assert "the weights were not kept: No space left on device" in campaign.log(full)


def test_weights_that_are_gone_are_the_nodes_fault(campaign: Campaign) -> None:
    attempt = campaign.queue()
    campaign.layout.weights(attempt.experiment).symlink_to("/nowhere/weights.pt")
    campaign.run()
    assert campaign.result(attempt).failure is Failure.node_failed
    assert "should be the kept weights, but: No such file" in campaign.result(attempt).reason


# ---- nodes that do not fit -----------------------------------------------------------------------


def test_a_program_that_is_never_ready_is_a_set_up_timeout(campaign: Campaign) -> None:
    campaign.limits = replace(LIMITS, setup_seconds=4)
    campaign.write_settings()
    attempt = campaign.queue(with_("    run.ready()", "    while True: pass"))
    campaign.run()
    result = campaign.result(attempt)
    assert result.failure is Failure.setup_timeout
    assert result.reason.endswith("should be ready within 4 s, but was not")
    assert result.seconds.setup == pytest.approx(4, abs=1.5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "h100"}, "the device should be h100, but is"),
        ({"data": "0" * 64}, "the data manifest should be 000"),
        ({"software": "python 2.7"}, "the software should be python 2.7, but this node has"),
        ({"ruler": "x"}, "the ruler should be x, but"),
    ],
)
def test_a_node_of_another_kind_fails_once_and_goes_home(
    campaign: Campaign, change: dict[str, str], reason: str
) -> None:
    cell = replace(campaign.cell(Budget(tokens=1000)), **change)  # type: ignore[arg-type]
    first, second = campaign.queue(cell=cell), campaign.queue(seed=2, cell=cell)
    campaign.run()
    assert campaign.result(first).failure is Failure.node_failed
    assert reason in campaign.result(first).reason
    assert not campaign.layout.claim(second).exists()  # left for a node that can


def test_a_node_that_is_short_of_something_fails_once_and_goes_home(campaign: Campaign) -> None:
    first, second = campaign.queue(), campaign.queue(seed=2)
    pilot = campaign.start(prefix=("prlimit", "--nofile=20:20"))
    pilot.communicate(timeout=60)
    assert pilot.returncode == 0
    result = campaign.result(first)
    assert result.failure is Failure.node_failed
    assert result.reason.startswith("this node is short of something: Too many open files; look")
    assert not campaign.layout.claim(second).exists()


def test_damaged_data_fails_once_with_the_cure(campaign: Campaign) -> None:
    attempt, other = campaign.queue(), campaign.queue(seed=2)
    (campaign.data / "train-00000.bin").write_bytes(b"other")
    campaign.run()
    result = campaign.result(attempt)
    assert result.failure is Failure.node_failed
    assert "train-00000.bin should be what its manifest says" in result.reason
    assert not campaign.layout.claim(other).exists()


def test_a_program_that_is_not_what_was_frozen_is_not_run(campaign: Campaign) -> None:
    attempt = campaign.queue()
    campaign.layout.program(attempt.experiment).write_text(PROGRAM + "\n# changed\n")
    campaign.run()
    result = campaign.result(attempt)
    assert result.failure is Failure.node_failed
    assert "should have the SHA-256" in result.reason


def test_a_wall_changes_no_score(tmp_path: Path) -> None:
    needs_bubblewrap()
    scores = []
    for kind in WALLS:
        campaign = make(tmp_path / kind, sandbox=kind)
        attempt = campaign.queue()
        campaign.run()
        scores.append(campaign.result(attempt).bpb)
    assert scores[0] == scores[1] is not None
