"""A W&B server, a campaign that should be there, and what asks it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tracked import Tracked, make
from wandb_server import WandbServer

from autoresearch.mirror import listing as listing_module
from autoresearch.mirror import post
from autoresearch.mirror.listing import Listing


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_API_KEY", server.key)
        monkeypatch.setattr(listing_module, "SPACING", 0.0)  # this server is not to be spared
        monkeypatch.setattr(post, "TICK_SECONDS", 0.1)
        yield server


@pytest.fixture
def tracked(tmp_path: Path, server: WandbServer) -> Tracked:
    """Three finished experiments; nothing is sent, nothing written for W&B."""
    return make(tmp_path / "campaign", server.url)


@pytest.fixture
def listing(server: WandbServer, tracked: Tracked) -> Iterator[Listing]:
    listing = Listing(tracked.settings.tracker, tracked.settings.name)
    yield listing
    listing.close()
