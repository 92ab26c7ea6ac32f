"""What Prometheus reads: requests by operation and status, how long they took, open streams."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The metrics of one application."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "fastio_requests", "Requests", ("operation", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "fastio_request_seconds",
            "How long requests took",
            ("operation",),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self.streams = Gauge("fastio_event_streams", "Open event streams", registry=self._registry)
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def note(self, operation: str, status: int, elapsed_s: float) -> None:
        """One request was answered."""
        children = self._children.get((operation, status))
        if children is None:
            children = self._children[operation, status] = (
                self._requests.labels(operation, str(status)),
                self._seconds.labels(operation),
            )
        children[0].inc()
        children[1].observe(elapsed_s)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
