"""What a planner is told, and what becomes of its answer. The planners here are the real ones."""

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from test_judge import by_width
from worlds import Known, World, make_settings

from autoresearch.experiment import Candidate, Failure, Wave
from autoresearch.planners.protocol import OWNER
from autoresearch.planning import LIVES, SPARE_SECONDS, PlannerFailed, Planning, request
from autoresearch.process import Identity
from autoresearch.settings import Planner
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {"width": Choice((1, 2, 3, 4, 5)), "rate": Interval(0.01, 1.0, log=True)}
SETTINGS = make_settings(
    search=replace(make_settings().search, space=SPACE), planner=Planner("random")
)


PROGRAMS = Known(width=1, rate=0.1, other="x")


def answer(planning: Planning) -> Wave:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        wave = planning.poll()
        if wave is not None:
            return wave
        time.sleep(0.05)
    raise AssertionError("the planner took more than a minute")


def kill(planning: Planning) -> None:
    """As the kernel does where memory is short."""
    assert planning.process
    planning.process.kill()
    planning.process.wait()


def test_a_planner_is_told_every_candidate_with_its_mean_or_failure() -> None:
    def draw(candidate: Candidate, seed: int) -> float | Failure:
        if candidate.overrides.get("width") == 5:
            return Failure.out_of_memory
        return by_width(candidate, seed)

    world = World(draw, SETTINGS)
    world.settle()
    world.propose({"width": 3}, {"width": 5, "rate": 0.5})
    question = request(world.history, SETTINGS, 4, PROGRAMS)
    assert question["capacity"] == 4
    assert question["wave"] == 2
    assert question["defaults"] == {"width": 1, "rate": 0.1}
    baseline, good, bad = question["trials"]
    assert baseline["parameters"] == {"width": 1, "rate": 0.1}
    assert baseline["seeds"] == 3
    assert good["parameters"] == {"width": 3, "rate": 0.1}
    assert good["state"] == "finished"
    assert 1.9 < good["value"] < 2.1
    assert bad["state"] == "failed"
    assert bad["failure"] == "out_of_memory"
    assert bad["value"] is None


@pytest.mark.parametrize("kind", ["random", "bayes", "greedy", "factorial"])
def test_every_planner_answers_with_a_wave_inside_the_space(tmp_path: Path, kind: str) -> None:
    settings = replace(SETTINGS, planner=Planner(kind))
    world = World(by_width, settings)
    world.settle()
    planning = Planning.start(tmp_path / "0001", request(world.history, settings, 3, PROGRAMS), 0)
    wave = answer(planning)
    assert wave.planner == kind
    assert wave.hypothesis
    assert 1 <= len(wave.proposals) <= 3
    for proposal in wave.proposals:
        assert set(proposal.overrides) == set(SPACE)
        assert all(SPACE[name].contains(value) for name, value in proposal.overrides.items())


def test_a_planner_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    settings = replace(SETTINGS, planner=Planner("random", {"nonsense": 1}))
    world = World(by_width, settings)
    planning = Planning.start(tmp_path / "0001", request(world.history, settings, 3, PROGRAMS), 0)
    with pytest.raises(PlannerFailed, match="nonsense") as failure:
        answer(planning)
    assert "\n" not in str(failure.value)


def ask(folder: Path, kind: str = "random") -> Planning:
    settings = replace(SETTINGS, planner=Planner(kind))
    world = World(by_width, settings)
    world.settle()
    return Planning.start(folder, request(world.history, settings, 3, PROGRAMS), 7)


def test_killing_ends_a_planner_at_work_and_keeps_the_question(tmp_path: Path) -> None:
    planning = ask(tmp_path / "0001")
    planning.kill()
    assert planning.process is not None
    assert planning.process.poll() is not None
    assert (tmp_path / "0001" / "request.json").exists()


def test_an_answer_outlives_the_controller_that_asked(tmp_path: Path) -> None:
    wave = answer(ask(tmp_path / "0001"))
    again = Planning.take_up(tmp_path / "0001", 60)
    assert again is not None
    assert again.process is None  # nobody is asked twice
    assert again.is_done
    assert again.poll() == wave
    assert again.capacity == 3


