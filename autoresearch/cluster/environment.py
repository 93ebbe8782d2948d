"""The environment a pilot is started with: the user's own, without secrets, our node code first."""

import os
import re
from collections.abc import Mapping

from autoresearch.layout import Layout

SECRET = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)", re.IGNORECASE)
INHERITED_JOB = re.compile(r"^(SLURM|SBATCH|SUBMITIT|PMI|PMIX)_")  # of a job we may run inside


def scrubbed(layout: Layout, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What may cross to a node. API keys stay home; a node reads W&B's from ~/.netrc."""
    kept = {
        name: value
        for name, value in variables.items()
        if not SECRET.search(name) and not INHERITED_JOB.match(name)
    }
    return kept | {"PYTHONPATH": str(layout.node), "PYTHONUNBUFFERED": "1"}
