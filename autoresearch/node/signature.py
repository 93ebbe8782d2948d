"""The referee's signature: a result that travels by way of others is the one that was made.

HMAC-SHA256 (RFC 2104) with a key of the campaign that lies in its folder, readable by the user
alone, and never travels with a result.
"""

import hashlib
import hmac
import secrets
from pathlib import Path

from autoresearch.layout import write_atomically


def make_key(path: Path) -> None:
    """A new key, unless there is one. Raises OSError."""
    if not path.exists():
        write_atomically(path, secrets.token_hex(32) + "\n", private=True)


def read_key(path: Path) -> bytes:
    """Raises OSError if there is none."""
    return path.read_bytes().strip()


def sign(key: bytes, text: str) -> str:
    """64 hex digits that only who has the key can make."""
    return hmac.new(key, encode(text), hashlib.sha256).hexdigest()


def is_signed(key: bytes, text: str, signature: str) -> bool:
    return hmac.compare_digest(encode(sign(key, text)), encode(signature))


def encode(text: str) -> bytes:
    """Whatever JSON can hold, also half a surrogate pair, which is no UTF-8."""
    return text.encode(errors="surrogatepass")
