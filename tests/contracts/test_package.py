"""The wheel is complete: installed anywhere it works from any folder, with no checkout in sight."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SHIPPED = {
    "conf": "config.yaml",
    "skills": "autoresearch/SKILL.md",
    "slurm": "campaign.sbatch",
    "train": "train.py",
}


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command away from the checkout; return what it prints, fail with what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = kept | {"AUTORESEARCH_DATA": str(folder)}
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment that holds our wheel, and sees our dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    run(build, folder)
    (wheel,) = folder.glob("autoresearch-*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], folder)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_every_dependency_is_pinned_to_a_version_it_admits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    wanted += [Requirement(line) for line in project["optional-dependencies"]["dev"]]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pinned.items()}
    assert len(wanted) > 15
    for need in wanted:
        assert need.specifier.contains(pins[canonicalize_name(need.name)]), need


@pytest.mark.parametrize(("name", "content"), SHIPPED.items())
def test_the_wheel_ships_the_folders_it_reads(
    installed: Path, tmp_path: Path, name: str, content: str
) -> None:
    code = f"from autoresearch.layout import shipped; print(shipped({name!r}))"
    folder = Path(run([installed / "python", "-c", code], tmp_path).strip())
    assert folder.is_relative_to(installed.parent)
    assert [path for path in folder.glob(content) if path.stat().st_size > 0]


def test_the_command_answers_from_any_folder(installed: Path, tmp_path: Path) -> None:
    assert "usage: autoresearch" in run([installed / "autoresearch", "--help"], tmp_path)


def test_the_shipped_settings_compose_from_any_folder(installed: Path, tmp_path: Path) -> None:
    settings = run([installed / "autoresearch", "run", "--cfg", "job", "task=tiny"], tmp_path)
    assert "task:" in settings
    assert str(ROOT) not in settings