def test_a_planner_at_work_is_waited_for_by_whoever_comes_next(tmp_path: Path) -> None:
    folder = tmp_path / "0001"
    ask(folder).kill()
    sleeper = subprocess.Popen(["sleep", "60"])
    owner = Identity.of(sleeper.pid)
    assert owner is not None
    (folder / OWNER).write_text(json.dumps(asdict(owner)), encoding="utf-8")
    (folder / "wave.json").write_text("", encoding="utf-8")
    again = Planning.take_up(folder, 60)
    assert again is not None
    assert again.process is None
    assert again.poll() is None
    sleeper.kill()
    sleeper.wait()
    assert again.is_done


def test_an_answer_from_another_host_is_taken_at_once(tmp_path: Path) -> None:
    """Whether its planner still lives cannot be seen from here, and does not matter."""
    folder = tmp_path / "0001"
    wave = answer(ask(folder))
    owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    (folder / OWNER).write_text(json.dumps(owner | {"host": "elsewhere"}), encoding="utf-8")
    again = Planning.take_up(folder, 60)
    assert again is not None
    assert again.may_live()
    assert again.is_done
    assert again.poll() == wave


def test_one_that_is_killed_is_followed_by_another_in_the_same_folder(tmp_path: Path) -> None:
    first = answer(ask(tmp_path / "one"))
    planning = ask(tmp_path / "0001")
    kill(planning)
    assert planning.poll() is None
    assert planning.lives == 2
    assert answer(planning) == first


def test_one_that_is_killed_again_and_again_has_failed(tmp_path: Path) -> None:
    planning = ask(tmp_path / "0001")
    for _ in range(LIVES - 1):
        kill(planning)
        assert planning.poll() is None
    kill(planning)
    with pytest.raises(PlannerFailed, match="without a word"):
        planning.poll()


def test_one_whose_host_is_no_more_is_followed_by_another(tmp_path: Path) -> None:
    killed = ask(tmp_path / "0001")
    killed.kill()
    (killed.folder / "wave.json").write_text("", encoding="utf-8")
    owner = json.loads((killed.folder / OWNER).read_text(encoding="utf-8"))
    (killed.folder / OWNER).write_text(json.dumps(owner | {"host": "elsewhere"}), encoding="utf-8")
    again = Planning.take_up(killed.folder, 0)
    assert again
    assert not again.is_done
    os.utime(killed.folder / OWNER, (0, 0))  # silent since 1970
    assert answer(again).proposals
    assert again.lives == 2


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    planning = ask(tmp_path / "0001")
    assert planning.process
    os.kill(planning.process.pid, signal.SIGSTOP)
    planning.began -= planning.patience + SPARE_SECONDS + 1
    with pytest.raises(PlannerFailed, match="should answer within 480 s, but did not"):
        planning.poll()
    assert planning.process.returncode == -signal.SIGKILL


def test_the_owner_is_on_record_as_soon_as_the_process_exists(tmp_path: Path) -> None:
    planning = ask(tmp_path / "0001")
    assert planning.process
    owner = json.loads((planning.folder / OWNER).read_text(encoding="utf-8"))
    assert owner["pid"] == planning.process.pid
    planning.kill()


def test_a_planner_that_was_killed_is_asked_the_same_again(tmp_path: Path) -> None:
    first = answer(ask(tmp_path / "one"))
    killed = ask(tmp_path / "0001")
    killed.kill()
    (killed.folder / "wave.json").write_text("", encoding="utf-8")
    again = Planning.take_up(killed.folder, 60)
    assert again is not None
    assert answer(again) == first


def test_half_an_answer_is_a_failure_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "0001"
    answer(ask(folder))
    (folder / "wave.json").write_text('{"planner": "ran', encoding="utf-8")
    (folder / "problem.txt").write_text("planner: nonsense\n", encoding="utf-8")
    again = Planning.take_up(folder, 60)
    assert again is not None
    with pytest.raises(PlannerFailed, match="nonsense"):
        again.poll()


def test_a_question_that_was_never_written_cannot_be_taken_up(tmp_path: Path) -> None:
    assert Planning.take_up(tmp_path / "0001", 60) is None


def test_nothing_is_left_of_an_answer_that_is_recorded_but_what_was_paid_for(
    tmp_path: Path,
) -> None:
    free, dear = ask(tmp_path / "0001"), ask(tmp_path / "0002")
    answer(free)
    answer(dear)
    (dear.folder / "talk.jsonl").write_text("{}\n", encoding="utf-8")
    free.discard()
    dear.discard()
    assert not free.folder.exists()
    assert [path.name for path in dear.folder.iterdir()] == ["talk.jsonl"]
