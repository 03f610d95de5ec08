"""Archives where commands are on: a job whose command has succeeded already is no archive's."""

from archiver.core.command_memory import result_key
from archiver.core.messages import Request
from archiver.errors import Rejected
from archiver.jobs.archive import ArchiveOrder
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result, Work
from archiver.ports import Hold, ObjectStore
from archiver.stages.progress import Progress
from archiver.stages.upload import find


class ArchivesBesideCommands:
    """Makes archives as *work* does, unless *store* remembers the result of a command under the same `job_id`."""

    def __init__(self, work: Work[ArchiveOrder], store: ObjectStore) -> None:
        self._work = work
        self._store = store

    def prepare(self, request: Request, job: JobIdentity) -> ArchiveOrder:
        """Raises Rejected."""
        return self._work.prepare(request, job)

    async def do(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> Result:
        """Raises Rejected (`job_conflict`), and as *work* does."""
        digest = order.target.key.partition("/")[0]
        if await find(self._store, result_key(digest)) is not None:
            raise Rejected("job_conflict", "a command under this job_id has succeeded already")
        return await self._work.do(order, hold, progress)
