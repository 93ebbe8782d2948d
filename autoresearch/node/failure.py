"""How an attempt ends without a score: one named failure with a one-line reason."""

from autoresearch.errors import AutoresearchError
from autoresearch.experiment import Failure, plain

REASON_LIMIT = 500  # characters


class AttemptFailed(AutoresearchError):  # noqa: N818 - most often no error of ours
    """Ends the attempt. The reason may quote untrusted text: it is made plain here."""

    def __init__(self, failure: Failure, reason: str) -> None:
        self.failure = failure
        self.reason = plain(reason[:REASON_LIMIT].replace("\n", " "))
        super().__init__(f"{failure}: {self.reason}")


class SickNode(AttemptFailed):
    """The node is not what an experiment needs; the next one would fail here as well."""

    def __init__(self, reason: str, failure: Failure = Failure.node_failed) -> None:
        super().__init__(failure, reason)
