"""The metrics for Prometheus: counters and histograms of jobs, and gauges of the process, read at each scrape."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from archiver.ports import JobResult
from archiver.telemetry.metrics import ProcessSnapshot

SECONDS_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 4 * 3600)
FRACTION_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Prometheus:
    """Counts jobs in its own registry. *service* is a label of all metrics."""

    def __init__(self, service: str, read: Callable[[], ProcessSnapshot]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_ProcessCollector(service, read))

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(f"archiver_{name}", documentation, ("service", *labels), registry=self._registry)

        def histogram(name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            names = ("service", *labels)
            return Histogram(f"archiver_{name}", documentation, names, buckets=buckets, registry=self._registry)

        self._service = service
        self._jobs = counter("jobs", "Jobs that ended.", "outcome", "code")
        self._files = counter("files", "Files in archives.")
        self._bytes = counter("bytes", "Bytes of archives.")
        self._copied = counter("bytes_copied", "Bytes of archives that the store copied by itself.")
        self._streamed = counter("bytes_streamed", "Bytes of the other parts of archives with a strategy.")
        self._lost = counter("leases_lost", "Messages whose lease was lost.")
        self._duration = histogram(
            "job_seconds", "From a message's receipt to its job's end.", SECONDS_BUCKETS, "outcome"
        )
        self._queued = histogram("queue_seconds", "From sending a message to its receipt.", SECONDS_BUCKETS, "outcome")
        self._margin = histogram(
            "lease_margin", "Minimum fraction of the visibility timeout left during a job.", FRACTION_BUCKETS
        )
        for one in (self._files, self._bytes, self._copied, self._streamed, self._lost, self._margin):
            one.labels(service)  # shown from the start, as 0

    def ended(self, job: JobResult) -> None:
        self._jobs.labels(self._service, job.outcome, job.code).inc()
        self._duration.labels(self._service, job.outcome).observe(job.seconds)
        self._queued.labels(self._service, job.outcome).observe(job.queued)
        self._margin.labels(self._service).observe(job.margin)
        self._lost.labels(self._service).inc(job.outcome == "lease_lost")
        self._files.labels(self._service).inc(job.files)
        self._bytes.labels(self._service).inc(job.bytes)
        if job.traffic is not None:
            self._copied.labels(self._service).inc(job.traffic.copied)
            self._streamed.labels(self._service).inc(job.traffic.streamed)

    def page(self) -> bytes:
        """Return the metrics in the text format of CONTENT_TYPE."""
        return generate_latest(self._registry)


class _ProcessCollector(Collector):
    def __init__(self, service: str, read: Callable[[], ProcessSnapshot]) -> None:
        self._service = service
        self._read = read

    def collect(self) -> Iterator[Metric]:
        snapshot = self._read()
        for name, documentation, value in (
            ("running_jobs", "Running jobs.", snapshot.running),
            ("parked_jobs", "Jobs that wait for objects.", snapshot.parked),
            ("open_parts", "Part buffers in use.", snapshot.open_parts),
            ("memory_bytes", "Resident memory.", snapshot.memory),
            (
                "paused",
                "Jobs, stores and queues because of which receiving is paused; 1 if receiving fails.",
                snapshot.paused,
            ),
        ):
            gauge = GaugeMetricFamily(f"archiver_{name}", documentation, labels=["service"])
            gauge.add_metric([self._service], value)
            yield gauge
        resumes = CounterMetricFamily("archiver_read_resumes", "Retried reads of objects.", labels=["service", "code"])
        for code in ("throttled", "interrupted"):
            resumes.add_metric([self._service, code], snapshot.resumes.get(code, 0))
        yield resumes
