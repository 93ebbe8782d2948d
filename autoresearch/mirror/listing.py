"""The runs of a campaign as W&B's server lists them, in few requests whatever their number.

A poll asks for what has changed: runs whose heartbeat or creation is not older than the newest
seen, and those that are running. Filtering by heartbeat is not documented by W&B, so nothing rests
on it: runs known to be running that did not come back are asked for by name, and every so often
the server's count is compared with ours; where they differ, everything is listed anew.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import wandb
from wandb.apis import public
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from autoresearch.errors import CampaignError
from autoresearch.mirror.courier import PATIENCE
from autoresearch.mirror.seen import OPEN, Seen
from autoresearch.settings import Tracker
from autoresearch.tracking import server
from autoresearch.tracking.naming import GROUP_LIMIT

PAGE = 500  # runs in one answer
TIMEOUT = 30  # seconds for one answer
COUNT_EVERY = 20  # polls
SPACING = 1.0  # seconds between two requests, as W&B's documentation asks
ERRORS = (wandb.Error, WandbApiFailedError, OSError)

Filters = dict[str, Any]


class Listing:
    """One campaign's runs. Every method raises CampaignError if the server does not answer."""

    def __init__(
        self, tracker: Tracker, campaign: str, account: server.Account | None = None
    ) -> None:
        """`account` is what the server has just said, if it was asked.

        Raises CampaignError if it cannot be reached, or does not know us.
        """
        url = server.address(tracker)
        account = account or server.ask(url)
        if account.problem:
            raise CampaignError(f"W&B should answer, but {account.problem}")
        os.environ |= PATIENCE  # before wandb's own process starts
        self.path = f"{tracker.entity or account.entity}/{tracker.project}"
        self.group: Filters = {"group": campaign[:GROUP_LIMIT]}
        key = os.environ.get("WANDB_API_KEY") or server.key_from_netrc(url)
        try:
            self.api = wandb.Api({"base_url": url}, timeout=TIMEOUT, api_key=key)
        except (*ERRORS, ValueError) as error:
            raise CampaignError(f"W&B should answer, but {url} says: {error}") from error
        self.seen: dict[str, Seen] = {}
        self.polls = 0
        self.asked = 0.0

    def poll(self) -> dict[str, Seen]:
        """Runs that may have changed since the last poll; the first time, all."""
        self.polls += 1
        if self.polls == 1 or not self.seen:  # nothing to tell what is new by
            return self.all()
        found = self.ask({"$and": [self.group, {"$or": self.fresh()}]})
        lost = [id for id, seen in self.seen.items() if seen.is_open and id not in found]
        if lost:
            found |= self.ask({"$and": [self.group, {"name": {"$in": lost[:PAGE]}}]})
            for id in lost[:PAGE]:
                if id not in found:  # deleted at the server
                    del self.seen[id]
        self.seen |= found
        if self.polls % COUNT_EVERY == 0 and self.count() != len(self.seen):
            found |= self.all()
        return found

    def fresh(self) -> list[Filters]:
        """What may have changed: times go back to the server letter by letter."""
        wanted: list[Filters] = [{"state": {"$in": list(OPEN)}}]
        for key in ("heartbeat", "created"):
            newest = max((getattr(seen, key) for seen in self.seen.values()), default="")
            if newest:
                wanted.append({f"{key}At": {"$gte": newest}})
        return wanted

    def all(self) -> dict[str, Seen]:
        """Every run of the campaign: one request for each 500."""
        self.seen = self.ask(self.group)
        return dict(self.seen)

    def count(self) -> int:
        """How many runs the server has: one request."""
        try:
            return len(self.runs(self.group, per_page=1))
        except (*ERRORS, ValueError) as error:
            raise self.silence(error) from error

    def ask(self, filters: Filters) -> dict[str, Seen]:
        """Page after page; a project that does not exist yet has none."""
        found: dict[str, Seen] = {}
        try:
            for run in self.runs(filters, per_page=PAGE):
                found[run.id] = described(run)
                if len(found) % PAGE == 0:  # the next one may come with another request
                    self.wait()
        except ERRORS as error:
            raise self.silence(error) from error
        except ValueError as error:
            if self.seen or "Could not find project" not in str(error):
                raise self.silence(error) from error  # it was there, and is not any more
            return {}
        return found

    def runs(self, filters: Filters, per_page: int) -> public.Runs:
        """Not from the client's memory, and not too soon after the last request."""
        self.wait()
        self.api.flush()  # type: ignore[no-untyped-call]
        found: public.Runs = self.api.runs(
            self.path,
            filters,
            order="+created_at",
            per_page=per_page,
            include_sweeps=False,
            lazy=False,
        )
        return found

    def wait(self) -> None:
        time.sleep(max(0.0, self.asked + SPACING - time.monotonic()))
        self.asked = time.monotonic()

    @staticmethod
    def close() -> None:
        """End wandb's own process."""
        wandb.teardown()

    def silence(self, error: Exception) -> CampaignError:
        reason = " ".join(str(error).split())
        return CampaignError(f"W&B should list {self.path}, but: {reason:.200}")


def described(run: public.Run) -> Seen:
    """A run as plain values; one that somebody has made unreadable has none."""
    try:
        return seen(run)
    except (*ERRORS, ValueError, TypeError, AttributeError, RecursionError):
        return Seen(id=run.id, state=str(run.state))


def seen(run: public.Run) -> Seen:
    """A run as plain values."""
    attributes: Mapping[str, Any] = run._attrs
    return Seen(
        id=run.id,
        name=run.name or "",
        state=run.state,
        config=dict(run.config),
        summary=dict(run.summary_metrics),
        heartbeat=str(attributes.get("heartbeatAt") or ""),
        created=str(attributes.get("createdAt") or ""),
        rows=int(attributes.get("historyLineCount") or 0),
    )
