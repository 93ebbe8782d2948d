"""JSON whose numbers every reader can hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.strict import loads

NUMBERS = st.integers(-(2**64) + 1, 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.recursive(NUMBERS | st.text() | st.booleans() | st.none(), st.lists))
def test_what_json_writes_is_read(value: object) -> None:
    assert loads(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e400", str(2**64), "-1" + "0" * 5000, "{"])
def test_what_others_could_not_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no finite number|too large|Expecting"):
        loads(f'{{"a": {text}}}')
