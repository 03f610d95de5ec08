"""A job whose command has succeeded makes no archive, where commands are on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeHold

from archiver.core.draft import Draft
from archiver.core.messages import Request
from archiver.errors import Rejected
from archiver.jobs.archive import ArchiveOrder
from archiver.jobs.command_conflict import ArchivesBesideCommands
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold, Target
from archiver.stages.progress import Progress

from .command_env import CommandEnv, command_env

DONE = Result("succeeded", files=1, size=1)


class Archives:
    """Makes every archive."""

    def prepare(self, request: Request, job: JobIdentity) -> ArchiveOrder:
        return order(job.key)

    async def do(self, order: ArchiveOrder, hold: Hold, progress: Progress) -> Result:
        return DONE


def order(key: str) -> ArchiveOrder:
    return ArchiveOrder(Draft.__new__(Draft), Target(key, ""))


@pytest.fixture
def env(tmp_path: Path) -> Iterator[CommandEnv]:
    with command_env(tmp_path) as env:
        yield env


async def test_an_archive_under_the_job_id_of_a_command_that_has_succeeded_is_a_conflict(env: CommandEnv) -> None:
    await env.run(job_id="j")
    digest = next(at.key for at in env.stage.s3.objects if at.bucket == "archives").partition("/")[0]
    work = ArchivesBesideCommands(Archives(), env.stage.store)

    with pytest.raises(Rejected, match="job_conflict"):
        await work.do(order(f"{digest}/download.zip"), FakeHold(), Progress())
    assert await work.do(order("another/download.zip"), FakeHold(), Progress()) == DONE
