"""The story of one attempt: set up, train, score. Everything ends in a Result.

The referee owns the clock, the data and the score. The program trains in one process; two others,
which never train, only score: the first all rows, the second the challenge. They run train.py's
model too, so nothing any of them says is believed further than it is checked. Where weights lie
beside a frozen experiment, they are scored, and nothing trains.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoresearch.errors import UserError
from autoresearch.experiment import Experiment, Failure, Json, Result, Split
from autoresearch.hardware import is_fake
from autoresearch.layout import Layout, read_json
from autoresearch.node import device, sandbox, scoring
from autoresearch.node.children import Child, Children
from autoresearch.node.compiled import Compiled, Key
from autoresearch.node.data import Prepared, Tokens
from autoresearch.node.failure import AttemptFailed, SickNode
from autoresearch.node.freeze import node_hash
from autoresearch.node.inputs import identity, read_experiment, read_program, run_of
from autoresearch.node.kernel import is_sealed, pieces, sealed_copy
from autoresearch.node.pace import Pace
from autoresearch.node.progress import Claim, Progress, loss_of, numbers
from autoresearch.node.questions import Questions
from autoresearch.node.runlog import RunLog
from autoresearch.node.wire import Message, WireError
from autoresearch.settings import NodeSettings, Tier

HARNESS = (sys.executable, "-P", "-B", "-m", "autoresearch.node.harness")
COPIES = 4  # of the weights that must fit into a program's memory at once
LOAD_SPEED = 1 << 28  # bytes of weights a second, for which a scorer has time besides
DECISIVE = ("crown", "certify")  # purposes whose weights are kept, if not all are
PROGRAM, SCORER, CHALLENGED = "the program", "the scorer", "the second scorer"


class Held:
    """What the referee holds for all attempts: data, verified once, and the hash of our code."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError if the data is missing or damaged."""
        self.prepared = Prepared.open(directory)
        self.vocabulary = self.prepared.vocabulary
        self.code = node_hash()
        self.token_bytes = self.prepared.token_bytes()
        self.training = self.prepared.seal_training_tokens()
        self.compiled = Compiled()
        self.splits = {Split.validation: self.prepared.tokens(Split.validation)}

    def tokens(self, split: Split) -> Tokens:
        """The test split is not even opened unless certification asks for it."""
        if split not in self.splits:
            self.splits[split] = self.prepared.tokens(split)
        return self.splits[split]


@dataclass(frozen=True)
class Node:
    """What stays the same for all attempts of one pilot.

    `check` raises what ends an attempt from outside; `spare` names processes that are not its own.
    """

    layout: Layout
    output: Layout  # where results go: the campaign, or a folder of this node
    settings: NodeSettings
    tier: Tier
    tier_name: str
    pilot: str
    scratch: Path
    data: Held
    check: Callable[[], None]
    spare: Callable[[], set[int]]

    @property
    def torch_device(self) -> str:
        return "cuda" if self.tier.gpus and not is_fake(self.tier.device) else "cpu"


def run(node: Node, claim: Claim, log: RunLog) -> tuple[Result, bool]:
    """Make one attempt. The second value is False if the node is not fit for the next one."""
    progress = Progress.begin(claim, node.pilot, node.settings.sandbox)
    try:
        trial = Trial(node, progress, log)
        with tempfile.TemporaryDirectory(dir=node.scratch, ignore_cleanup_errors=True) as scratch:
            bpb = trial.run(Path(scratch))
        return progress.finished(bpb), trial.children.is_clean
    except WireError as error:
        tampered = AttemptFailed(Failure.disqualified, f"a message was tampered with: {error}")
        return progress.failed(tampered), True
    except AttemptFailed as failed:
        return progress.failed(failed), not isinstance(failed, SickNode)
    except (FileNotFoundError, ProcessLookupError) as error:  # made by what ends just then
        gone = AttemptFailed(Failure.crashed, f"what the referee looked at was gone: {error}")
        return progress.failed(gone), True
    except OSError as error:  # nothing a program sends can raise one: room, processes, descriptors
        what = f"this node is short of something: {error.strerror or error}"
        short = SickNode(f"{what}; look at its memory, its scratch folder and `ulimit -a`")
        return progress.failed(short), False


