"""One question to one planner: `python -m autoresearch.planners < request.json > wave.json`.

A request that cannot be used ends with one line on stderr and exit code 1.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from autoresearch.errors import ConfigError, UserError
from autoresearch.layout import write_atomically
from autoresearch.planners.protocol import FAILED, OWNER, Request
from autoresearch.planners.table import propose
from autoresearch.process import Identity


def read(text: str) -> Request:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"a request should be JSON on stdin, but: {error}") from None
    if not isinstance(record, dict):
        raise ConfigError(f"a request should be a JSON object, but was {type(record).__name__}")
    return Request.from_json(record)


def main() -> int:
    try:
        request = read(sys.stdin.read())
        if request.folder:
            write_atomically(Path(request.folder) / OWNER, json.dumps(asdict(Identity.mine())))
        wave = propose(request)
    except UserError as error:
        sys.stderr.write(f"{FAILED}{error}\n")
        return 1
    sys.stdout.write(json.dumps(wave.to_json()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
