"""What is signed with one key is known by it, and by no other."""

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autoresearch.node.signature import is_signed, make_key, read_key, sign


@given(st.binary(min_size=1), st.text(), st.text())
def test_only_the_text_that_was_signed_is_signed(key: bytes, text: str, other: str) -> None:
    signature = sign(key, text)
    assert is_signed(key, text, signature)
    assert is_signed(key, other, signature) == (other == text)
    assert not is_signed(key + b"x", text, signature)


@given(st.text())
def test_no_made_up_signature_holds(made_up: str) -> None:
    assert not is_signed(b"key", "text", made_up)


def test_half_a_surrogate_pair_is_a_text_like_any_other() -> None:
    """JSON can hold it, so whoever edits a run at W&B can put it there."""
    assert is_signed(b"key", "\ud800", sign(b"key", "\ud800"))
    assert not is_signed(b"key", "text", "\ud800")


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    key = read_key(path)
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    make_key(path)
    assert read_key(path) == key
