"""A real campaign, believed while it runs and once it has ended; then forged, a thing at a time.

Whatever is changed must be found, in one line that names the file. `rewrite` forges as somebody
would who knows the journal's format: the chain fits again.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bigram import PROGRAM, write_task
from desks import open_desk
from outside import begin
from wandb.proto import wandb_internal_pb2
from worlds import CELL

from autoresearch import config, judge
from autoresearch.entry import Purpose
from autoresearch.errors import CampaignError
from autoresearch.experiment import Attempt, Budget, Cell, Json, Result, Seconds
from autoresearch.history import History
from autoresearch.journal import GENESIS, encode, replay
from autoresearch.layout import Layout
from autoresearch.mirror.records import Writer
from autoresearch.node.freeze import freeze
from autoresearch.node.signature import make_key, read_key, sign
from autoresearch.settings import Spending
from autoresearch.sources import CHAMPION, Sources, reference
from autoresearch.tracking.naming import run_id
from autoresearch.verification import physics
from autoresearch.verification.campaign import verify
from autoresearch.verification.decisions import use_faults
from autoresearch.verification.evidence import Evidence, Filed, code_hash, gather
from autoresearch.verification.findings import Report, same

OVERRIDES = (
    *("name=c", "dir=c", "task=bigram", "search=bigram", "judge=quick", "budget.experiments=28"),
    *("pilot.poll_seconds=0.1", "cluster.poll_seconds=0.2", "cluster.sandbox=none"),
)
SLOW_LEARNER = PROGRAM.replace("rate: float = 0.5", "rate: float = 0.05")  # leaves much to find


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, list[Report]]:
    """A campaign that has ended, and what was said of it while it ran."""
    root = tmp_path_factory.mktemp("verified")
    write_task(root, program=SLOW_LEARNER)
    command = [sys.executable, "-P", "-m", "autoresearch", "run", *OVERRIDES]
    with (root / "said").open("wb") as said:
        campaign = subprocess.Popen(command, cwd=root, stdout=said, stderr=said)
    layout, reports = Layout(root / "c"), []
    while campaign.poll() is None:
        if layout.sources.exists():
            reports += try_to_verify(layout)
        try:
            campaign.wait(timeout=0.3)
        except subprocess.TimeoutExpired:
            continue
    assert campaign.returncode == 0, (root / "said").read_text()
    return layout, reports


def try_to_verify(layout: Layout) -> list[Report]:
    try:
        return [verify(layout)]
    except CampaignError:  # it has not begun
        return []


@pytest.fixture
def copy(seen: tuple[Layout, list[Report]], tmp_path: Path) -> Layout:
    """To do with as one likes."""
    shutil.copytree(seen[0].root, tmp_path / "copy", symlinks=True)
    return Layout(tmp_path / "copy")


def complaints(layout: Layout) -> list[str]:
    found = verify(layout).complaints
    assert not [line for line in found if "\n" in line]
    return found


def history_of(layout: Layout) -> History:
    return History.of(replay(layout.journal).events)


def test_nothing_is_wrong_with_a_campaign_that_nobody_has_touched(
    seen: tuple[Layout, list[Report]],
) -> None:
    report = verify(seen[0])
    assert report.complaints == []
    count = {check.name: check.count for check in report.checks}
    assert len(count) == len(report.checks)
    history = history_of(seen[0])
    assert count["journal"] == len(replay(seen[0].journal).events)
    assert {count["experiments"], count["schema"]} == {len(history.entries)}
    assert count["crowns"] == 2 * len(history.crowns) > 0
    assert count["certificates"] == 2 * len(history.certifications) > 0
    assert (count["champions"], count["test"]) == (sum(t.crowned for t in history.crowns), 6)
    assert all(count[name] for name in count if name not in ("peak", "signatures", "weights"))
    assert any("unprotected" in note for note in report.notes)


def test_nothing_is_wrong_while_it_runs(seen: tuple[Layout, list[Report]]) -> None:
    assert [line for report in seen[1] for line in report.complaints] == []
    growing = [report.checks[0].count for report in seen[1]]
    assert growing == sorted(growing)
    assert len(set(growing)) > 3
    assert any("has not ended" in note for report in seen[1] for note in report.notes)


def test_what_the_record_has_twice_may_be_gone(copy: Layout) -> None:
    for pattern in ("*/train.py", "*/attempt-*/claim", "*/attempt-*/log.txt"):
        for path in copy.experiments.glob(pattern):
            path.unlink()
    for folder in (copy.node, copy.pilots, copy.asks, copy.root / "queue", copy.report):
        shutil.rmtree(folder, ignore_errors=True)
    report = verify(copy)
    assert report.complaints == []
    assert any("train.py is gone from" in note for note in report.notes)
    assert any("node/ is gone" in note for note in report.notes)


# ---- one thing at a time ---------------------------------------------------------------------


def rewrite(layout: Layout, change: Callable[[list[Json]], object]) -> None:
    """Change events of a journal of one segment, and make its chain fit again."""
    (path,) = layout.journal.glob("*.jsonl")
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    for event in events:
        del event["chain"]
    change(events)
    chain, lines = GENESIS, []
    for event in events:
        line, chain = encode(event, chain)
        lines.append(line)
    path.write_bytes(b"".join(lines))


def event_of(events: list[Json], kind: str) -> Json:
    return next(event for event in events if event["type"] == kind)


def scored(layout: Layout, purpose: Purpose = Purpose.baseline) -> Attempt:
    entries = history_of(layout).entries.values()
    return next(e.current for e in entries if e.purpose is purpose and e.bpb is not None)


def forge(layout: Layout, attempt: Attempt, **changes: object) -> str:
    """Change a result; its name as complaints have it."""
    path = layout.result(attempt)
    record = json.loads(path.read_text())
    for key, value in changes.items():
        record[key] = record[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(record))
    return f"experiments/{attempt.experiment}/attempt-{attempt.number}/result.json"


def forge_both(layout: Layout, attempt: Attempt, **changes: object) -> str:
    """The same in the journal."""

    def change(events: list[Json]) -> None:
        for event in events:
            if event["type"] == "finished" and event["experiment"] == attempt.experiment:
                event["result"].update(changes)

    rewrite(layout, change)
    return forge(layout, attempt, **changes)


def a_score_below_zero(layout: Layout) -> Iterator[str]:
    yield f"{forge_both(layout, scored(layout), bpb=-0.5)}: bpb should be at least 0"


def a_byte_of_train_py(layout: Layout) -> Iterator[str]:
    path = layout.program(scored(layout).experiment)
    path.write_bytes(path.read_bytes() + b"#")
    yield f"experiments/{path.parent.name}/train.py: SHA-256 should be"


def a_seed_in_experiment_json(layout: Layout) -> Iterator[str]:
    path = layout.experiment_json(scored(layout).experiment)
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))
    yield f"experiments/{path.parent.name}/experiment.json: id should be"


def an_experiment_from_elsewhere(layout: Layout) -> Iterator[str]:
    shutil.copytree(layout.experiment(scored(layout).experiment), layout.experiment("0" * 12))
    yield f"experiments/{'0' * 12}/experiment.json: id should be its folder's"
    yield f"experiments/{'0' * 12}/experiment.json: should be in the journal, but is not"


def a_score(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), bpb=0.5)}: bpb should be "


def a_certified_score(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout, Purpose.certify), bpb=0.5)}: bpb should be "
    yield "(certified): difference should be"


def a_score_that_is_none(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), bpb=float("nan"))
    yield f"{where}: bpb should be float | None, numbers finite"


def a_failure_made_a_score(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), bpb=None, failure='crashed')}: failure should be None"


def a_result_removed(layout: Layout) -> Iterator[str]:
    attempt = scored(layout)
    layout.result(attempt).unlink()
    yield f"{attempt.experiment}/attempt-1/result.json: should be there, for the journal has"


def weights_that_were_not_kept(layout: Layout) -> Iterator[str]:
    layout.checkpoint(scored(layout)).write_bytes(b"weights")
    yield "/attempt-1/weights.pt: SHA-256 should be none, but is"


def a_probe(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), probes={"challenge_mean": -0.5})
    yield f"{where}: probe challenge_mean should be within 0.0002, but is -0.5"


def a_leak(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), probes={"random_excess": -0.5})
    yield f"{where}: probe random_excess should be within"


def a_probe_left_out(layout: Layout) -> Iterator[str]:
    path = layout.result(scored(layout))
    path.write_text(path.read_text().replace("challenge_worst", "challenge"))
    yield "/attempt-1/result.json: probe challenge_worst should have been made, but was not"


def a_thousand_times_the_tokens(layout: Layout) -> Iterator[str]:
    tokens = history_of(layout).entries[scored(layout).experiment].result.tokens  # type: ignore[union-attr]
    where = forge(layout, scored(layout), tokens=tokens * 1000)
    yield f"{where}: tokens should be at most the budget's 4096 and a last batch"


def another_size(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout, Purpose.certify), weights=7)
    yield f"{where}: weights should be "


def another_config(layout: Layout) -> Iterator[str]:
    path = layout.result(scored(layout))
    path.write_text(path.read_text().replace('"batch": 8', '"batch": 9'))
    yield "/result.json: parameters should be as in experiments/"


def tokens_that_are_no_rows(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), tokens=4097)}: tokens should be whole rows of 16"


def more_steps_than_rows(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), steps=4097)}: tokens should be at least one row of 16"


def a_long_training(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), seconds={"train": 100.0})
    yield f"{where}: seconds.train should be at most 60, but is 100.0"


def a_curve_of_another_run(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), curve=[[0.1, 100000, 1.0]])
    yield f"{where}: the curve's last step should be at most"


def a_curve_of_words(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), curve=[["a", 1, 1.0], [2, 2, 1.0]])
    yield f"{where}: should be as a referee writes it, but: TypeError"


def two_experiments_at_once(layout: Layout) -> Iterator[str]:
    attempt = scored(layout)
    ended = json.loads(layout.result(attempt).read_text())["ended"]
    where = forge(layout, attempt, ended=ended + 1000)
    yield f" s before {where} had ended"


def another_pilot(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), pilot='nobody')}: pilot should be as in its claim"


def a_wall_that_was_not_there(layout: Layout) -> Iterator[str]:
    where = forge_both(layout, scored(layout), sandbox="bubblewrap")
    yield f"{where}: sandbox should be none, but is bubblewrap"


def another_device(layout: Layout) -> Iterator[str]:
    yield f"{forge(layout, scored(layout), device={'threads': 7})}: device should be cpu-"


def other_data(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), hashes={"manifest": "0" * 64})
    yield f"{where}, hashes: manifest should be"


def other_code(layout: Layout) -> Iterator[str]:
    where = forge(layout, scored(layout), hashes={"node": "0" * 64})
    yield f"{where}, hashes: node should be"


def node_code(layout: Layout) -> Iterator[str]:
    path = layout.node / "autoresearch" / "node" / "scoring.py"
    path.write_text(path.read_text().replace("1e9", "1e99"))
    yield "node/autoresearch: its hash should be"


def a_module_of_nodes_removed(layout: Layout) -> Iterator[str]:
    (layout.node / "autoresearch" / "node" / "scoring.py").unlink()
    yield "node/autoresearch: its hash should be"


def a_module_beside_node_code(layout: Layout) -> Iterator[str]:
    (layout.node / "torch.py").touch()
    yield "node/torch.py: should not be"


def nodes_tolerances(layout: Layout) -> Iterator[str]:
    text = layout.node_settings.read_text()
    layout.node_settings.write_text(text.replace('_tolerance": ', '_tolerance": 1'))
    yield "node/settings.json: the hash of scoring should be"


def tolerances(layout: Layout) -> Iterator[str]:
    text = layout.config.read_text()
    layout.config.write_text(text.replace("mean_tolerance: 0.0002", "mean_tolerance: 1.0"))
    yield "config.yaml, task.scoring: mean_tolerance should be 0.0002, but is 1.0"


def tolerances_once_node_is_gone(layout: Layout) -> Iterator[str]:
    shutil.rmtree(layout.node)
    list(tolerances(layout))
    yield "config.yaml, task: the hash of scoring should be"


def budget(layout: Layout) -> Iterator[str]:
    text = layout.config.read_text()
    layout.config.write_text(text.replace("tokens: 4096", "tokens: 8192"))
    yield "config.yaml, tier cpu: budget should be 4096 tokens, but is 8192 tokens"


def the_branch(layout: Layout) -> Iterator[str]:
    sources, history = Sources(layout.sources), history_of(layout)
    git(layout, "update-ref", CHAMPION, sources.commit(history.baseline.program))
    yield f"sources.git: branch champion should be {history.champion.program:.16}"


def a_version_removed(layout: Layout) -> Iterator[str]:
    program = history_of(layout).baseline.program
    git(layout, "update-ref", "-d", reference(program))
    yield f"sources.git: version {program} should be in"


def a_version_replaced(layout: Layout) -> Iterator[str]:
    history, sources = history_of(layout), Sources(layout.sources)
    commit = sources.commit(history.baseline.program)
    git(layout, "update-ref", reference(history.champion.program), commit)
    yield f"sources.git: version {history.champion.program} in "


def git(layout: Layout, *words: str) -> None:
    subprocess.run(["git", f"--git-dir={layout.sources}", *words], check=True)


def a_journals_line(layout: Layout) -> Iterator[str]:
    (path,) = layout.journal.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"bpb":', b'"bpb":1', 1))
    yield f"{path} is damaged at byte"


def a_journals_last_line(layout: Layout) -> Iterator[str]:
    (path,) = layout.journal.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b'"n":', b'"n":1'))
    yield f"{path}: byte {sum(map(len, lines[:-1]))} should be the next link of the chain"


def a_segment_removed(layout: Layout) -> Iterator[str]:
    (path,) = layout.journal.glob("*.jsonl")
    path.unlink()
    yield "journal/: the first event should be 'started', once"


def a_segment_that_nobody_names(layout: Layout) -> Iterator[str]:
    (path,) = layout.journal.glob("*.jsonl")
    path.rename(path.with_name("000002.jsonl"))
    path.write_bytes(encode({"type": "segment", "previous": None}, GENESIS)[0])
    yield f"{path}: a later segment should name it, but none does"


def a_number_left_out(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "submitted").update(n=1000))
    yield "journal/000001.jsonl event 1000 (submitted): n should be"


def a_time_that_goes_back(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "submitted").update(t=1.0))
    yield "(submitted): t should be at least"


def a_score_in_the_journal(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "finished")["result"].update(bpb=0.5))
    yield "/result.json: bpb should be 0.5, but is"


def a_certified_mean(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "certified").update(champion_mean=0.5))
    yield "(certified): champion_mean should be"


def a_crown(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "crown_closed").update(p=0.5))
    yield "(crown_closed): p should be"


def a_crown_tests_level(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "crown_opened").update(alpha=0.5))
    yield "(crown_opened): alpha should be"


def a_seed_of_the_certificate(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "certifying")["seeds"].pop())
    yield "(certifying): seeds should be"


def a_word_after_the_end(layout: Layout) -> Iterator[str]:
    def add(events: list[Json]) -> None:
        more = event_of(events, "certified") | {"n": len(events) + 1, "t": events[-1]["t"]}
        events.append(more)

    rewrite(layout, add)
    yield "(certified): should not be, for the campaign had ended"


def an_event_of_no_type(layout: Layout) -> Iterator[str]:
    rewrite(layout, lambda events: event_of(events, "submitted").pop("type"))
    yield "journal should hold events, but: KeyError"


FORGERIES = (
    *(a_byte_of_train_py, a_seed_in_experiment_json, an_experiment_from_elsewhere, a_score),
    *(
        a_certified_score,
        a_score_that_is_none,
        a_score_below_zero,
        a_failure_made_a_score,
        a_result_removed,
        weights_that_were_not_kept,
        a_probe,
    ),
    *(a_leak, a_probe_left_out, a_thousand_times_the_tokens, tokens_that_are_no_rows),
    *(another_size, another_config),
    *(more_steps_than_rows, a_long_training, a_curve_of_another_run, a_curve_of_words),
    *(two_experiments_at_once, another_pilot, a_wall_that_was_not_there, another_device),
    *(other_data, other_code, node_code, a_module_of_nodes_removed, a_module_beside_node_code),
    *(
        nodes_tolerances,
        tolerances,
        tolerances_once_node_is_gone,
        budget,
        the_branch,
        a_version_removed,
        a_version_replaced,
    ),
    *(a_journals_line, a_journals_last_line, a_segment_removed, a_segment_that_nobody_names),
    *(a_number_left_out, a_time_that_goes_back, a_score_in_the_journal, a_certified_mean),
    *(a_crown, a_crown_tests_level, a_seed_of_the_certificate, a_word_after_the_end),
    *(an_event_of_no_type,),
)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_what_was_changed_is_found(
    copy: Layout, forgery: Callable[[Layout], Iterator[str]]
) -> None:
    wanted = list(forgery(copy))
    found = complaints(copy)
    for words in wanted:
        assert [line for line in found if words in line], (words, found)


# ---- by hand ---------------------------------------------------------------------------------


@pytest.fixture
def made_up(tmp_path: Path) -> Evidence:
    """A campaign whose seeds somebody chose, and whose results are in the journal alone."""
    return gather(begin(tmp_path / "c").layout)


def test_seeds_that_somebody_chose_are_found(made_up: Evidence) -> None:
    found = verify(made_up.layout).complaints
    ids = history_of(made_up.layout).entries
    for id, entry in ids.items():
        seed = entry.experiment.seed
        wanted = f"experiments/{id}/experiment.json: seed {seed} should not be used for baseline"
        assert wanted in found


def test_the_test_split_is_for_certification_alone(made_up: Evidence) -> None:
    entry = next(iter(history_of(made_up.layout).entries.values()))
    (found,) = use_faults(entry)
    assert found.endswith("split should be validation, but is test, for baseline")
    entry.purpose = Purpose.certify
    assert not list(use_faults(entry))


GPU = replace(CELL, device="h100", budget=Budget(seconds=300.0))


def filed(made_up: Evidence, cell: Cell = GPU, **facts: object) -> Filed:
    entry = next(iter(history_of(made_up.layout).entries.values()))
    result = Result(entry.experiment.id, 1, "p", 1.0, seconds=Seconds(train=300.0))
    experiment = replace(entry.experiment, cell=cell)
    return Filed("here", entry.current, experiment, replace(result, **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tokens", "is_possible"),
    [(500_000_000, True), (500_000_000_000, False)],  # of 50 million parameters: MFU 0.5, and 505
)
def test_a_gpu_has_a_peak(made_up: Evidence, tokens: int, is_possible: bool) -> None:
    found = list(physics.peak(made_up, filed(made_up, weights=50_000_000, tokens=tokens)))
    assert not found if is_possible else found[0].startswith("here: 6 x weights x tokens should be")


def test_a_clock_is_no_wall_to_run_over(made_up: Evidence) -> None:
    grace = made_up.start.task.limits.grace_seconds
    late = Seconds(train=300.0 + grace + physics.DELAY + 0.1)
    assert not list(physics.clock(made_up, filed(made_up)))
    (found,) = physics.clock(made_up, filed(made_up, seconds=late))
    assert found.startswith("here: seconds.train should be at most 302, but is")


@pytest.mark.parametrize("is_signed", [True, False])
def test_what_wandb_carried_was_signed(tmp_path: Path, is_signed: bool) -> None:
    campaign = begin(tmp_path / "c")
    layout, history = campaign.layout, campaign.history
    text = layout.config.read_text().replace("results: files", "results: wandb")
    layout.config.write_text(text)
    make_key(layout.key)
    attempt = next(iter(history.entries.values())).current
    carried = json.dumps({"experiment": attempt.experiment, "attempt": 1})
    signature = sign(read_key(layout.key), carried) if is_signed else "0" * 64
    layout.attempt(attempt).mkdir(parents=True)
    layout.claim(attempt).write_text("{}")
    layout.result(attempt).write_text(carried if not is_signed else carried + " ")
    name = run_id("c", attempt.experiment, 1)
    path = layout.wandb / f"offline-run-20260101_000000-{name}" / f"run-{name}.wandb"
    path.parent.mkdir(parents=True)
    summary = wandb_internal_pb2.SummaryRecord()  # type: ignore[attr-defined]
    for key, value in {"result": carried, "signature": signature}.items():
        summary.update.add(key=key, value_json=json.dumps(value))
    writer = Writer(path)
    writer.write(wandb_internal_pb2.Record(summary=summary).SerializeToString())  # type: ignore[attr-defined]
    writer.close()
    found = complaints(layout)
    where = layout.result(attempt) if is_signed else path
    why = "be what the referee signed" if is_signed else "carry the referee's signature"
    assert [line for line in found if line.startswith(f"{os.path.relpath(where, layout.root)}: ")]
    assert [line for line in found if f"should {why}" in line]


def test_a_controller_that_was_replaced_may_have_written_more(tmp_path: Path) -> None:
    old = open_desk(tmp_path / "c")
    old.layout.config.write_text(config.to_yaml(old.settings))
    event = {"type": "search_ended", "reason": "budget"}
    new = open_desk(tmp_path / "c")
    path = old.layout.journal / "000001.jsonl"
    with path.open("ab") as file:
        file.write(encode(event | {"n": 3, "t": 1e9}, old.record.journal.end.chain)[0])
    new.record.append(event)
    report = verify(new.layout)
    assert report.complaints == []
    assert report.checks[0].count == 4
    assert any("000001.jsonl has " in note for note in report.notes)
    os.truncate(path, old.record.journal.end.length - 1)
    assert f"{path} should hold" in complaints(new.layout)[0]


def test_limits_are_those_of_any_time(tmp_path: Path) -> None:
    """What was allowed once may have been used."""
    desk = open_desk(tmp_path / "c", budget=Spending(experiments=9))
    desk.layout.config.write_text(config.to_yaml(desk.settings))
    for grace in (50, 1):
        changes = [f"task.limits.grace_seconds={grace}.0"]
        desk.record.append({"type": "amended", "overrides": changes})
    evidence = gather(desk.layout)
    assert [life.task.limits.grace_seconds for life in evidence.lives] == [2.0, 50.0, 1.0]
    desk.ask(*judge.screening_seeds(desk.settings, 1))
    assert verify(desk.layout).complaints == []
    slow = filed(gather(desk.layout), seconds=Seconds(train=340.0))
    assert not list(physics.clock(evidence, slow))


def test_the_code_of_nodes_has_one_hash(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert code_hash(layout) is None
    assert code_hash(layout) != freeze(layout.node) == code_hash(layout)


@pytest.mark.parametrize(
    ("a", "b", "is_same"),
    [
        *((1.0, 1.0 + 1e-12, True), (1.0, 1.0001, False), (0.0, 1e-12, False)),
        *((1.0, None, False), (None, 1.0, False), (None, None, True), (0.5, "0.5", False)),
        *(([1, 2.0], (1, 2.0), True), ([1], [1, 2], False), (float("nan"), 1.0, False)),
    ],
)
def test_numbers_may_be_rounded_otherwise(a: object, b: object, is_same: bool) -> None:
    assert same(a, b) is is_same
