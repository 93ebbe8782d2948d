"""Every state a Slurm job can be in, and what it means for a pilot."""

import pytest

from autoresearch.cluster.interface import Phase
from autoresearch.cluster.states import STATES, meaning
from autoresearch.experiment import Failure

# The states of squeue(1) and sacct(1), Slurm 22.05 to 25.05.
DOCUMENTED = [
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "CONFIGURING", "DEADLINE", "FAILED"),
    *("LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING", "PREEMPTED", "RECONFIG_FAIL"),
    *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "RESV_DEL_HOLD", "REVOKED"),
    *("RUNNING", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED", "SUSPENDED", "TIMEOUT"),
]


def test_every_documented_state_has_a_meaning() -> None:
    assert set(DOCUMENTED) == set(STATES)


@pytest.mark.parametrize("state", DOCUMENTED)
def test_an_end_says_what_it_was_and_nothing_else_does(state: str) -> None:
    phase, failure, words = meaning(state)
    assert bool(words) == (phase is Phase.gone)
    assert phase is Phase.gone or failure is None


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ("CANCELLED by 1000", Failure.preempted),
        ("CANCELLED+", Failure.preempted),
        ("PREEMPTED", Failure.preempted),
        ("TIMEOUT", Failure.preempted),
        ("NODE_FAIL", Failure.node_failed),
        ("FAILED", Failure.node_failed),
        ("OUT_OF_MEMORY", Failure.out_of_memory),
        ("COMPLETED", Failure.node_failed),  # without a goodbye
    ],
)
def test_what_an_end_makes_of_the_experiment_that_was_held(state: str, failure: Failure) -> None:
    assert meaning(state)[:2] == (Phase.gone, failure)


@pytest.mark.parametrize("state", ["", "TRANSCENDED", "   "])
def test_nothing_is_given_up_for_a_state_nobody_knows(state: str) -> None:
    assert meaning(state)[0] is Phase.running