class Trial:
    """One attempt in the making."""

    def __init__(self, node: Node, progress: Progress, log: RunLog) -> None:
        self.node = node
        self.limits = node.settings.limits
        self.scoring = node.settings.scoring
        self.progress = progress
        self.runlog = log
        self.experiment = read_experiment(node.layout, progress.claim)
        self.pace = Pace(self.experiment.cell.device)
        self.text = read_program(node.layout, self.experiment)
        progress.note(
            hashes={
                "experiment": self.experiment.id,
                "program": self.experiment.candidate.program,
                "node": node.data.code,
                "manifest": node.data.prepared.id,
            },
            device=device.host_facts(),
        )
        given = os.fstat(node.data.training).st_size
        self.remark = ""
        self.warm: set[str] = set()  # scorers that are ready
        self.children = Children(self.limits, node.check, node.spare, self.take_log, given)

    @property
    def in_seconds(self) -> bool:
        return self.experiment.cell.budget.seconds is not None

    def run(self, scratch: Path) -> float:
        """The score in bits per byte. Raises AttemptFailed."""
        try:
            with self.children:
                check_cell(self.node, self.experiment)
                tokens = self.node.data.tokens(self.experiment.split)
                scoring.original_rows(
                    tokens, self.scoring
                )  # too little text: say so before training
                if self.node.layout.weights(self.experiment.id).is_symlink():
                    return self.score_again(scratch, tokens)
                return self.train_and_score(scratch, tokens)
        except UserError as error:  # no data, no sandbox: so it will be for the next attempt
            raise SickNode(str(error)) from error
        finally:
            path = self.node.output.log(self.progress.claim.attempt)
            path.write_text(self.children.log() + self.remark, encoding="utf-8")
            self.tell_start()

    def train_and_score(self, scratch: Path, rows: Tokens) -> float:
        program = self.start_child(PROGRAM, scratch / "program")
        scorers = self.start_scorers(scratch)
        with sealed_copy(self.node.data.training, self.children.glance) as tokens:
            self.set_up(program, scorers)
            done = self.train(program, tokens)
        weights = os.dup(program.files["weights"])
        try:
            self.accept(program, done, weights)
            bpb = self.score(scorers, weights, rows)
            if self.is_kept():
                self.keep(weights)
            return bpb
        finally:
            os.close(weights)

    def score_again(self, scratch: Path, tokens: Tokens) -> float:
        """The score of weights that an earlier attempt has kept."""
        path = self.node.layout.weights(self.experiment.id)
        try:
            weights = path.open("rb")
        except OSError as error:
            raise SickNode(f"{path} should be the kept weights, but: {error.strerror}") from error
        with weights:
            scorers = self.start_scorers(scratch)
            self.progress.enter("score")
            return self.score(scorers, weights.fileno(), tokens)

    def start_scorers(self, scratch: Path) -> list[Child]:
        names = (SCORER, CHALLENGED) if self.scoring.challenges else (SCORER,)
        return [self.start_child(name, scratch / f"scorer-{k}") for k, name in enumerate(names, 1)]

    def start_child(self, name: str, folder: Path) -> Child:
        """A harness with its own copy of train.py in its own folder."""
        folder.mkdir()
        path = folder / "train.py"
        path.write_bytes(self.text)
        tier = self.node.tier
        kind = self.node.settings.sandbox
        command = sandbox.command(kind, HARNESS, folder, tier.threads)
        child = self.children.start(name, command, folder)
        task: Json = {
            "role": self.part(child)[1],
            "program": str(path),
            "parameters": dict(self.experiment.candidate.overrides),
            "vocabulary": self.node.data.vocabulary,
            "context": self.scoring.length,
            "rows": self.scoring.rows,
            "seed": self.experiment.seed,
            "threads": tier.threads,
            "processes": 2 * self.limits.processes if sandbox.counts_apart(kind) else 0,
            "device": self.node.torch_device,
        }
        self.hand(child, Message("task", task), self.node.data.compiled.of(self.part(child)))
        return child

    def part(self, child: Child) -> Key:
        role = "program" if child.name == PROGRAM else "scorer"
        return self.experiment.candidate.program, role

    def hand(self, child: Child, message: Message, descriptor: int | None) -> None:
        """Send a copy of a file along, if there is one."""
        with ExitStack() as stack:
            copies = [] if descriptor is None else [stack.enter_context(sealed_copy(descriptor))]
            self.children.tell(child, replace(message, descriptors=tuple(copies)))

    def set_up(self, program: Child, scorers: list[Child]) -> None:
        """Until the clock can start; in seconds, nobody else may be at work by then."""
        seconds = self.limits.setup_seconds
        deadline = time.monotonic() + seconds

        def late(child: Child) -> AttemptFailed:
            return AttemptFailed(
                Failure.setup_timeout,
                f"{child.name} should be ready within {seconds:g} s, but was not",
            )

        hello = self.children.expect(program, "hello", deadline, late(program))
        self.check_device(hello)
        built = self.children.expect(program, "built", deadline, late(program))
        self.progress.note(parameters=built.scalars("parameters"), weights=built.count("weights"))
        self.tell_start()
        self.await_ready(program, deadline, late(program))
        if self.in_seconds:
            for scorer in scorers:
                self.await_scorer(scorer, deadline, late(scorer))

    def await_scorer(self, scorer: Child, deadline: float, late: AttemptFailed) -> None:
        """Until a scorer has warmed up on synthetic tokens."""
        self.check_device(self.children.expect(scorer, "hello", deadline, late))
        self.await_ready(scorer, deadline, late)
        self.warm.add(scorer.name)

    def await_ready(self, child: Child, deadline: float, late: AttemptFailed) -> None:
        """Until a child has nothing left to compile; what it has compiled serves the next.

        Once the clock has started it may know more than it should: the program might have told it.
        """
        self.children.expect(child, "ready", deadline, late)
        if self.progress.stage == "setup":
            self.node.data.compiled.take(self.part(child), child.files["compiled"])

    def check_device(self, hello: Message) -> None:
        facts = {"name": device.cpu_name(), **hello.scalars("device")}
        threads = self.node.tier.threads
        self.progress.note(device={**self.progress.result.device, **facts, "threads": threads})
        problem = device.mismatch(self.experiment.cell.device, threads, facts)
        if problem:
            raise SickNode(problem)

    def train(self, program: Child, tokens: int) -> Message:
        """Start the clock, wait for the message that says that there are weights."""
        budget = self.experiment.cell.budget
        started = self.progress.enter("train")
        program.lookups.bound(self.limits.lookups)
        start = {"started": started, "seconds": budget.seconds, "tokens": budget.tokens}
        self.children.tell(program, Message("start", start, descriptors=(tokens,)))
        if budget.seconds is not None:
            deadline = started + budget.seconds + self.limits.grace_seconds
            promise = f"within {self.limits.grace_seconds:g} s of the {budget} budget"
        else:
            deadline = started + self.limits.token_seconds
            promise = f"within {self.limits.token_seconds:g} s"
        late = AttemptFailed(
            Failure.overran, f"weights should be delivered {promise}, but were not"
        )
        return self.children.expect(program, "done", deadline, late)

    def accept(self, program: Child, done: Message, weights: int) -> None:
        """End the program, and see that nobody can change its weights any more."""
        self.progress.enter("score")
        peak = done.count("peak_memory") or self.children.measure(program)
        self.progress.note(steps=done.count("steps"), tokens=done.count("tokens"), peak_memory=peak)
        self.children.kill(program)
        if not is_sealed(weights):
            raise AttemptFailed(Failure.disqualified, "weights should come as a sealed file")
        facts, most = os.fstat(weights), self.limits.memory_gb / COPIES
        if facts.st_blocks * 512 < facts.st_size:
            raise AttemptFailed(Failure.disqualified, "weights should be a file without holes")
        if facts.st_size > most * 2**30:
            size = f"at most {most:g} GB, 1/{COPIES} of task.limits.memory_gb"
            reason = f"weights should have {size}, but have {facts.st_size / 2**30:.3g} GB"
            raise AttemptFailed(Failure.out_of_memory, reason)

    def score(self, scorers: list[Child], weights: int, tokens: Tokens) -> float:
        """Bits per byte on the held-out split. Raises AttemptFailed if a probe is violated."""
        deadline = time.monotonic() + self.limits.score_seconds
        seconds = f"{self.limits.score_seconds:g} s"
        late = AttemptFailed(Failure.overran, f"scoring should end within {seconds}, but did not")
        for scorer in scorers:
            if scorer.name not in self.warm:
                self.await_scorer(scorer, deadline, late)
            scorer.is_informed = True
            scorer.lookups.refuse()
            self.hand(scorer, Message("weights"), weights)
        ask = Questions(
            self.children, self.node.data.vocabulary, self.limits.load_seconds, deadline, late
        )
        for scorer in scorers:
            ask.await_first(scorer, "loaded", os.fstat(weights).st_size / LOAD_SPEED)
        vocabulary, table = self.node.data.vocabulary, self.node.data.token_bytes
        rng = np.random.default_rng()  # seeded by the kernel: nobody can repeat it
        plan = scoring.plan(tokens, vocabulary, self.scoring, rng)
        for other in scorers[1:]:  # whoever sleeps hears nothing, not through shared caches either
            self.children.pause(other)
        nats = ask.nats(scorers[0], plan)
        self.progress.note_probes(scoring.check(plan, nats, vocabulary, self.scoring))
        if len(scorers) > 1:
            self.children.kill(scorers[0])  # whoever is still dying can still be heard
            self.children.resume(scorers[1])
            asked = scoring.challenge(plan, table, self.scoring, rng)
            logits = ask.logits(scorers[1], asked)
            probes = scoring.check_challenge(plan, asked, nats, logits, self.scoring)
            self.progress.note_probes(probes)
        return scoring.bits_per_byte(plan, nats, table)

    def is_kept(self) -> bool:
        """Whether the campaign wants this experiment's weights."""
        wanted = self.node.settings.keep_checkpoint
        record = read_json(self.node.layout.experiment_json(self.experiment.id)) or {}
        is_decisive = record.get("context", {}).get("purpose") in DECISIVE
        return wanted == "all" or (wanted == "decisive" and is_decisive)

    def keep(self, weights: int) -> None:
        """Lay the weights beside the result, or say in the log why not: the score is worth more."""
        path = self.node.output.checkpoint(self.progress.claim.attempt)
        try:
            sha256 = hashlib.sha256()
            with path.open("wb") as copy:
                for piece in pieces(weights):
                    sha256.update(piece)
                    copy.write(piece)
            hashes = {**self.progress.result.hashes, "weights": sha256.hexdigest()}
            self.progress.note(hashes=hashes)
        except OSError as error:
            path.unlink(missing_ok=True)
            self.remark = f"--- the referee ---\nthe weights were not kept: {error.strerror}\n"

    def take_log(self, child: Child, message: Message) -> None:
        values, tokens = message.scalars("values"), message.count("tokens")
        self.progress.log(message.count("steps"), tokens, loss_of(values))
        if self.progress.stage == "train" and self.runlog.is_due:
            pace = self.pace.read(time.monotonic(), tokens, self.progress.result.weights)
            memory = message.count("memory") or self.children.measure(child)
            shown = {**numbers(values), **pace, "memory_gb": memory / 2**30}
            self.runlog.log(message.count("steps"), shown)

    def tell_start(self) -> None:
        """Open the run for those who watch: as soon as its parameters are known, or at its end."""
        node, attempt = self.node, self.progress.claim.attempt
        campaign, tier = node.settings.campaign, node.tier_name
        config = identity(self.experiment, self.progress.result)
        self.runlog.start(run_of(node.layout, campaign, tier, attempt, config))


def check_cell(node: Node, experiment: Experiment) -> None:
    """Raises SickNode if numbers made here would not belong to the experiment's cell."""
    cell = experiment.cell
    for what, wanted, found in (
        ("data manifest", cell.data, node.data.prepared.id),
        ("software", cell.software, device.software()),
        ("ruler", cell.ruler, ruler(node)),
    ):
        if wanted != found:
            raise SickNode(f"the {what} should be {wanted:.40}, but this node has {found:.40}")


def ruler(node: Node) -> str:
    return f"{node.data.code[:8]}-{node.settings.scoring.ruler}"
