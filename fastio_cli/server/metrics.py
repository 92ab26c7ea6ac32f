"""What Prometheus reads: requests by operation and status, how long they took, open streams.

One process counts for itself. Several count in files of a folder that they share, in the library's
multiprocess mode, and whichever is asked tells what all have counted.
"""

from __future__ import annotations

import os
from glob import glob

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the folder, as the library's mode is turned on
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The metrics of one application."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        shared = os.environ.get(SHARED)
        if shared is not None:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            _forget_streams(shared)
        registry = self._registry if shared is None else None
        self._requests = Counter(
            "fastio_requests", "Requests", ("operation", "status"), registry=registry
        )
        self._seconds = Histogram(
            "fastio_request_seconds",
            "How long requests took",
            ("operation",),
            buckets=BUCKETS,
            registry=registry,
        )
        self.streams = Gauge(
            "fastio_event_streams",
            "Open event streams",
            multiprocess_mode="livesum",
            registry=registry,
        )
        # Finding a metric by its labels costs more than counting.
        self._counters: dict[tuple[str, int], Callable[[], None]] = {}
        self._histograms: dict[str, Callable[[float], None]] = {}

    def record(self, operation: str, status: int, elapsed_s: float) -> None:
        """Count one request that was answered."""
        count = self._counters.get((operation, status))
        if count is None:
            count = self._requests.labels(operation, str(status)).inc
            self._counters[operation, status] = count
        observe = self._histograms.get(operation)
        if observe is None:
            observe = self._histograms[operation] = self._seconds.labels(operation).observe
        count()
        observe(elapsed_s)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)


def _forget_streams(folder: str) -> None:
    """Of processes that were killed the requests count, but their streams are cut.

    To be called by a process that begins: it may have taken the place of one.
    """
    for file in glob(os.path.join(folder, "gauge_live*_*.db")):
        pid = int(file.rpartition("_")[2].removesuffix(".db"))
        if pid == os.getpid() or not _lives(pid):
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    """Whether a process of ours goes on."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
