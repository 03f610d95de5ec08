"""
Complete in-memory fakes of the ports. They behave as S3 and SQS do, and tests can inject faults.

`FakeQueue` is a MessageSource, `FakeNotifier` a Notifier, `FakeObserver` an Observer; `FakeReader` is an
ObjectReader, `FakeStore` an ObjectStore, `FakeReceipts` a Receipts, `FakeChanges` an ObjectChanges and `FakeRestorer`
an ObjectRestorer on one `FakeS3`; `FakeUploads` is an UnfinishedUploads, `FakeRoles` a Roles. The contract tests run on
the fakes and on the real adapters.
"""

from fakes.changes import FakeChanges
from fakes.faults import Faults, InFlightGauge, ManualClock
from fakes.holds import FakeHold
from fakes.objects import FakeReader, FakeRestorer, FakeS3, StoredObject
from fakes.queues import FakeDeadLetters, FakeNotifier, FakeObserver, FakeQueue
from fakes.receipts import FakeReceipts
from fakes.roles import FakeRoles
from fakes.store import FakeStore, FakeUpload
from fakes.uploads import FakeUploads

__all__ = [
    "FakeChanges",
    "FakeDeadLetters",
    "FakeHold",
    "FakeNotifier",
    "FakeObserver",
    "FakeQueue",
    "FakeReader",
    "FakeReceipts",
    "FakeRestorer",
    "FakeRoles",
    "FakeS3",
    "FakeStore",
    "FakeUpload",
    "FakeUploads",
    "Faults",
    "InFlightGauge",
    "ManualClock",
    "StoredObject",
]
