"""A pilot without a referee: it claims and answers like the real one, and only waits in between.

    python _standin.py SECONDS -P -m autoresearch.node.pilot CAMPAIGN TIER LIFE NAME

For figures of the login node alone, on machines that cannot bear so many imports of torch. Its
code is that of the campaign's frozen pilot; the referee is what it stands in for. SECONDS is the
mean of what an experiment takes. Meant for `cluster.python`.
"""

import json
import random
import sys
import time

from autoresearch.experiment import Failure, Result, Seconds
from autoresearch.layout import write_atomically
from autoresearch.node import pilot
from autoresearch.node.progress import Claim

MEAN = float(sys.argv[1])


class Nobody:
    """Where the referee would be."""

    has_died = False

    def end(self) -> None:
        """There is nothing to end."""


class StandIn(pilot.Pilot):
    """Claims, waits, and makes a score up."""

    def hire(self) -> None:
        self.referee = Nobody()  # type: ignore[assignment]

    def serve(self, claim: Claim) -> None:
        luck = random.Random(f"{claim.attempt}")
        seconds = MEAN * luck.uniform(0.5, 1.5)
        self.pause(seconds)
        if self.told_to_stop:
            self.write_failure(claim, Failure.preempted, "the pilot was told to end")
            return
        result = Result(
            claim.attempt.experiment,
            claim.attempt.number,
            self.name,
            bpb=luck.gauss(1.0, 0.01),
            seconds=Seconds(queue=claim.queue, train=seconds),
            started=claim.claimed,
            ended=time.time(),
        )
        text = json.dumps(result.to_json(), indent=1) + "\n"
        write_atomically(self.layout.result(claim.attempt), text)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], *sys.argv[-4:]]
    pilot.Pilot = StandIn  # type: ignore[misc]
    pilot.main()
