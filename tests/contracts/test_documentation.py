"""What the documents show is so: links lead somewhere, help texts are current, commands work.

A command counts when it stands in a ```console block behind "$ ", or in a ```bash block. It is
parsed by the real command line, and the overrides of `run`, `prepare` and `doctor` are composed by
the real configuration; `cluster=mysite` is slurm/site.yaml. An excerpt of a help text may leave out
lines where it says "...".
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import pytest

from autoresearch.arguments import parser
from autoresearch.cli import main
from autoresearch.config import in_full
from autoresearch.errors import UserError

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "train", "slurm", "conf", "skills", "scripts", "tests")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.md"))])

FENCE = re.compile(r"^\s*```(\w*)\s*$")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+)>?[^()]*\)")
SHELL = {">", "|", "&", "&&"}  # what follows is the shell's
COMMAND = re.compile(r"^(?:[A-Z_]+=\S* )*(autoresearch|\./scripts/[\w/.-]+)(?= |$)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line it begins at, its text."""

    document: str
    language: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A command that a document shows, and the output it shows for it."""

    where: str
    words: tuple[str, ...]
    output: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def blocks(text: str, document: str = "") -> Iterator[Block]:
    opened: tuple[str, int] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if not fence:
            inside.append(line)
        elif opened is None:
            opened, inside = (fence[1], number), []
        else:
            yield Block(document, *opened, tuple(inside))
            opened = None


def prose(text: str) -> list[str]:
    """The lines outside fenced blocks, without `code`."""
    lines, fenced = [], False
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            lines.append(re.sub(r"`[^`]*`", "", line))
    return lines


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    found: dict[str, int] = {}
    names = set()
    fenced = False
    for line in text.splitlines():
        fenced ^= bool(FENCE.match(line))
        heading = None if fenced else re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading:
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if slug in found else slug)
            found[slug] = found.get(slug, 0) + 1
    return names


def dead_links(document: Path) -> Iterator[str]:
    text = document.read_text(encoding="utf-8")
    for target in (match[1] for line in prose(text) for match in LINK.finditer(line)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        there = document.parent / name if name else document
        if not there.exists():
            yield f"{document.name}: {target} does not exist"
        elif anchor and anchor not in anchors(there.read_text(encoding="utf-8")):
            yield f"{document.name}: {target} has no such heading"


def joined(lines: tuple[str, ...]) -> list[str]:
    r"""Lines with those that end in \ continued."""
    return "\n".join(lines).replace("\\\n", " ").split("\n")


def typed(block: Block) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a person types in a block, each with the output shown below it."""
    lines = joined(block.lines)
    if block.language == "bash":
        yield from ((line.removeprefix("$ "), ()) for line in lines)
    elif block.language == "console":
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            yield lines[start].removeprefix("$ "), tuple(lines[start + 1 : end])


def commands(text: str, document: str = "") -> Iterator[Shown]:
    """Every command of ours in a document, in order."""
    for block in blocks(text, document):
        for line, output in typed(block):
            match = COMMAND.match(line)
            if match:
                words = shlex.split(line[match.start(1) :], comments=True)
                ours = takewhile(lambda word: word not in SHELL, words)
                yield Shown(f"{document}:{block.line}", tuple(ours), output)


def all_commands() -> list[Shown]:
    return [shown for path in DOCUMENTS for shown in commands(path.read_text("utf-8"), path.name)]


def is_excerpt(excerpt: tuple[str, ...], whole: str) -> bool:
    """Whether the excerpt's runs of lines, cut at "...", all stand in the text, in order."""
    runs = re.split(r"(?m)^\s*(?:\.\.\.|…)\s*$", "\n".join(excerpt))
    texts = filter(None, (run.strip("\n") for run in runs))
    pattern = r"\n(?:.*\n)*?".join(map(re.escape, texts))
    return re.search(rf"(?m)^{pattern}$", whole) is not None


def help_text(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words[1:])
    assert ended.value.code == 0
    return capsys.readouterr().out


def check(shown: Shown) -> None:
    """Raises AssertionError or SystemExit if the command would be refused as it stands."""
    command, *rest = shown.words
    if command == "./scripts/demo":
        command, rest = "autoresearch", ["run", "task=tiny", "budget=demo", "judge=quick", *rest]
    if command != "autoresearch":
        assert os.access(ROOT / command, os.X_OK), f"{command} is no script"
    elif "--help" not in rest:
        options = parser().parse_args(rest)
        if options.verb == "prepare":
            assert main(["run", "--cfg", "job", *in_full(options.overrides)]) == 0
        if options.verb in ("run", "doctor"):
            assert main(["run", "--cfg", "job", *options.overrides]) == 0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a site's settings, prepared text, and the width excerpts are written for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "cluster").mkdir(parents=True)
    shutil.copyfile(ROOT / "slurm" / "site.yaml", tmp_path / "conf" / "cluster" / "mysite.yaml")
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert list(dead_links(document)) == []


