"""The environment a pilot is started with: the user's own, without secrets, our node code first."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from autoresearch.layout import Layout

SECRET = re.compile(
    r"KEY|AUTH|PASS|SECRET|TOKEN|CREDS|CREDENTIAL|COOKIE|BEARER|HEADERS|WEBHOOK|_PWD|_PW(_|$)"
    r"|(^|_)(PAT|JWT|DSN)(_|$)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"://[^/\s:@]*:[^\s@]+@|://[^/\s@]*(glpat-|ghp_|token)[^/\s]*@|password\s*="
    r"|^(ghp_|gho_|glpat-|hf_|sk-|xox[bp]-|AKIA|eyJ)",
    re.IGNORECASE,
)
# Of a job we may run inside; where Slurm's own configuration lies is no job's.
INHERITED_JOB = re.compile(r"^(SLURM|SLURMD|SBATCH|SUBMITIT|PMI|PMIX)_(?!CONF$)")


def scrubbed(layout: Layout, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What may cross to a node. API keys stay home; a node reads W&B's from ~/.netrc.

    No bytecode: a full disk would leave torn files that break every later pilot.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if not SECRET.search(name)
        and not SECRET_VALUE.search(value)
        and not INHERITED_JOB.match(name)
    }
    ours = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | ours | {"PYTHONPATH": str(layout.node)}


@contextmanager
def exactly(variables: Mapping[str, str]) -> Iterator[None]:
    """Run with exactly these variables, then put the old ones back: submitit passes ours on."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
