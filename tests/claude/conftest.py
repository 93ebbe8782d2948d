"""What tests of the researcher share: a user without a key, and settings with little patience."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claude_server import ClaudeServer

from autoresearch.settings import Claude, Price

OPUS = Price(4, 20)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has never had a key."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def settings_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Claude]:
    """Settings to ask a local server with, its key in the environment."""

    def settings(server: ClaudeServer, **more: Any) -> Claude:
        monkeypatch.setenv("ANTHROPIC_API_KEY", server.key)
        prices = {"claude-opus-5-5": OPUS}
        some: dict[str, Any] = {"patience": 0.2, "seconds": 30.0, "max_tokens": 2000}
        return Claude(url=server.url, **{"prices": prices, **some, **more})

    return settings
