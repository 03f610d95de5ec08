"""The network between a client and S3, as the load server emulates it."""

from dataclasses import dataclass
from math import exp
from statistics import NormalDist

SAMPLES = 20_000
MEDIAN_MS, SIGMA = 27.0, 0.35  # of the log-normal part of a tailed latency: 95 % of it is below 48 ms


@dataclass(frozen=True, slots=True)
class Network:
    """
    *delays_ms* before the first byte of an answer, ascending: one for each request about an object, chosen by seed,
    key and how often this key was asked for; the median for all other requests. *rate*: MB/s of one connection, each
    way; 0 is no limit.
    """

    about: str
    delays_ms: tuple[float, ...] = (0.0,)
    rate: float = 0.0

    def message(self, seed: int = 0) -> bytes:
        """As the load server reads it."""
        return " ".join(
            map(str, (int(self.rate * 1e6), seed, *(int(delay * 1000) for delay in self.delays_ms)))
        ).encode()


def steady(delay_ms: float, rate: float = 0.0) -> Network:
    limit = f", {rate:g} MB/s per connection" if rate else ""
    return Network(f"{delay_ms:g} ms before each answer{limit}", (delay_ms,), rate)


def _even(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * (index + 0.5) / count for index in range(count)]


def tailed() -> Network:
    """An assumption about S3: log-normal, median 27 ms; 1 % take 100 to 300 ms, and 0.05 % 0.5 to 2 s."""
    slow = _even(100, 300, SAMPLES // 100) + _even(500, 2000, SAMPLES // 2000)
    usual = [MEDIAN_MS * exp(SIGMA * NormalDist().inv_cdf(place)) for place in _even(0, 1, SAMPLES - len(slow))]
    about = "median 27 ms before each answer, 1 % 100 to 300 ms, 0.05 % 0.5 to 2 s"
    return Network(about, tuple(sorted(usual + slow)))


DIRECT = Network("loopback")
TAILED = tailed()
