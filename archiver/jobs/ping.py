"""Pings: the work of a request with `"test": true`. The request is checked like any other, and nothing is done."""

from dataclasses import replace

from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import Draft, draft_archive
from archiver.core.messages import Request
from archiver.core.plan import check_count
from archiver.errors import Rejected
from archiver.jobs.archive import after_order
from archiver.jobs.identity import JobIdentity
from archiver.jobs.planning import Planner, with_time_spent
from archiver.jobs.work import Result
from archiver.ports import Hold
from archiver.stages.progress import Progress
from archiver.stages.wait import Waiter


class PingWork:
    """
    Tells whether a request for an archive or a command would be accepted under *rules*. No object is looked up, unless
    the request waits for its objects: then *waiter* waits for them, and *planner* counts them. Nothing is restored.
    """

    def __init__(self, rules: ArchiveRules, planner: Planner, waiter: Waiter) -> None:
        self._rules = rules
        self._planner = planner
        self._waiter = waiter

    def prepare(self, request: Request, job: JobIdentity) -> Draft | Rejected | None:
        """Return why the request would be rejected; else what to look for; None: nothing."""
        try:
            if request.command is not None:
                self._rules.order_command(request)
                return None
            self._rules.attributes_of(request)
            draft = draft_archive(request, self._rules, job.message.sent_at)
            after_order(request, draft, self._rules)
            check_count(draft, self._rules.max_files)
        except Rejected as problem:
            return problem
        if draft.wait is None or not draft.wait.missing:
            return None
        if draft.on_archived == "restore":  # such objects are there
            draft = replace(draft, on_archived="skip", wait=replace(draft.wait, archived=0))
        return with_time_spent(draft, job.message.first_received)

    async def do(self, order: Draft | Rejected | None, hold: Hold, progress: Progress) -> Result:
        """Raises TransientError, ConfigurationError, LeaseLost, only while it looks for objects."""
        if not isinstance(order, Draft):
            return Result("alive", files=0, size=0, problem=order)
        found = 0
        try:
            if order.wait is not None:
                await self._waiter.wait(order, order.wait, hold, progress)
            found, problem = await self._planner.find(order)
        except Rejected as rejected:
            problem = rejected
        return Result("alive", files=0, size=0, problem=problem, found=found)
