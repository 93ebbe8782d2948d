"""Effects that were planted are found, within their errors; what cannot be known is said."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch.effects import Effects, Row, estimate
from autoresearch.experiment import Scalar
from autoresearch.space import Choice, Domain, Interval

SPACE: dict[str, Domain] = {
    "rate": Interval(0.01, 1.0, log=True),
    "width": Choice((1, 2, 3, 4, 5)),
    "decay": Interval(0.0, 0.5),
    "name": Choice(("a", "b", "c")),
    "on": Choice((False, True)),
}
NUMBERS = {name: SPACE[name] for name in ("rate", "width", "decay")}


def sample(seed: int, count: int, space: dict[str, Domain], both: float = 0.0) -> list[Row]:
    """A linear world: rate -0.2 from end to end, width +0.1, decay nothing, b 0.05 over a."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        point = {name: domain.at(rng.random()) for name, domain in space.items()}
        rows.append(Row(point, truth(point, both) + rng.gauss(0, 0.01)))
    return rows


def truth(point: dict[str, Scalar], both: float) -> float:
    rate = Interval(0.01, 1.0, log=True).share(float(point["rate"]))
    width = (float(point["width"]) - 1) / 4
    level = {"b": 0.05}.get(str(point.get("name")), 0.0)
    return 2.0 - 0.2 * rate + 0.1 * width + level + both * (2 * rate - 1) * (2 * width - 1) / 4


def sizes(effects: Effects) -> dict[str, tuple[float | None, float | None]]:
    return {f"{e.parameter}{e.level}": (e.size, e.error) for e in effects.main}


def test_planted_effects_come_out_clearest_first() -> None:
    effects = estimate(sample(1, 60, SPACE), SPACE, 0.01)
    found = sizes(effects)
    for name, size in {"rate": -0.2, "width": 0.1, "nameb": 0.05, "decay": 0.0}.items():
        got, error = found[name]
        assert got is not None
        assert error is not None
        assert abs(got - size) < 4 * error
        assert 0.002 < error < 0.02
    assert effects.main[0].parameter == "rate"
    assert effects.rows == 60


def test_errors_mean_what_they_say() -> None:
    hits = 0
    for seed in range(200):
        size, error = sizes(estimate(sample(seed, 30, NUMBERS), NUMBERS, None))["width"]
        assert size is not None
        assert error is not None
        hits += abs(size - 0.1) < 2 * error
    assert 180 <= hits <= 198  # about 95 %


def test_an_error_is_never_less_than_the_noise_of_seeds_says() -> None:
    rows = [Row({"rate": r}, 2.0) for r in (0.01, 0.1, 1.0, 0.03)]
    space = {"rate": SPACE["rate"]}
    assert sizes(estimate(rows, space, None))["rate"] == (0.0, 0.0)
    _, error = sizes(estimate(rows, space, 0.01))["rate"]
    assert error is not None
    assert error > 0.005


def test_a_planted_interaction_is_found_and_absent_ones_rarely_are() -> None:
    effects = estimate(sample(3, 80, NUMBERS, both=0.2), NUMBERS, 0.01)
    assert effects.interactions[0].parameters == ("rate", "width")
    assert abs(effects.interactions[0].size - 0.2) < 4 * effects.interactions[0].error
    listed = sum(
        len(estimate(sample(s, 40, NUMBERS), NUMBERS, None).interactions) for s in range(50)
    )
    assert listed <= 20  # of 150 pairs; 7 or 8 are expected


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_candidates_are_said_to_be_too_few(count: int) -> None:
    effects = estimate(sample(1, count, SPACE), SPACE, 0.01)
    assert all(effect.size is None and effect.problem for effect in effects.main)
    assert {effect.parameter for effect in effects.main} == set(SPACE)


def test_what_never_varied_or_only_together_is_said() -> None:
    rows = [Row({"rate": 0.1, "decay": d, "width": 1 + int(8 * d)}, 2 + d) for d in (0, 0.25, 0.5)]
    rows += [Row({**row.parameters}, row.value) for row in rows]
    effects = estimate(rows, NUMBERS, None)
    said = {effect.parameter: effect.problem for effect in effects.main}
    assert said["rate"] == "never varied"
    assert said["decay"] == said["width"] == "varied only together with others"


def test_values_outside_the_space_are_left_out_and_counted() -> None:
    rows = [*sample(1, 20, NUMBERS), Row({"rate": 5.0, "width": 1, "decay": 0.1}, 9.0)]
    effects = estimate(rows, NUMBERS, None)
    assert (effects.rows, effects.outside) == (20, 1)


def test_the_best_value_tried_more_than_once_is_named() -> None:
    effects = estimate(sample(1, 60, NUMBERS), NUMBERS, None)
    (width,) = [effect for effect in effects.main if effect.parameter == "width"]
    assert width.best.startswith("1 (")


def test_the_table_and_the_json_hold_the_same() -> None:
    effects = estimate(sample(1, 60, SPACE), SPACE, 0.01)
    assert json.loads(json.dumps(effects.to_json()))["main"][0]["parameter"] == "rate"
    text = effects.text()
    assert "name=b" in text
    assert "by luck" in text
    assert "not causes" in text


VALUE = st.floats(0.01, 1.0).map(lambda x: float(f"{x:.3g}"))
ROWS = st.lists(
    st.builds(
        lambda rate, width, name, value: Row({"rate": rate, "width": width, "name": name}, value),
        VALUE,
        st.sampled_from([1, 2, 3, 4, 5, 9]),
        st.sampled_from(["a", "b", "c"]),
        st.floats(0.5, 5.0),
    ),
    max_size=14,
)


@given(ROWS, st.randoms(use_true_random=False), st.none() | st.floats(0, 0.1))
@settings(deadline=None)
def test_any_rows_give_effects_whatever_their_order(
    rows: list[Row], rng: random.Random, sigma: float | None
) -> None:
    space = {name: SPACE[name] for name in ("rate", "width", "name")}
    once = sizes(estimate(rows, space, sigma))
    rng.shuffle(rows)
    again = sizes(estimate(rows, space, sigma))
    assert once.keys() == again.keys()
    for name, (size, _) in once.items():
        other = again[name][0]
        if size is not None and other is not None:
            assert other == pytest.approx(size, rel=1e-3, abs=1e-3)
