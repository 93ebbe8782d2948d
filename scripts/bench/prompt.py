#!/usr/bin/env python
"""How large Claude's prompts are, how much of them comes from its cache, what a wave costs.

    python scripts/bench/prompt.py [--experiments 20 200 1000] [--json FILE]

A made-up campaign of so many experiments on the project's own train.py, every tenth a program of
its own, long descriptions, a full notebook. Two waves one after the other, each a conversation with
every tool, by the real client against a local server that counts four characters as a token and
keeps prompts as the API does. Prices are those of conf/claude.
"""

import dataclasses
import os
import random
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import _report  # noqa: E402 - beside this folder
import desks  # noqa: E402
import worlds  # noqa: E402
from claude_server import KEY, Answer, ClaudeServer, use, uses  # noqa: E402
from scientists import turn  # noqa: E402

from autoresearch import config, dispatch  # noqa: E402
from autoresearch.claude.ledger import spent  # noqa: E402
from autoresearch.claude.researcher import Question, research  # noqa: E402
from autoresearch.entry import Purpose, brief  # noqa: E402
from autoresearch.experiment import (  # noqa: E402
    Candidate,
    Json,
    Proposal,
    Result,
    Seconds,
    Version,
    Wave,
)
from autoresearch.judge import Request  # noqa: E402
from autoresearch.layout import shipped  # noqa: E402
from autoresearch.settings import Settings  # noqa: E402

WAVE = 12  # experiments
BOUND = 60_000  # tokens of a prompt
WORDS = "because the loss falls faster early on and the schedule leaves room for it at the end "
EDIT = {
    "search": "    compile: bool = True",
    "replace": "    gain: float = 1.0\n    compile: bool = True",
}


def scientist(body: Json) -> Answer:
    """A conversation with every tool."""
    steps = [
        uses("read_results", "What do we know? " * 40, order="best", limit=40),
        Answer([use("effects", name="champion"), use("read_results", order="newest", limit=40)]),
        uses("read_source", name="champion"),
        uses("try_edit", edits=[EDIT], description="a gain"),
        uses("note", text=WORDS * 5),
    ]
    if turn(body) < len(steps):
        return steps[turn(body)]
    wanted = [
        {"overrides": {"matrix_lr": 0.02 + k / 1000}, "description": WORDS} for k in range(WAVE)
    ]
    return uses("propose_wave", "Which rates? " * 200, hypothesis=WORDS, experiments=wanted)


def write(root: Path, settings: Settings, count: int) -> None:
    """A campaign with so many experiments, all screened once."""
    text = (shipped("train") / "train.py").read_text(encoding="utf-8")
    desks.PROGRAM = text
    desk = desks.open_desk(root)
    known = dataclasses.replace(settings, cluster=worlds.make_settings().cluster)
    desk.layout.config.write_text(config.to_yaml(known), encoding="utf-8")
    rng = random.Random(1)
    baseline = desk.history.baseline.program
    for number in range(0, count, WAVE):
        proposals, versions = [], []
        for k in range(number, min(number + WAVE, count)):
            values = {name: d.at(rng.random()) for name, d in settings.search.space.items()}
            program = baseline
            if k % 10 == 9:
                own = text + f"\n# version {k}\n"
                program = desk.sources.add(own, WORDS, [baseline], when=0.0)
                versions.append(Version(program, (baseline,), WORDS))
            proposals.append(Proposal(values, f"{k}: {WORDS}", program))
        wave = Wave("claude", WORDS, tuple(proposals), versions=tuple(versions), notes=(WORDS * 5,))
        requests = [
            Request(
                Candidate(p.program, p.overrides),
                1,
                "screen",
                Purpose.screen,
                description=p.description,
            )
            for p in proposals
        ]
        dispatch.propose(desk.record, requests, wave, f"{number:04d}")
        finish(desk, rng)
    desk.record.journal.close()


def finish(desk: desks.Desk, rng: random.Random) -> None:
    waiting = list(desk.history.active)
    desk.record.append({"type": "queued", "attempts": [[id, 1] for id in waiting]})
    for id in waiting:
        result = Result(id, 1, "pilot", rng.gauss(1.0, 0.01), seconds=Seconds(train=300.0))
        line = {"type": "finished", "experiment": id, "attempt": 1, "result": brief(result)}
        desk.record.append(line)


def measure(count: int, server: ClaudeServer) -> list[_report.Figure]:
    settings = config.compose(["task=gpt", "search=gpt", "budget.experiments=9999", "seed=1"])
    claude = vars(settings.claude) | {"url": server.url, "smoke_seconds": 0.0}
    asked = type(settings.claude)(**claude)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write(root, settings, count)
        first = len(server.billed)
        dollars = []
        for number in (1, 2):
            folder = root / "asks" / str(number)
            folder.mkdir(parents=True)
            place = (root, folder, shipped("train"), settings.search.space, number)
            wave = research(Question(*place, WAVE, 50.0, asked))
            if wave.problem:
                raise SystemExit(wave.problem)
            dollars.append(spent(folder).usd)
        usage = server.billed[first:]
    parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    prompts = [sum(each[part] for part in parts) for each in usage]
    share = sum(each["cache_read_input_tokens"] for each in usage) / sum(prompts)
    return [
        _report.Figure(f"{count}: first prompt of a wave", prompts[0], "tokens", BOUND),
        _report.Figure(f"{count}: largest prompt", max(prompts), "tokens", BOUND),
        _report.Figure(f"{count}: read from the cache", 100 * share, "%"),
        _report.Figure(f"{count}: a wave", sum(dollars) / len(dollars), "dollars"),
    ]


def main() -> int:
    parser = _report.arguments(__doc__ or "")
    parser.add_argument("--experiments", type=int, nargs="+", default=[20, 200, 1000])
    options = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = KEY
    os.environ.setdefault("AUTORESEARCH_DATA", "/nowhere")
    machine = _report.machine()
    with ClaudeServer(scientist) as server:
        figures = [f for count in options.experiments for f in measure(count, server)]
    return _report.report("Claude's prompts, by experiments", figures, machine, options.json)


if __name__ == "__main__":
    sys.exit(main())
