"""The check of `archiver check` for `S3_STRATEGY`: whether the store copies into archives."""

import asyncio
from typing import TYPE_CHECKING

from archiver.aws.clients import Clients
from archiver.aws.s3_copy_probe import S3CopyCapability
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_store import S3Store
from archiver.core.copies import MIN_BUFFER_SIZE
from archiver.core.layout import BUFFERS_PER_JOB, MIB
from archiver.core.preflight import CheckResult

if TYPE_CHECKING:
    from archiver.settings import Settings

WHAT = "copies"
CHECK_SECONDS = 60.0
_READ = "all bytes go through the worker: "


async def check_copies(settings: "Settings", clients: Clients, reader: S3Reader) -> CheckResult:
    """Return what the store of the archives shows, with two objects that are deleted again, or that it is not asked."""
    if settings.strategy not in ("auto", "copy"):
        why = "S3_STRATEGY=stream" if settings.strategy else "S3_STRATEGY is not set"
        return CheckResult(WHAT, "ok", f"off: {why}; requests may ask for copies by strategy")
    least = BUFFERS_PER_JOB * MIN_BUFFER_SIZE
    if settings.memory_budget < least:
        remedy = f"set it to {least // MIB} or more"
        return CheckResult(WHAT, "warning", f"{_READ}MEMORY_BUDGET_MIB is below {least // MIB}", remedy)
    bucket = settings.destination_bucket
    capability = S3CopyCapability(S3Store(clients, bucket), clients.s3, reader, bucket)
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            proved = await capability.proved()
    except TimeoutError:
        return CheckResult(WHAT, "unknown", f"the store did not show it within {CHECK_SECONDS:.0f} s", "try again")
    if not proved:
        remedy = "unset S3_STRATEGY, or use a store that copies (docs/how-it-copies.md)"
        return CheckResult(WHAT, "warning", f"{_READ}{capability.reason}", remedy)
    source = settings.source_bucket
    if source is not None and not capability.reaches(source):
        told = f"the store copies, but {source} is in another region than {bucket}: its objects are read"
        return CheckResult(WHAT, "warning", told, "use buckets of one region, or unset S3_STRATEGY")
    return CheckResult(WHAT, "ok", f"{source or 'the store'} can be copied from into {bucket}, and all is verified")
