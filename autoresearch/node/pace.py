"""How fast a program trains: tokens per second and model FLOPs utilisation (MFU).

MFU is the share of a GPU's peak that the model's own arithmetic takes, at 6 FLOPs per parameter
and token (Chowdhery et al. 2022, PaLM, appendix B, without its attention term, which depends on the
program). For people to look at: nothing is decided by it.
"""

from autoresearch.hardware import peak_flops

FLOPS_PER_TOKEN = 6  # and parameter: forward and backward


class Pace:
    """Of one attempt, from its log messages."""

    def __init__(self, device: str) -> None:
        """`device` is the cell's GPU type, or "cpu-N"."""
        self.peak = peak_flops(device)
        self.last: tuple[float, int] | None = None

    def read(self, now: float, tokens: int, weights: int) -> dict[str, float]:
        """What has been reached since the last reading, at `now` (monotonic seconds)."""
        before, self.last = self.last, (now, tokens)
        if before is None or now <= before[0] or tokens < before[1]:
            return {}
        rate = (tokens - before[1]) / (now - before[0])
        found = {"tokens_per_second": rate}
        if self.peak:
            found["mfu"] = FLOPS_PER_TOKEN * weights * rate / self.peak
        return found
