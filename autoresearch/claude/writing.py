"""The tools by which Claude acts: it tries an edit, proposes the wave, writes down what it learned.

What they keep lies in the question's folder, so that a conversation that was cut off goes on with
it: wishes/ for programs to be tried, notes.json. Nothing of a program is ever run here.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch import drafts, smoke
from autoresearch.claude.library import Library
from autoresearch.claude.quoting import Kept, data, line
from autoresearch.claude.reading import NAME, closed
from autoresearch.claude.tools import Done, Mistake
from autoresearch.drafts import Bench
from autoresearch.experiment import (
    Attempt,
    Candidate,
    Experiment,
    Json,
    Result,
    Scalar,
    Version,
    Wave,
)
from autoresearch.layout import read_json, write_atomically
from autoresearch.names import candidate_named
from autoresearch.program import parameters, program_of
from autoresearch.settings import Claude
from autoresearch.smoke import Wish

PLANNER = "claude"
NOTES = "notes.json"
MOST_NOTES = 10  # of one wave
LOOK_SECONDS = 1.0  # between two looks for a result
SHARE = 0.5  # of a conversation's time that may go by waiting for smoke experiments
LOG = 2500  # characters of a changed Config, and of the end of a failure's log
REASON = 500

Outcome = tuple[Attempt, Result]


@dataclass
class Work:
    """What Claude does for one wave."""

    library: Library
    folder: Path
    capacity: int
    settings: Claude
    wave: Wave | None = None  # what it has proposed
    waited: float = 0.0  # seconds, for smoke experiments

    @property
    def bench(self) -> Bench:
        settings, hands = self.library.settings, (self.library.history, self.library.programs)
        return Bench(*hands, settings.search.space, self.capacity, settings.task.inspection)

    @property
    def wishes(self) -> dict[str, Wish]:
        """The programs that were to be tried, by their candidate's key."""
        return {wish.candidate.key: wish for wish in Wish.found(self.folder)}


# ---- the notebook --------------------------------------------------------------------------------


def note(work: Work, asked: Json) -> str:
    """Keep a note; the same words twice are one note."""
    text, notes = asked["text"].strip(), notes_in(work.folder)
    if not text or len(text) > drafts.LONGEST_NOTE:
        raise Mistake(
            f"a note should have 1 to {drafts.LONGEST_NOTE} characters, but has {len(text)}"
        )
    if text not in notes and len(notes) >= MOST_NOTES:
        raise Mistake(f"a wave may have {MOST_NOTES} notes, and has them; go on without")
    if text not in notes:
        write_atomically(work.folder / NOTES, json.dumps({"notes": [*notes, text]}))
    return "kept for this and all later waves"


def notes_in(folder: Path) -> tuple[str, ...]:
    """The notes of a conversation so far."""
    record = read_json(folder / NOTES) or {}
    return tuple(record.get("notes", ()))


# ---- the wave ------------------------------------------------------------------------------------


def propose_wave(work: Work, asked: Json) -> Done:
    """Raises Unusable with everything that is wrong."""
    wave = drafts.read(asked, work.bench, PLANNER)
    if not wave.proposals:
        raise Mistake("a wave should have at least one experiment, but has none")
    proposals = tuple(replace(proposal, planner=PLANNER) for proposal in wave.proposals)
    versions = (*tried_versions(work, wave), *wave.versions)
    work.wave = replace(wave, proposals=proposals, versions=versions)
    return Done()


def tried_versions(work: Work, wave: Wave) -> list[Version]:
    """Programs that were tried and that a wave names, or builds on: it is the one to bring them."""
    known = {*work.library.history.versions, *(version.program for version in wave.versions)}
    tried = {wish.program: wish for wish in work.wishes.values() if wish.parents}
    wanted = [proposal.program for proposal in wave.proposals]
    wanted += [parent for version in wave.versions for parent in version.parents]
    found: dict[str, Version] = {}
    while wanted:
        wish = tried.get(wanted.pop())
        if wish and wish.program not in found.keys() | known:
            found[wish.program] = Version(wish.program, wish.parents, wish.message, text=wish.text)
            wanted += wish.parents
    return list(found.values())[::-1]