def test_the_documents_show_commands() -> None:
    shown = all_commands()
    assert len([s for s in shown if s.words[0] == "autoresearch"]) >= 10
    assert len([s for s in shown if "--help" in s.words and s.output]) >= 1


def test_every_command_shown_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in all_commands():
        try:
            check(shown)
        except (AssertionError, UserError) as error:
            pytest.fail(f"{shown}\n{error}\n{capsys.readouterr().err}")


def test_every_help_text_shown_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in all_commands():
        if "--help" in shown.words and shown.output:
            real = help_text(shown.words, capsys)
            assert is_excerpt(shown.output, real), f"{shown} says now:\n{real}"


def test_the_examples_in_the_help_of_run_work(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_text(("autoresearch", "run", "--help"), capsys)
    examples = re.findall(r"(?m)^  (autoresearch run\b.*?)(?:   .*)?$", text)
    assert len(examples) >= 4
    for example in examples:
        check(Shown("run --help", tuple(shlex.split(example)), ()))


DOCUMENT = """\
# A title, with `code` & signs
See [here](#a-title-with-code--signs), [twice](#same-1), [there](other.md#same),
[the web](https://example.org/x), and `[not a link](nowhere.md)`.
## Same
```console
$ autoresearch run --help
usage: autoresearch run
...
  --cfg
$ AUTORESEARCH_DATA=x autoresearch run planner=greedy \\
    seed=2  # the same, shuffled
$ autoresearch wave template campaigns/x > wave.json
$ ls
```
## Same
```bash
./scripts/demo
```
```text
$ autoresearch not counted
```
"""


def test_a_sound_document_passes(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Same\n")
    document = tmp_path / "document.md"
    document.write_text(DOCUMENT)
    assert list(dead_links(document)) == []


@pytest.mark.parametrize("target", ["missing.md", "other.md#nothing", "#nothing", "docs/x.png"])
def test_a_dead_link_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "other.md").write_text("# Same\n```\n# nothing\n```\n")
    document = tmp_path / "document.md"
    document.write_text(f"# Title\nSee ![a [nested] text]({target}).\n")
    assert [target in fault for fault in dead_links(document)] == [True]


@pytest.mark.parametrize(
    "command",
    [
        "autoresearch statsu campaigns/x",
        "autoresearch show campaigns/x",
        "autoresearch show campaigns/x ID --jsn",
        "autoresearch run task=nonesuch",
        "autoresearch run task.parms.depth=4",
        "autoresearch prepare task.data.vocabulary=many",
        "./scripts/demo budget.experimens=3",
        "./scripts/nonesuch",
    ],
)
def test_a_command_that_would_be_refused_is_named(command: str) -> None:
    with pytest.raises((AssertionError, UserError)):
        check(Shown("d.md:1", tuple(command.split()), ()))


@pytest.mark.parametrize(
    "command",
    [
        "autoresearch show campaigns/x ID --json",
        "autoresearch run planner=greedy budget.experiments=3",
        "autoresearch prepare task=tiny --force",
        "autoresearch run --help",
        "./scripts/demo planner=random",
        "./scripts/test --full",
    ],
)
def test_a_command_that_works_passes(command: str) -> None:
    check(Shown("d.md:1", tuple(command.split()), ()))


def test_commands_are_found_with_their_output() -> None:
    assert list(commands(DOCUMENT, "d.md")) == [
        Shown(
            "d.md:5",
            ("autoresearch", "run", "--help"),
            ("usage: autoresearch run", "...", "  --cfg"),
        ),
        Shown("d.md:5", ("autoresearch", "run", "planner=greedy", "seed=2"), ()),
        Shown("d.md:5", ("autoresearch", "wave", "template", "campaigns/x"), ()),
        Shown("d.md:16", ("./scripts/demo",), ()),
    ]


@pytest.mark.parametrize(
    ("excerpt", "fits"),
    [
        (("a", "b"), True),
        (("b", "...", "d"), True),
        (("...", "c", "d"), True),
        (("a", "c"), False),
        (("d", "...", "a"), False),
        (("a", "...", "x"), False),
        (("b", "...", "b"), False),
    ],
)
def test_an_excerpt_may_leave_out_only_what_it_says(excerpt: tuple[str, ...], fits: bool) -> None:
    assert is_excerpt(excerpt, "a\nb\nc\nd\n") is fits
