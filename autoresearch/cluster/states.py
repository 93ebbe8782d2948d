"""What each state of a Slurm job means for a pilot: one table, nothing else knows the words.

States as `squeue` and `sacct` spell them (19 to 25), also with more behind: "CANCELLED by 0".
"""

from autoresearch.cluster.interface import Phase
from autoresearch.experiment import Failure

Meaning = tuple[Phase, Failure | None, str]  # and, of an end, how it came in words

WAITING: Meaning = (Phase.waiting, None, "")
RUNNING: Meaning = (Phase.running, None, "")


def over(failure: Failure | None, words: str) -> Meaning:
    return Phase.gone, failure, words


# Whoever ended a pilot from outside has preempted what it ran: that is tried again elsewhere.
STATES: dict[str, Meaning] = {
    "PENDING": WAITING,
    "CONFIGURING": WAITING,
    # It ran before, so to us it is over: see `slurm`.
    "REQUEUED": WAITING,
    "REQUEUE_FED": WAITING,
    "REQUEUE_HOLD": WAITING,
    "SPECIAL_EXIT": WAITING,
    "RESV_DEL_HOLD": WAITING,
    "RUNNING": RUNNING,
    "COMPLETING": RUNNING,
    "RESIZING": RUNNING,
    "SIGNALING": RUNNING,
    "STAGE_OUT": RUNNING,
    "STOPPED": RUNNING,
    "SUSPENDED": RUNNING,
    "COMPLETED": over(Failure.node_failed, "ended without a goodbye"),
    "CANCELLED": over(Failure.preempted, "was cancelled"),
    "DEADLINE": over(Failure.preempted, "missed its deadline"),
    "PREEMPTED": over(Failure.preempted, "was preempted"),
    "REVOKED": over(Failure.preempted, "was moved to another cluster"),
    "TIMEOUT": over(Failure.preempted, "ran into its time limit"),
    "BOOT_FAIL": over(Failure.node_failed, "found a node that did not boot"),
    "FAILED": over(Failure.node_failed, "failed"),
    "LAUNCH_FAILED": over(Failure.node_failed, "could not be launched"),
    "NODE_FAIL": over(Failure.node_failed, "lost its node"),
    "OUT_OF_MEMORY": over(Failure.out_of_memory, "was killed for want of memory"),
    "RECONFIG_FAIL": over(Failure.node_failed, "found a node that could not be set up"),
}


def meaning(state: str) -> Meaning:
    """A state that no table knows yet is taken for running: nothing is given up on a guess."""
    word = state.split(maxsplit=1)[0].rstrip("+").upper() if state.strip() else ""
    return STATES.get(word, RUNNING)
