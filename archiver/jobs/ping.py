"""Pings: the work of a request with `"test": true`. The request is checked like any other, and nothing is done."""

from archiver.core.draft import ArchiveRules, draft_archive
from archiver.core.messages import Request
from archiver.core.plan import check_count
from archiver.errors import Rejected
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold
from archiver.stages.progress import Progress


class PingWork:
    """Tells whether an archive's request would be accepted under *rules*, as far as no object has to be looked up."""

    def __init__(self, rules: ArchiveRules) -> None:
        self._rules = rules

    def prepare(self, request: Request, job: JobIdentity) -> Rejected | None:
        """Return why the request would be rejected; None if it would be accepted."""
        try:
            self._rules.attributes_of(request)
            check_count(draft_archive(request, self._rules, job.message.sent_at), self._rules.max_files)
        except Rejected as problem:
            return problem
        return None

    async def do(self, order: Rejected | None, hold: Hold, progress: Progress) -> Result:
        del hold, progress
        return Result("alive", files=0, size=0, problem=order)
