"""What a scrape gets, read by Prometheus's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from archiver.telemetry.metrics import UNITS
from archiver.telemetry.prometheus import Prometheus

from .samples import COPIED, DONE, LOST, REJECTED, RETRIED, STANDING

SAME = {
    "Jobs": "archiver_jobs_total",
    "Duration": "archiver_job_seconds_sum",
    "QueueTime": "archiver_queue_seconds_sum",
    "Files": "archiver_files_total",
    "Bytes": "archiver_bytes_total",
    "BytesCopied": "archiver_bytes_copied_total",
    "BytesStreamed": "archiver_bytes_streamed_total",
    "LeaseMargin": "archiver_lease_margin_sum",
    "LeasesLost": "archiver_leases_lost_total",
    "Resumes": "archiver_read_resumes_total",
    "Running": "archiver_running_jobs",
    "Parked": "archiver_parked_jobs",
    "OpenParts": "archiver_open_parts",
    "Memory": "archiver_memory_bytes",
    "Paused": "archiver_paused",
}


def scraped(numbers: Prometheus) -> dict[tuple[str, ...], float]:
    """Each sample's value, by its name and the values of its labels but `service`."""
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "service")): sample.value
        for family in text_string_to_metric_families(numbers.page().decode())
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_lines() -> None:
    numbers = Prometheus("zips", lambda: STANDING)
    for job in (DONE, DONE, REJECTED, RETRIED, LOST):
        numbers.ended(job)

    made = scraped(numbers)
    assert made["archiver_jobs_total", "", "done"] == 2
    assert made["archiver_jobs_total", "source_missing", "rejected"] == 1
    assert made["archiver_jobs_total", "throttled", "retried"] == 1
    assert made["archiver_job_seconds_sum", "done"] == 2.5
    assert made["archiver_queue_seconds_count", "rejected"] == 1
    assert made["archiver_files_total",] == 6
    assert made["archiver_bytes_total",] == 1400
    assert made["archiver_leases_lost_total",] == 1
    assert made["archiver_lease_margin_bucket", "0.4"] == 2
    assert made["archiver_read_resumes_total", "throttled"] == 7
    assert (made["archiver_running_jobs",], made["archiver_open_parts",]) == (2, 5)
    assert made["archiver_parked_jobs",] == 3
    assert set(SAME) == set(UNITS)
    assert set(SAME.values()) <= {name for name, *_ in made}


def test_what_never_happened_is_0_and_not_absent() -> None:
    made = scraped(Prometheus("zips", lambda: STANDING))

    assert made["archiver_leases_lost_total",] == made["archiver_files_total",] == 0
    assert made["archiver_read_resumes_total", "interrupted"] == 1


def test_bytes_are_told_apart_where_a_strategy_is_named() -> None:
    numbers = Prometheus("zips", lambda: STANDING)
    for job in (DONE, COPIED, COPIED):
        numbers.ended(job)

    made = scraped(numbers)
    assert (made["archiver_bytes_copied_total",], made["archiver_bytes_streamed_total",]) == (1600, 200)
    assert made["archiver_bytes_total",] == 700 + 1800


def test_two_services_of_one_process_do_not_mix() -> None:
    first, second = (Prometheus(name, lambda: STANDING) for name in ("a", "b"))
    first.ended(DONE)

    assert ("archiver_jobs_total", "", "done") not in scraped(second)
