"""A pilot that only names itself and waits: for tests of clusters, to which pilots are jobs."""

from pathlib import Path

from autoresearch.cluster.environment import scrubbed
from autoresearch.layout import Layout

PILOT = """
import json, os, sys, time
from dataclasses import asdict
from pathlib import Path
from autoresearch.layout import Layout
from autoresearch.process import Identity
layout = Layout(Path(sys.argv[1]))
time.sleep(0.3)
name = sys.argv[4]
who = asdict(Identity.mine())
secrets = [name for name in os.environ if "KEY" in name or "TOKEN" in name]
record = {"pilot": name, "started": time.time(), "secrets": secrets, "life": sys.argv[3], **who}
layout.pilot(name).write_text(json.dumps(record))
while not layout.drain.exists():
    time.sleep(0.05)
"""
NEEDED = ("__init__", "errors", "experiment", "layout", "process")


def freeze_stand_in(layout: Layout) -> None:
    """Make a campaign's folders whose frozen node code is the stand-in."""
    package = layout.node / "autoresearch" / "node"
    package.mkdir(parents=True)
    source = Path(scrubbed.__code__.co_filename).parent.parent
    for name in NEEDED:
        (package.parent / f"{name}.py").write_bytes((source / f"{name}.py").read_bytes())
    (package / "__init__.py").touch()
    (package / "pilot.py").write_text(PILOT, encoding="utf-8")
    layout.pilots.mkdir()
    layout.drain.parent.mkdir()
