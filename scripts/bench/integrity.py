#!/usr/bin/env python
"""Whether the referee's probes leave honest programs alone, and stop the others.

    python scripts/bench/integrity.py [--honest 200] [--seed 0] [--pilots 2] [--gpus 1]
                                      [--sandbox none] [--no-attacks] [--ab 20]
                                      [--json FILE] [--markdown FILE]

Honest programs (tests/honest.py) are made from train.py, run by real pilots on a small budget of
tokens, and what each probe measured is shown beside its tolerance. Then come the attacks
(tests/corpus.py), and with `--ab N` the scores of N honest programs with and without a sandbox.
Several pilots may share one GPU. Exit code 1 if an honest program is disqualified, or if an attack
gets a score.

In parts, where a machine is lent for minutes: `--minutes 8 --json A`, then `--begin` with the
number that it names, and `--add A` to have both in the tables.
"""

import json
import sys
import tempfile
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _integrity  # noqa: E402 - beside this file; finds the next two
import _report  # noqa: E402
import corpus  # noqa: E402
from _integrity import Bench, Outcome  # noqa: E402
from honest import SIZES, honest  # noqa: E402
from honest_facets import CPU, CUDA  # noqa: E402

from autoresearch.experiment import Result  # noqa: E402
from autoresearch.hardware import gpus_here  # noqa: E402
from autoresearch.node import sandbox  # noqa: E402
from autoresearch.settings import SANDBOXES  # noqa: E402


def arguments() -> Namespace:
    parser = _report.arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--honest", type=int, default=200, metavar="N", help="0: none")
    parser.add_argument("--begin", type=int, default=0, metavar="K", help="leave out the first K")
    parser.add_argument("--only", default="", metavar="FACET=WAY", help="e.g. compile=scoring")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pilots", type=int, default=2, help="at once")
    parser.add_argument("--gpus", type=int, default=0, choices=(0, 1))
    parser.add_argument("--sandbox", default=sandbox.AUTO, choices=SANDBOXES)
    parser.add_argument("--minutes", type=float, default=0.0, help="begin nothing after these")
    parser.add_argument("--add", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--no-attacks", dest="attacks", action="store_false")
    parser.add_argument("--ab", type=int, default=0, metavar="N")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


def judged_honest(options: Namespace, bench: Bench, kind: str) -> list[Outcome]:
    """What became of honest programs, those of earlier records first."""
    outcomes = [
        Outcome(**each) for path in options.add for each in json.loads(path.read_text())["honest"]
    ]
    programs = honest(options.honest, options.seed, bench.device)
    facet, _, way = options.only.partition("=")
    programs = [p for p in programs if not facet or p.facets[facet] == way][options.begin :]
    judged = list(bench.run(programs, kind)) if programs else []
    if len(judged) < len(programs):
        left = options.begin + len(judged)
        print(f"time was up: go on with --begin {left}", file=sys.stderr)
    return outcomes + judged


def scores_of_both(options: Namespace, bench: Bench) -> tuple[list[Outcome], list[Outcome]]:
    """The same programs without a wall, twice each, and behind one."""
    programs = honest(options.ab, options.seed, bench.device)
    without = list(bench.run(programs, sandbox.NONE, times=2))
    return without, list(bench.run(programs, sandbox.BUBBLEWRAP))


def attacked(folder: Path, pilots: int, kind: str) -> list[list[str]]:
    """A row for every attack; its last cell is empty unless the attack got through."""
    attacks = corpus.attacks()
    results = corpus.run(attacks, folder, pilots=pilots, sandbox=kind)
    return [row_of(attack, results.get(attack.name)) for attack in attacks]


def row_of(attack: corpus.Attack, result: Result | None) -> list[str]:
    tries = attack.docstring.split("\n\n")[0]
    if result is None:  # the look at its text is all that holds it
        reason = corpus.seen(attack)
        ended, through = "a remark" if reason else "not seen", "" if reason else "not seen"
    else:
        reason = result.reason
        through = "" if result.bpb is None else f"scored {result.bpb:.4f}"
        ended = through or str(result.failure)
    cells = [attack.name, tries, ended, reason, ", ".join(attack.held_by), through]
    return [" ".join(cell.replace("|", "/").split()) for cell in cells]


def page(machine: dict[str, object], pages: list[str]) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in machine.items() if value != "")
    return "\n\n".join([f"Measured on: {facts}.", *pages]) + "\n"


def main() -> int:
    options = arguments()
    kind = sandbox.choose(options.sandbox)
    machine = _report.machine() | {"gpus": ", ".join(gpus_here()), "sandbox": kind}
    record: dict[str, object] = {"machine": machine, "seed": options.seed}
    pages: list[str] = []

    def keep(title: str, name: str, tables: str, found: object) -> None:
        """Show, and write what there is so far: what comes next may be cut off."""
        pages.append(f"## {title}\n\n{tables}")
        record[name] = found
        print(f"\n{pages[-1]}", flush=True)
        if options.markdown:
            options.markdown.write_text(page(machine, pages), encoding="utf-8")
        if options.json:
            options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    good = True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        bench = Bench(Path(name), CUDA if options.gpus else CPU, options.pilots, options.minutes)
        scoring = SIZES[bench.device].scoring
        record["scoring"] = asdict(scoring)
        if options.honest or options.add:
            outcomes = judged_honest(options, bench, kind)
            tables = _integrity.account(outcomes, scoring)
            keep("Honest programs", "honest", tables, [asdict(o) for o in outcomes])
            good = not any(outcome.is_disqualified for outcome in outcomes)
        if options.ab:
            compared = scores_of_both(options, bench)
            tables = _integrity.differences(*compared)
            found = [[asdict(o) for o in some] for some in compared]
            keep("Scores behind a wall", "ab", tables, found)
        if options.attacks:
            rows = attacked(Path(name) / "attacks", options.pilots, kind)
            head = ["attack", "what it tries", "how it ended", "reason", "held by"]
            keep("Attacks", "attacks", _integrity.markdown(head, [r[:5] for r in rows]), rows)
            good = good and not any(row[-1] for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
