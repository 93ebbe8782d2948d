"""What Slurm prints → rows: recorded outputs, and anything else without a traceback."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.cluster.queue import Row, indices, read_sacct, read_squeue, sacct, squeue

SQUEUE = """\
1_[8-10%8]|PENDING|h100|N/A|N/A||Resources|ar-5b1c-screen-aa
1_4|RUNNING|h100|1795590805|1795591405|h100-01|None|ar-5b1c-screen-aa
1_5|COMPLETED|h100|1795590801|1795590804|h100-01|None|ar-5b1c-screen-aa
17|PENDING|h200|1795595000|1795598600||QOSMaxGRESPerUser|someone's, with | in its name
18|NODE_FAIL|h200|1795590801|1795590830|h200-02|NodeDown|ar-5b1c-validate-bb
"""

SACCT = """\
1_0|COMPLETED|1795590797|1795590800|h100-01|ar-5b1c-screen-aa
1_0.batch|COMPLETED|1795590797|1795590800|h100-01|batch
1_1|FAILED|1795590797|1795590800|h100-01|ar-5b1c-screen-aa
1_1.batch|FAILED|1795590797|1795590800|h100-01|batch
1_1.0|OUT_OF_MEMORY|1795590797|1795590800|h100-01|env
1_[2-3]|PENDING|Unknown|Unknown|None assigned|ar-5b1c-screen-aa
7|CANCELLED by 0|None|1795590800|None assigned|ar-5b1c-validate-bb
"""


def test_every_task_of_the_queue_is_a_row() -> None:
    rows = read_squeue(SQUEUE)
    assert [(row.job, row.index, row.state) for row in rows] == [
        ("1_8", 8, "PENDING"),
        ("1_9", 9, "PENDING"),
        ("1_10", 10, "PENDING"),
        ("1_4", 4, "RUNNING"),
        ("1_5", 5, "COMPLETED"),
        ("17", 0, "PENDING"),
        ("18", 0, "NODE_FAIL"),
    ]
    assert rows[3] == Row(
        *("1_4", "ar-5b1c-screen-aa", 4, "RUNNING", "None", "h100", "h100-01"),
        started=1795590805.0,
        ended=1795591405.0,
    )
    assert rows[0].started is None
    assert rows[5].name == "someone's, with | in its name"


def test_every_job_of_the_accounting_is_a_row_and_its_steps_say_what_it_does_not() -> None:
    rows = {row.job: row for row in read_sacct(SACCT)}
    assert list(rows) == ["1_0", "1_1", "1_2", "1_3", "7"]
    assert rows["1_1"].state == "OUT_OF_MEMORY"
    assert rows["7"].started is None
    assert rows["7"].ended == 1795590800


@pytest.mark.parametrize(
    ("block", "numbers"),
    [
        ("0-3", [0, 1, 2, 3]),
        ("0-6:2,9%4", [0, 2, 4, 6, 9]),
        ("7", [7]),
        ("1,2,...", [1, 2]),
        ("", []),
        ("3-1", []),
    ],
)
def test_blocks_of_indices_are_written_out(block: str, numbers: list[int]) -> None:
    assert list(indices(block)) == numbers


@given(st.sets(st.integers(0, 2000), min_size=1))
def test_any_set_of_indices_comes_back(numbers: set[int]) -> None:
    block = ",".join(map(str, sorted(numbers)))
    line = f"5_[{block}%3]|PENDING|p|N/A|N/A||None|name\n"
    assert {row.index for row in read_squeue(line)} == numbers
    assert {row.index for row in read_sacct(f"5_[{block}]|PENDING|a|b|c|name\n")} == numbers


@given(st.text(alphabet="0123456789_[]-,%:.| \nPRabc"))
def test_nothing_that_is_printed_is_a_traceback(text: str) -> None:
    for row in (*read_squeue(text), *read_sacct(text)):
        assert row.job


def test_one_question_asks_for_all(tmp_path: object) -> None:
    assert squeue("ada").count("-u") == 1
    question = sacct({"ar-1-b", "ar-1-a"}, since=1795590800.7)
    assert question[-1] == "--name=ar-1-a,ar-1-b"
    assert not any("." in word for word in question)


def test_others_jobs_are_counted_and_not_written_out() -> None:
    text = "5_[0-3999999%8]|PENDING|p|N/A|N/A||None|somebody's\n" + SQUEUE
    rows = read_squeue(text, "ar-5b1c-")
    assert [row.tasks for row in rows if row.name == "somebody's"] == [4_000_000]
    assert len(rows) == len(read_squeue(SQUEUE)) + 1
    (odd,) = read_squeue("5_[0-99999999999]|PENDING|p|N/A|N/A||None|x\n", "ar-")
    assert odd.tasks == 0
