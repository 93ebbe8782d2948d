"""W&B's server as a node or a login node finds it: where it is, and whether it takes us.

Standard library only: asking takes milliseconds, importing wandb a second.
"""

import base64
import configparser
import http.client
import json
import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch.experiment import Json
from autoresearch.settings import Tracker

PATIENCE = 5.0  # seconds a server has to answer
# The addresses of W&B's own service: wandb's default has moved from the first to the second.
PUBLIC = ("https://api.wandb.ai", "https://api.forge.coreweave.com")
REFUSALS = (401, 403)  # HTTP status codes for a key that is not taken
VIEWER = "query Viewer { viewer { id entity username } }"
SUMMARY = """query Run($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) { run(name: $name) { summaryMetrics } }
}"""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key is for the server that was named, and for no other."""

    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(NoRedirect)


@dataclass(frozen=True)
class Account:
    """Who we are to a server, or why we are nobody."""

    entity: str = ""  # where runs go that name no other
    problem: str = ""
    is_refused: bool = False  # the server has seen the key and does not take it


def address(tracker: Tracker) -> str:
    """The server's URL: as configured, as the environment says, as `wandb login` noted, or W&B's
    own, the one there is a key for."""
    chosen = tracker.url or os.environ.get("WANDB_BASE_URL") or noted()
    if not chosen:
        chosen = next((url for url in PUBLIC if key_from_netrc(url)), PUBLIC[0])
    return chosen.rstrip("/")


def noted() -> str:
    """What `wandb login --host` has written down for this user."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(folder) / "settings", encoding="utf-8")
        return parser.get("default", "base_url", fallback="")
    except (configparser.Error, UnicodeDecodeError):
        return ""


def netrc_path() -> Path:
    return Path(os.environ.get("NETRC") or Path.home() / ".netrc")


def key_from_netrc(url: str) -> str:
    """The key that `wandb login` has put into ~/.netrc; "" if there is none."""
    try:
        found = netrc.netrc(str(netrc_path())).authenticators(urlsplit(url).netloc)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    return (found[2] or "") if found else ""


def ask(url: str, variables: Mapping[str, str] = os.environ) -> Account:
    """Whether the server answers within 5 s and knows the user's key."""
    key = variables.get("WANDB_API_KEY") or key_from_netrc(url)
    if not key:
        return Account(problem=keyless(url))
    try:
        viewer = dict(graphql(url, key, VIEWER, {})["viewer"] or {})
    except urllib.error.HTTPError as error:
        return Account(problem=refusal(url, error.code), is_refused=error.code in REFUSALS)
    except (OSError, http.client.HTTPException) as error:  # not there, too slow, no network
        reason = " ".join(str(getattr(error, "reason", error)).split())
        return Account(problem=f"{url} cannot be reached ({reason:.200})")
    except (ValueError, KeyError, TypeError):
        return Account(problem=f"{url} does not answer like a W&B server")
    if not viewer:
        return Account(problem=refusal(url, 401), is_refused=True)
    return Account(entity=str(viewer.get("entity") or viewer.get("username") or ""))


def summary(tracker: Tracker, run: str) -> Json:
    """What a server holds of a run's summary, asked with the key in ~/.netrc; {} if it does not
    say."""
    url = address(tracker)
    entity = tracker.entity or ask(url, {}).entity
    where = {"entity": entity, "project": tracker.project, "name": run}
    try:
        found = graphql(url, key_from_netrc(url), SUMMARY, where)["project"]["run"]
        return dict(json.loads(found["summaryMetrics"]))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return {}


def graphql(url: str, key: str, query: str, variables: Mapping[str, str]) -> Json:
    """The data of an answer. Raises OSError and what else urllib does, ValueError, TypeError,
    KeyError."""
    name = query.split("(", maxsplit=1)[0].split()[1]
    body = {"operationName": name, "query": query, "variables": variables}
    request = urllib.request.Request(  # noqa: S310 - http or https, as the settings are checked
        f"{url}/graphql",
        json.dumps(body).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}",
        },
    )
    try:
        with OPENER.open(request, timeout=PATIENCE) as answer:
            return dict(json.load(answer)["data"])
    except urllib.error.HTTPError as error:  # an answer as well
        error.close()
        raise


def refusal(url: str, code: int) -> str:
    if code in REFUSALS:
        return f"{url} does not accept the key (`{login(url, '--relogin')}` replaces it)"
    if code == 429:
        return f"{url} is asked too often (HTTP status 429); try again in a minute"
    return f"{url} answers with HTTP status {code}"


def keyless(url: str) -> str:
    """Why there is no key, and what to do."""
    name = os.environ.get("NETRC") or "~/.netrc"
    try:
        netrc.netrc(str(netrc_path()))
    except netrc.NetrcParseError as error:
        return f"{name} cannot be read, line {error.lineno}: {error.msg}"
    except (OSError, UnicodeDecodeError):  # none there, or not for us
        pass
    host = urlsplit(url).netloc
    return f"there is no key for {host} in {name} (`{login(url)}` adds one)"


def login(url: str, *words: str) -> str:
    """What to type to log in there."""
    return " ".join(["wandb login", *words, *([] if url in PUBLIC else [f"--host={url}"])])
