"""
Complete in-memory fakes of the ports. They behave as S3 and SQS do, and tests can inject faults.

`FakeQueue` is a MessageSource, `FakeNotifier` a Notifier, `FakeObserver` an Observer; `FakeReader` is an
ObjectReader, `FakeStore` an ObjectStore and `FakeRestorer` an ObjectRestorer on one `FakeS3`. The contract tests run on
the fakes and on the real adapters.
"""

from fakes.faults import Faults, InFlightGauge, ManualClock
from fakes.holds import FakeHold
from fakes.objects import FakeReader, FakeRestorer, FakeS3, StoredObject
from fakes.queues import FakeDeadLetters, FakeNotifier, FakeObserver, FakeQueue
from fakes.store import FakeStore, FakeUpload

__all__ = [
    "FakeDeadLetters",
    "FakeHold",
    "FakeNotifier",
    "FakeObserver",
    "FakeQueue",
    "FakeReader",
    "FakeRestorer",
    "FakeS3",
    "FakeStore",
    "FakeUpload",
    "Faults",
    "InFlightGauge",
    "ManualClock",
    "StoredObject",
]
