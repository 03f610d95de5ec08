"""Cancelling jobs, where CANCELLATION turns it on."""

from archiver.core.archive_rules import ArchiveRules
from archiver.jobs.cancellation import Cancellation, CancelWork
from archiver.ports import ObjectStore, QueueFacts
from archiver.stages.receipt import Receipts


def open_cancellation(store: ObjectStore, facts: QueueFacts) -> Cancellation:
    """Return what looks for the marks of the jobs of a source with *facts*; *store* has their archives."""
    return Cancellation.of(store, facts)


def open_cancel_work(rules: ArchiveRules, facts: QueueFacts, store: ObjectStore, receipts: Receipts) -> CancelWork:
    """Return the work of messages that cancel jobs of the same source."""
    return CancelWork(rules, facts.id, store, receipts)
