"""Running pilots as an ordinary user, where the tests' own user is root."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nodes import Campaign

NOBODY = 65534
ORDINARY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
ME = "root" if os.getuid() == 0 else "ordinary"
USERS = ("root", "ordinary")
PYTHONS = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
PACKAGES = sysconfig.get_paths()["purelib"]


@dataclass(frozen=True)
class User:
    """`prefix` is what a command line begins with to be theirs; `python` one that they may run."""

    name: str = ME
    prefix: tuple[str, ...] = ()
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, campaign: Campaign, prefix: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        """A pilot of theirs, who own the campaign from now on."""
        if self.prefix:
            self.take(campaign.layout.root.parent)
        paths = (str(campaign.layout.node), *filter(None, [self.environment.get("PYTHONPATH")]))
        campaign.environment |= self.environment | {"PYTHONPATH": ":".join(paths)}
        campaign.python = self.python
        return campaign.start("p1", prefix=(*self.prefix, *prefix))

    def take(self, folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, NOBODY, NOBODY)


def user(name: str) -> User:
    """Skips the test if that user cannot be had."""
    if name == ME:
        return User()
    if name == "root":
        pytest.skip("needs root")
    for python in PYTHONS:  # root's own may lie where nobody else may look
        command = (*ORDINARY, "sh", "-c", f"{python} -c 'import encodings, torch'")
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": PACKAGES}
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, check=False)
        if done.returncode == 0:
            return User(name, ORDINARY, python, {"PYTHONPATH": PACKAGES, "USER": name})
    pytest.skip("needs a Python with torch that an ordinary user may run")
