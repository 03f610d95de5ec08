"""Builds that resume, and what is left of them, where RESUME_FROM_MIB is not 0."""

from datetime import timedelta
from typing import NamedTuple

from archiver.core.build_record import source_hash
from archiver.core.layout import MIB
from archiver.jobs.janitor import Janitor
from archiver.jobs.records import Bucket
from archiver.jobs.resuming import Resumes
from archiver.ports import QueueFacts, UnfinishedUploads
from archiver.settings import Environment
from archiver.stages.fetch import Fetcher
from archiver.stages.receipt import Receipts


class Resuming(NamedTuple):
    """What opens builds that resume, and what removes those that no message comes back for."""

    resumes: Resumes
    janitor: Janitor


def open_resuming(
    settings: Environment, uploads: UnfinishedUploads, receipts: Receipts, fetcher: Fetcher, facts: QueueFacts
) -> Resuming:
    """Return what a worker of a source with *facts* needs, for the *uploads* and *receipts* of the archives' bucket."""
    bucket = Bucket(str(settings.destination_bucket), uploads, receipts, fetcher)
    source = source_hash(facts.id)
    resumes = Resumes(bucket, threshold=settings.resume_from_mib * MIB, source=source, budget=settings.memory_budget)
    return Resuming(resumes, Janitor(bucket, source, timedelta(seconds=facts.retention)))