# ---- trying --------------------------------------------------------------------------------------


def try_edit(work: Work, asked: Json) -> str:
    """Apply an edit, read its Config, and have a node run it for a few tokens."""
    wish, before, remarks = wished(work, asked)
    left = work.wishes.get(wish.candidate.key)
    experiment = smoke.experiment(work.library.history, wish.candidate, (left or wish).budget)
    found = outcome(work, experiment)
    told = [
        f"it applies and compiles: candidate {wish.candidate.key}, program {wish.program[:12]}",
        data("Config", changes(before, {**parameters(wish.text), **wish.overrides}), LOG),
    ]
    if remarks:
        told += ["against the rules, as far as the text shows:", data("rules", remarks, LOG)]
    if left is None and found is None:
        if len(work.wishes) >= work.settings.smokes:
            spent = f"not run: all {work.settings.smokes} smoke experiments of this wave are used"
            return "\n".join([*told, spent])
        wish.leave(work.folder)
    found = found or await_outcome(work, experiment)
    return "\n".join([*told, report(work, experiment, found)])


def wished(work: Work, asked: Json) -> tuple[Wish, dict[str, Scalar], str]:
    """The program to be tried, the Config of its parent, and what its text does against the rules,
    a line each. Raises a UserError, where that is refused too."""
    bench, message = work.bench, asked["description"][: drafts.LONGEST]
    parent = candidate_named(bench.history, asked.get("parent", "champion"))
    version = drafts.written(bench, asked, parent, message)
    overrides = drafts.chosen(bench, asked, parent, version)
    text = version.text if version else bench.programs.sources.read(parent.program)
    if version is None and Candidate(parent.program, overrides) == parent:
        raise Mistake("there should be edits, a source or overrides, but there are none")
    wish = Wish(
        program_of(text),
        text,
        version.parents if version else (),
        message,
        smoke.length(bench.history, work.settings.smoke_share),
        overrides,
    )
    remarks = "\n".join(version.remarks) if version else ""
    return wish, dict(bench.programs.values(parent)), remarks


def changes(before: dict[str, Scalar], after: dict[str, Scalar]) -> str:
    """How a Config differs from its parent's."""
    new = [f"new {name}={after[name]!r}" for name in after if name not in before]
    gone = [f"without {name}" for name in before if name not in after]
    other = [
        f"{name} {before[name]!r} -> {after[name]!r}"
        for name in after
        if name in before and before[name] != after[name]
    ]
    return ", ".join([*new, *gone, *other]) or "as its parent's"


