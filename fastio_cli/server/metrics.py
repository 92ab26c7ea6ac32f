"""What Prometheus reads: requests by operation and status, how long they took, open streams.

One process counts for itself. Several count in files of a folder that they share, in the library's
multiprocess mode, and whichever is asked tells what all have counted.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from glob import glob

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the folder, as the library's mode is turned on
REQUESTS = ("fastio_requests", "Requests", ("operation", "status"))
SECONDS = ("fastio_request_seconds", "How long requests took", ("operation",))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
BOUNDS = (*map(str, BUCKETS), "+Inf")


class Requests:
    """Counts requests; only when it is read does it become metrics."""

    def __init__(self) -> None:
        self._counts: Counts[tuple[str, int]] = Counts()
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
        requests = CounterMetricFamily(*REQUESTS[:2], labels=REQUESTS[2])
        for (operation, status), count in self._counts.items():
            requests.add_metric((operation, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(*SECONDS[:2], labels=SECONDS[2])
        for operation, counts in self._buckets.items():
            below = [(bound, sum(counts[: n + 1])) for n, bound in enumerate(BOUNDS)]
            seconds.add_metric((operation,), below, self._seconds[operation])
        yield seconds


class SharedRequests:
    """Counts requests where the other processes can read them: at several times the cost."""

    def __init__(self) -> None:
        self._requests = Counter(*REQUESTS, registry=None)
        self._seconds = Histogram(*SECONDS, buckets=BUCKETS, registry=None)
        self._known: dict[tuple[str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def note(self, operation: str, status: int, elapsed_s: float) -> None:
        """One request was answered."""
        known = self._known.get((operation, status))
        if known is None:  # finding them by their labels costs more than counting
            known = self._known[operation, status] = (
                self._requests.labels(operation, str(status)).inc,
                self._seconds.labels(operation).observe,
            )
        count, observe = known
        count()
        observe(elapsed_s)


class Metrics:
    """The metrics of one application."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        requests: Requests | SharedRequests
        shared = os.environ.get(SHARED)
        if shared is None:
            requests = Requests()
            self._registry.register(requests)
        else:
            requests = SharedRequests()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            _forget_streams(shared)
        self.note = requests.note
        self.streams = Gauge(
            "fastio_event_streams",
            "Open event streams",
            multiprocess_mode="livesum",
            registry=self._registry if shared is None else None,
        )

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
