"""Domains and overrides in Hydra's grammar."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.config.grammar import domain_text, parse_domain, parse_override
from autoresearch.errors import ConfigError
from autoresearch.space import Choice, Domain, Interval

SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(1 << 53), 1 << 53)  # Hydra reads the ends of an interval as floats


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    integer, log = draw(st.booleans()), draw(st.booleans())
    ends = st.lists(WHOLE if integer else NUMBERS, min_size=2, max_size=2, unique=True)
    low, high = sorted(draw(ends.filter(lambda pair: not log or min(pair) > 0)))
    return Interval(low, high, log, integer)


def domains() -> st.SearchStrategy[Domain]:
    choices = st.lists(SCALARS, min_size=1, max_size=5, unique_by=repr).map(tuple).map(Choice)
    return choices | intervals()


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("choice(6,8,10)", Choice((6, 8, 10))),
        ("choice('SSSL',L,true,0.5)", Choice(("SSSL", "L", True, 0.5))),
        ("6, '8', x", Choice((6, "8", "x"))),
        ("range(2,10,2)", Choice((2, 4, 6, 8))),
        ("range(0.1,0.5,0.1)", Choice((0.1, 0.2, 0.3, 0.4))),
        ("interval(2,16)", Interval(2.0, 16.0)),
        ("int(interval(2,16))", Interval(2, 16, integer=True)),
        ("tag(log, interval(0.01,0.1))", Interval(0.01, 0.1, log=True)),
        ("tag(log, int(interval(2,16)))", Interval(2, 16, log=True, integer=True)),
        ("int(tag(log, interval(2,16)))", Interval(2, 16, log=True, integer=True)),
        ("sort(choice(3,1,2))", Choice((1, 2, 3))),
    ],
)
def test_a_domain_is_read_as_hydra_reads_a_sweep(text: str, domain: Domain) -> None:
    assert parse_domain("search.space.x", text) == domain


def test_whole_and_broken_intervals_differ() -> None:
    whole, broken = (parse_domain("x", t) for t in ("int(interval(2,9))", "interval(2,9)"))
    assert isinstance(whole, Interval)
    assert isinstance(broken, Interval)
    assert (whole.integer, broken.integer) == (True, False)


@given(domains())
def test_what_is_written_is_read_back(domain: Domain) -> None:
    found = parse_domain("x", domain_text(domain))
    assert found == domain
    assert repr(found) == repr(domain)  # 1, 1.0 and True are three values


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (3, "but was 3"),
        ("depth", "a single value goes to task.params"),
        ("interval(1", "no viable alternative"),
        ("interval(1,2) x", "mismatched input"),
        ("uniform(1,2)", "Unknown function 'uniform'"),
        ("choice()", "empty choice"),
        ("choice(1,null)", "mismatch type"),
        ("choice(1,[2])", "offers [2], which is no single value"),
        ("choice(1,nan)", "no finite number"),
        ("choice(1,1)", "list each value once"),
        ("range(1,1)", "at least one value"),
        ("range(0,1,0)", "steps of 0"),
        ("range(0,1,0.0)", "steps of 0"),
        ("range(0,1e12)", "more than 1000 values; write int(interval(...))"),
        ("interval(1,inf)", "finite ends"),
        ("interval(2,1)", "swap the ends"),
        ("tag(log, interval(0,1))", "low end should be above 0"),
        ("tag(lgo, interval(1,2))", "the one tag there is, log"),
        ("tag(log, choice(1,2))", "log, belongs to an interval"),
        ("shuffle(choice(1,2))", "is shuffled"),
        ("glob(*)", "but was 'glob(*)'"),
        ("${other}", "but was '${other}'"),
    ],
)
def test_what_is_no_domain_is_named_in_one_line(text: object, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_domain("search.space.lr", text)
    message = str(caught.value)
    assert complaint in message
    assert "lr" in message
    assert "\n" not in message


@given(st.text() | st.text(alphabet="abx01.,=~+@'\"()[]{}$:\\ \n"))
def test_any_text_is_an_override_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert parse_override(text).key_or_group


@given(st.text() | st.text(alphabet="choiertagnlf01.,'\"()[]{}$ \n"))
def test_any_text_is_a_domain_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert isinstance(parse_domain("x", text), (Choice, Interval))
