"""The import order: each part of the package knows only what stands above it.

Adding a module means giving it a place in ORDER; adding a third-party package means naming its
one owner in OWNERS. `violations` is tried on planted trees below, so that silence means order.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from autoresearch.node import FROZEN as COPIED

ROOT = Path(__file__).parents[2]

# Reading order. A folder (planners, cluster, node, ...) counts as one part.
ORDER = (
    *("errors", "experiment", "layout", "space", "settings", "process", "hardware", "config"),
    *("strict", "journal", "entry", "history", "record", "lease", "program", "inspection"),
    *("sources", "edits", "statistics", "effects", "programs", "lessons", "names", "smoke"),
    *("drafts", "claude", "planners"),
    *("planning", "placement", "spending", "cluster", "node", "tracking", "mirror", "judge"),
    *(
        "dispatch",
        "collect",
        "asking",
        "campaign",
        "opening",
        "report",
        "doctor",
        "verification",
        "verbs",
    ),
    *("words", "arguments", "cli", "__main__"),
)

# Copied beside a campaign at its start: complete in itself, whatever happens to the rest.
FROZEN = {
    *("errors", "experiment", "layout", "space", "settings", "process", "hardware"),
    *("node", "tracking"),
}

# One third-party package, one owner (a module, or all modules of a folder).
OWNERS = {
    "anthropic": {"claude"},
    "hydra": {"config"},
    "matplotlib": {"report"},
    "numpy": {"effects", "node", "planners", "report", "statistics"},
    "omegaconf": {"config"},
    "optuna": {"planners.bayes"},
    "rich": {"cli", "report", "verbs"},
    "scipy": {"planners", "statistics"},
    "submitit": {"cluster"},
    "torch": {"node.harness"},
    "wandb": {"mirror", "report", "tracking"},
    "wandb_workspaces": {"report.workspace"},
    "yaml": {"config"},
}

# Only these may be imported inside a function: packages that are slow to load, and our module
# that loads one, by the module that must prepare its environment first.
LAZY_PACKAGES = {
    *("anthropic", "hydra", "matplotlib", "omegaconf", "optuna", "rich", "scipy", "torch", "wandb")
}
LAZY_MODULES = {
    "tracking.logger": {"tracking.runs"},
    "mirror.watcher": {"mirror.listing"},
}

# Tables that list strategies: a strategy must not know its siblings.
TABLES = {"cluster.table", "planners.table"}

# An import by a name in a string dodges every rule here: only tables of names may do it.
DYNAMIC = {"importlib", "importlib.import_module", "importlib.util"}
DYNAMIC_IMPORTERS = {"cli", "node.harness", "planners.table"}


@dataclass(frozen=True)
class Import:
    """One imported dotted name; a relative one begins with a dot."""

    target: str
    line: int
    nested: bool


def imports(source: str) -> Iterator[Import]:
    """Every import of a module, those inside functions and conditions included."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        nested = node not in tree.body
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, nested) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (f"{node.module}." if node.module else "")
            yield from (Import(f"{base}{a.name}", node.lineno, nested) for a in node.names)


def part_of(module: str) -> str:
    return module.partition(".")[0]


def owns(owners: set[str], module: str) -> bool:
    return any(module == owner or module.startswith(f"{owner}.") for owner in owners)


class Tree:
    """The modules of one package folder, by their dotted names below it."""

    def __init__(self, package: Path) -> None:
        self.name = package.name
        self.sources = {
            ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): (
                path.read_text(encoding="utf-8")
            )
            for path in sorted(package.rglob("*.py"))
        }

    def resolve(self, target: str) -> str:
        """`pkg.planners.bayes.propose` -> "planners.bayes": the module that a name lies in."""
        parts = target.split(".")[1:]
        while parts and ".".join(parts) not in self.sources:
            parts.pop()
        return ".".join(parts)

    def violations(self) -> Iterator[str]:
        for module, source in self.sources.items():
            if module != "__init__" and part_of(module) not in ORDER:
                yield f"{module}: has no place in ORDER"
                continue
            for found in imports(source):
                yield from (f"{module}:{found.line}: {why}" for why in self.faults(module, found))
        yield from self.circles()

    def faults(self, module: str, found: Import) -> Iterator[str]:
        top = part_of(found.target)
        if found.target.startswith("."):
            yield f"relative import of {found.target}"
        elif top == self.name:
            yield from self.order_faults(module, self.resolve(found.target), found)
        elif top not in sys.stdlib_module_names:
            yield from package_faults(module, top, found)
        elif found.target in DYNAMIC and module not in DYNAMIC_IMPORTERS:
            yield f"import of {found.target}, which hides what is imported"
        elif found.nested:
            yield f"import of {top} inside a function"

    def order_faults(self, module: str, target: str, found: Import) -> Iterator[str]:
        part, needed = part_of(module), part_of(target)
        if found.nested and target not in LAZY_MODULES.get(module, ()):
            yield f"import of {target} inside a function"
        if needed not in ORDER:
            if needed:
                yield f"import of {target}, which has no place in ORDER"
        elif needed == part:
            is_strategy = not module.endswith(("__main__", ".table"))
            if target in TABLES and is_strategy:
                yield f"a strategy imports the table that lists it ({target})"
        elif part in FROZEN and needed not in FROZEN:
            yield f"import of {target}, which is not copied to the node"
        elif ORDER.index(needed) >= ORDER.index(part):
            yield f"import of {target}, which stands below {part}"

    def circles(self) -> Iterator[str]:
        graph = {
            module: {
                self.resolve(found.target)
                for found in imports(source)
                if found.target.startswith(f"{self.name}.") and not found.nested
            }
            - {module, ""}
            for module, source in self.sources.items()
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            yield f"import circle: {' <- '.join(error.args[1])}"


def package_faults(module: str, top: str, found: Import) -> Iterator[str]:
    if top not in OWNERS:
        yield f"import of {top}, which has no owner"
    elif not owns(OWNERS[top], module):
        yield f"import of {top}, which belongs to {', '.join(sorted(OWNERS[top]))}"
    elif found.nested and top not in LAZY_PACKAGES:
        yield f"import of {top} inside a function"


def violations(package: Path) -> list[str]:
    return list(Tree(package).violations())


def plant(folder: Path, **files: str) -> Path:
    """A package of one-line modules: `planners__bayes="import x"` is planners/bayes.py."""
    package = folder / "autoresearch"
    for name, source in files.items():
        path = package / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + "\n", encoding="utf-8")
    return package


