"""Results that W&B carries → result.json, if the referee's signature holds.

Whoever can log in to W&B can edit a run there: what they cannot do is sign.
"""

import json
import re

from autoresearch.experiment import Attempt, Failure, Result
from autoresearch.journal import now
from autoresearch.layout import Layout, write_atomically
from autoresearch.mirror.seen import Seen
from autoresearch.node.signature import is_signed, read_key
from autoresearch.tracking.naming import run_id


class Receipts:
    """Takes in the results of one campaign; `refused` says which not, and why, by run."""

    def __init__(self, layout: Layout, campaign: str) -> None:
        """Raises OSError if the campaign has no key."""
        self.layout = layout
        self.campaign = campaign
        self.key = read_key(layout.key)
        self.refused: dict[str, str] = {}

    def take(self, seen: Seen) -> None:
        """Write down what a run carries, once. Raises OSError."""
        if "result" not in seen.summary and "signature" not in seen.summary:
            return  # it has not ended, or never began
        attempt = self.attempt(seen)
        if attempt is None:
            self.refused[seen.id] = "no attempt of this campaign has this run's name"
            return
        path = self.layout.result(attempt)
        if path.exists():
            return
        text = self.proven(seen, attempt)
        if not text and not seen.has_ended:
            return  # the referee may not have spoken yet
        if not text:
            self.refused[seen.id] = reason = "its result does not carry the referee's signature"
            lost = Result(attempt.experiment, attempt.number, "", failure=Failure.node_failed)
            record = lost.to_json() | {"reason": f"{reason} at W&B", "ended": now()}
            text = json.dumps(record, indent=1) + "\n"
        else:
            self.refused.pop(seen.id, None)  # its claim was not to be seen before
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, text)

    def attempt(self, seen: Seen) -> Attempt | None:
        """Which attempt a run is of, by its id: nothing else in it is believed."""
        experiment, _, rest = seen.id.partition("-")
        number = rest.partition("-")[0]
        is_name = re.fullmatch(r"[0-9a-f]{12}", experiment) and number.isdecimal()
        if not is_name or run_id(self.campaign, experiment, int(number)) != seen.id:
            return None
        attempt = Attempt(experiment, int(number))
        return attempt if self.layout.claim(attempt).exists() else None

    def proven(self, seen: Seen, attempt: Attempt) -> str:
        """The text of the attempt's result.json; "" unless the referee wrote it."""
        text, signature = seen.summary.get("result"), seen.summary.get("signature")
        if not isinstance(text, str) or not isinstance(signature, str):
            return ""
        if not is_signed(self.key, text, signature):
            return ""
        record = json.loads(text)
        is_it = (record["experiment"], record["attempt"]) == (attempt.experiment, attempt.number)
        return text if is_it else ""  # a result of another attempt, put here