def await_outcome(work: Work, experiment: Experiment) -> Outcome | None:
    """The result of a smoke experiment, if it comes in time."""
    patience = min(work.settings.smoke_seconds, SHARE * work.settings.seconds - work.waited)
    begin = time.monotonic()
    found = outcome(work, experiment)
    while found is None and (left := begin + patience - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        found = outcome(work, experiment)
    work.waited += time.monotonic() - begin
    work.library.expire()  # so that the experiment can be named from now on
    return found


def outcome(work: Work, experiment: Experiment) -> Outcome | None:
    """A result that says something of the program: where the machine failed, another one comes."""
    try:
        found = smoke.outcome(work.library.layout, experiment)
    except (KeyError, TypeError, ValueError):
        return None  # the controller will find it damaged, and have it made again
    failure = found[1].failure if found else None
    return None if failure and failure.is_infrastructure else found


def report(work: Work, experiment: Experiment, found: Outcome | None) -> str:
    if found is None:
        return (
            "not run yet: no pilot was free. Go on, or look again later with read_experiment "
            f"{experiment.id}"
        )
    attempt, result = found
    memory = f"{result.peak_memory / (1 << 30):.2f} GB"
    if result.failure is None:
        return (
            f"it ran: {result.tokens} tokens in {result.seconds.train:.1f} s of training after "
            f"{result.seconds.setup:.1f} s of setting up, {memory}. Its score says nothing."
        )
    log = work.library.log(attempt)
    return "\n".join(
        [
            f"it failed: {result.failure}, after {result.tokens} tokens, {memory}",
            data("reason", line(result.reason, REASON), REASON),
            data("end of the log", log.strip(), LOG, Kept.tail),
        ]
    )


# ---- what Claude is told of them -----------------------------------------------------------------

EDITS = {
    "type": "array",
    "description": "applied one after the other to the parent's program",
    "items": closed(
        {
            "search": {"type": "string", "description": "exact text that stands there once"},
            "replace": {"type": "string", "description": "what takes its place"},
        },
        ("search", "replace"),
    ),
}
VALUES = {
    "type": "object",
    "description": "values of Config fields, inside their domains; all others are the parent's",
    "additionalProperties": {"type": ["number", "string", "boolean"]},
}
DOMAINS = {
    "type": "object",
    "description": "for new Config fields, by name: {low, high, log, integer} or {values}; without "
    "one a number is searched from a third of its default to three times it",
    "additionalProperties": closed(
        {
            "low": {"type": "number"},
            "high": {"type": "number"},
            "log": {"type": "boolean"},
            "integer": {"type": "boolean"},
            "values": {"type": "array", "items": {"type": ["number", "string", "boolean"]}},
        }
    ),
}
PROGRAM: Json = {
    "parent": NAME | {"description": f"whose program it is; {NAME['description']}; else champion"},
    "also": NAME | {"description": "a second parent, whose win the edits bring in as well"},
    "edits": EDITS,
    "source": {"type": "string", "description": "a whole train.py instead of edits"},
    "overrides": VALUES,
}
EXPERIMENT: Json = {
    **PROGRAM,
    "space": DOMAINS,
    "description": {"type": "string", "description": "what is changed, in a few words"},
    "expected": {
        "type": "number",
        "description": "the change in bits per byte against the champion; below 0 is better",
    },
    "promote": {
        "type": "boolean",
        "description": "true: it meets the champion in a crown test, whatever screening says",
    },
}


@dataclass(frozen=True)
class Action:
    """A tool that leaves something behind."""

    name: str
    description: str
    schema: Json
    act: Callable[[Work, Json], str | Done]


ACTIONS = (
    Action(
        "try_edit",
        "Find out whether a new program works before you propose it: the edit is applied and "
        "compiled, its text held against the rules, its Config read, and a node runs it for a few "
        "tokens. Answers with the Config "
        "fields that changed and how the run went, or why it failed. Its score says nothing. "
        "A candidate that was tried can be the parent of an experiment, by its key.",
        closed(PROGRAM | {"description": EXPERIMENT["description"]}, ("description",)),
        try_edit,
    ),
    Action(
        "propose_wave",
        "Propose the wave; the conversation ends with it. Every problem is told at once: mend all "
        "of them and propose again.",
        closed(
            {
                "hypothesis": {
                    "type": "string",
                    "description": "what the wave is to find out, so that results can prove it "
                    "wrong; at most 500 characters",
                },
                "experiments": {
                    "type": "array",
                    "items": closed(EXPERIMENT, ("description",)),
                },
            },
            ("hypothesis", "experiments"),
        ),
        propose_wave,
    ),
    Action(
        "note",
        "Write something into the lab notebook, for you and whoever plans later waves: what was "
        f"expected, what came, what follows. At most {drafts.LONGEST_NOTE} characters, "
        f"{MOST_NOTES} notes a wave; two or three sentences are best. Kept whatever becomes of "
        "the wave.",
        closed({"text": {"type": "string"}}, ("text",)),
        note,
    ),
)