CLEAN = {
    "errors": "import difflib",
    "space": "from autoresearch.errors import ConfigError",
    "config": "import hydra\nfrom autoresearch import errors, space",
    "planners__table": "from autoresearch.planners import bayes",
    "planners__bayes": "import optuna\nfrom autoresearch.space import names",
    "cluster__local": "import submitit",
    "node__pilot": "import numpy\nfrom autoresearch.errors import UserError",
    "node__harness": "import torch",
    "cli": "import importlib\nimport importlib.metadata",
    "tracking__logger": "def serve() -> None:\n    from autoresearch.tracking import runs",
    "tracking__runs": "import wandb",
    "campaign": "from autoresearch.cluster.local import LocalCluster",
}


def test_the_package_keeps_the_order() -> None:
    package = ROOT / "autoresearch"
    assert len(Tree(package).sources) > 20
    assert violations(package) == []


def test_the_frozen_parts_are_those_that_are_copied_to_the_node() -> None:
    copied = {name.removesuffix(".py").partition("/")[0] for name in COPIED}
    assert copied - {"__init__"} | {"tracking"} == FROZEN


def test_an_orderly_tree_passes(tmp_path: Path) -> None:
    assert violations(plant(tmp_path, **CLEAN)) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("config", "from autoresearch import campaign", "config:1: import of campaign, which stan"),
        ("config", "from autoresearch.campaign import run", "config:1: import of campaign, which"),
        ("config", "import autoresearch.campaign", "config:1: import of campaign, which stands"),
        ("campaign", "import submitit", "campaign:1: import of submitit, which belongs to cluster"),
        ("campaign", "import torch.nn", "campaign:1: import of torch, which belongs to node.harn"),
        ("node__pilot", "import torch", "node.pilot:1: import of torch, which belongs to"),
        ("planners__greedy", "import optuna", "planners.greedy:1: import of optuna, which belongs"),
        ("campaign", "import requests", "campaign:1: import of requests, which has no owner"),
        ("campaign", "import train", "campaign:1: import of train, which has no owner"),
        ("campaign", "import importlib", "campaign:1: import of importlib, which hides"),
        ("campaign", "from importlib import import_module", "campaign:1: import of importlib.impo"),
        ("report", "def late() -> None:\n    import numpy", "report:2: import of numpy inside a"),
        ("campaign", "from . import errors", "campaign:1: relative import of .errors"),
        ("node__pilot", "from ..errors import E", "node.pilot:1: relative import of ..errors.E"),
        ("node__pilot", "from autoresearch import config", "node.pilot:1: import of config, which"),
        ("settings", "from autoresearch.config import load", "settings:1: import of config, which"),
        (
            "planners__bayes",
            "from autoresearch.planners.table import propose",
            "planners.bayes:1: a strategy imports the table",
        ),
        (
            "planners__bayes",
            "from autoresearch.planners import table",
            "planners.bayes:1: a strategy imports the table",
        ),
        ("errors", "from autoresearch.experiment import State", "errors:1: import of experiment"),
        (
            "errors",
            "def late() -> None:\n    from autoresearch import space",
            "errors:2: import of space inside a function",
        ),
        (
            "space",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import autoresearch.errors",
            "space:3: import of errors inside a function",
        ),
        ("space", "def late() -> None:\n    import json", "space:2: import of json inside"),
        ("helpers", "import json", "helpers: has no place in ORDER"),
        ("cli", "from autoresearch.helpers import x", None),
    ],
)
def test_a_planted_violation_is_named(
    tmp_path: Path, module: str, source: str, complaint: str | None
) -> None:
    found = violations(plant(tmp_path, **{**CLEAN, "experiment": "", module: source}))
    if complaint is None:  # an unknown name of the root package is no module: nothing to order
        assert found == []
    else:
        assert any(line.startswith(complaint) for line in found), found


def test_a_circle_inside_a_folder_is_named(tmp_path: Path) -> None:
    package = plant(
        tmp_path,
        node__wire="from autoresearch.node import pilot",
        node__pilot="from autoresearch.node.wire import read",
    )
    assert any("import circle" in line for line in violations(package))


def test_the_task_is_reached_by_path_and_knows_nothing_of_the_package() -> None:
    programs = sorted((ROOT / "train").glob("*.py"))
    assert programs
    for program in programs:
        tops = {part_of(found.target) for found in imports(program.read_text("utf-8"))}
        assert "autoresearch" not in tops, program


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    code = "import sys, autoresearch.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert LAZY_PACKAGES.isdisjoint(done.stdout.split())
