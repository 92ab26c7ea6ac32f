"""What Prometheus reads: requests by operation and status, how long they took, open streams."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
BOUNDS = (*map(str, BUCKETS), "+Inf")


class Requests:
    """Counts requests; only when it is read does it become metrics."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def note(self, operation: str, status: int, elapsed_s: float) -> None:
        """One request was answered."""
        self._counts[operation, status] += 1
        self._seconds[operation] += elapsed_s
        buckets = self._buckets.get(operation)
        if buckets is None:
            buckets = self._buckets[operation] = [0] * len(BOUNDS)
        buckets[bisect_left(BUCKETS, elapsed_s)] += 1

    def collect(self) -> Iterator[Metric]:
        """The metrics, as the registry asks for them."""
        requests = CounterMetricFamily(
            "fastio_requests", "Requests", labels=("operation", "status")
        )
        for (operation, status), count in self._counts.items():
            requests.add_metric((operation, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            "fastio_request_seconds", "How long requests took", labels=("operation",)
        )
        for operation, counts in self._buckets.items():
            below = [(bound, sum(counts[: n + 1])) for n, bound in enumerate(BOUNDS)]
            seconds.add_metric((operation,), below, self._seconds[operation])
        yield seconds


class Metrics:
    """The metrics of one application."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        requests = Requests()
        self._registry.register(requests)
        self.note = requests.note
        self.streams = Gauge("fastio_event_streams", "Open event streams", registry=self._registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
