"""
Answers that are too long for one of their receivers: stored whole beside the archive, and named in what is sent.

What is sent then has `answer_url`, and its lists are truncated. It is written before anything is sent.
"""

import sys
from collections.abc import Callable, Sequence

from archiver.core.attributes import Attributes
from archiver.core.receipt import answer_key
from archiver.core.strict_json import byte_length
from archiver.jobs.identity import JobIdentity
from archiver.ports import Hold, Links, Notifier
from archiver.stages.receipt import Receipts
from archiver.stages.retry import retry_transient

Write = Callable[[int, str | None], str]
"""Makes a body of at most so many bytes; the second argument is the `answer_url` in it, if any."""


class LongAnswers:
    """*attributes*: of the objects. *links*: makes their URLs. Memory: one answer, whole, for each job that has one."""

    def __init__(self, receipts: Receipts, links: Links, attributes: Attributes) -> None:
        self._receipts = receipts
        self._links = links
        self._attributes = attributes

    async def fit(
        self, job: JobIdentity, notification_id: str, notifiers: Sequence[Notifier], write: Write, hold: Hold
    ) -> Callable[[int], str]:
        """
        Return what makes the body for each of *notifiers*, after the whole answer was stored, if it is too long for
        one. Raises TransientError, ConfigurationError, LeaseLost.
        """
        whole = write(sys.maxsize, None)
        size = byte_length(whole)
        if all(size <= notifier.max_body_bytes(job.message.attributes) for notifier in notifiers):
            return lambda limit: whole if size <= limit else write(limit, None)
        key = answer_key(job.key, notification_id)

        async def put() -> None:
            hold.confirm()
            await self._receipts.put(key, whole.encode(), self._attributes)

        await retry_transient(put)
        url = (await self._links.link(key)).url
        return lambda limit: whole if size <= limit else write(limit, url)
