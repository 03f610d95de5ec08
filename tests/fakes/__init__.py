"""
The ports in memory, whole: what S3 and SQS promise, without a network, and with faults on order.

`MemoryQueue` is a MessageSource, `MemoryNotifier` a Notifier, `MemoryObserver` an Observer; `MemoryReader` is an
ObjectReader and `MemoryStore` an ObjectStore on one `MemoryS3`. The contract tests hold them to the same law as the
real adapters.
"""

from fakes.faults import Faults, Gauge, HandClock
from fakes.objects import Blob, MemoryReader, MemoryS3
from fakes.queues import MemoryNotifier, MemoryObserver, MemoryQueue
from fakes.store import MemoryStore, MemoryUpload

__all__ = [
    "Blob",
    "Faults",
    "Gauge",
    "HandClock",
    "MemoryNotifier",
    "MemoryObserver",
    "MemoryQueue",
    "MemoryReader",
    "MemoryS3",
    "MemoryStore",
    "MemoryUpload",
]
