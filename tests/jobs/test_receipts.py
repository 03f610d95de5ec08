"""Every archive has a receipt, from before it appears; a receipt without its archive does not last."""

import asyncio
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from fakes import FakeHold, Faults
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.attributes import AttributeRules, Attributes
from archiver.core.locations import Location
from archiver.core.receipt import Receipt, folder_of, receipt_key
from archiver.core.receipt_parser import ReceiptMember, ReceiptParser
from archiver.errors import (
    ArchiverError,
    Code,
    ConfigurationError,
    LeaseLost,
    Rejected,
    RequestRefused,
    TransientError,
)
from archiver.ports import StoredArchive
from archiver.stages.upload import TOKEN
from stages.builders import random_bytes

OTHERS = "cd" * 16
WITH_GAPS: dict[str, Any] = {"on_missing": "skip", "job_id": "j"}


def read(env: PipelineEnv) -> tuple[Receipt, list[ReceiptMember]]:
    """The one receipt in the bucket."""
    parser = ReceiptParser()
    members = list(parser.feed(env.stage.s3.objects[env.receipt_at].data))
    parser.end()
    assert parser.receipt is not None
    return parser.receipt, members


@pytest.mark.parametrize("size", [10, 12 << 20], ids=["one part", "parts"])
@pytest.mark.parametrize("compression", ["store", "deflate"])
async def test_a_receipt_says_what_is_in_the_archive(compression: str, size: int) -> None:
    env = PipelineEnv()
    env.put(a_jpg=random_bytes(size), b_txt=b"b" * 1000, c=b"")

    await env.run("a.jpg", "b.txt", "c", "a.jpg", "gone", compression=compression, **WITH_GAPS)

    receipt, members = read(env)
    archive, answer = env.stage.s3.objects[env.at], env.answer
    assert archive.metadata[TOKEN] == receipt.token
    assert (receipt.bucket, receipt.key, receipt.size, receipt.crc32) == (
        *_place(env),
        len(archive.data),
        archive.crc32,
    )
    outcome = receipt.outcome
    assert (outcome.status, outcome.files) == ("partial", 4) == (answer["status"], answer["archive"]["files"])
    assert [{"source": one.source, "code": one.code} for one in outcome.missing] == answer["missing"]
    assert [one.to for one in outcome.renamed] == [one["to"] for one in answer["renamed"]] == ["a (2).jpg"]
    infos = zipfile.ZipFile(BytesIO(archive.data)).infolist()
    assert [(one.path, one.size, one.crc32) for one in members] == [
        (info.filename, info.file_size, info.CRC) for info in infos
    ]
    stored = compression == "store"
    assert [one.offset for one in members] == [info.header_offset if stored else None for info in infos]
    objects = [env.stage.s3.objects[Location("source", key)] for key in ("a.jpg", "b.txt", "c", "a.jpg")]
    assert [one.etag for one in members] == [*(blob.etag for blob in objects), None]
    assert [one.source for one in members] == [f"s3://source/{key}" for key in ("a.jpg", "b.txt", "c", "a.jpg")] + [
        None
    ]


def _place(env: PipelineEnv) -> tuple[str, str]:
    return env.at.bucket, env.at.key


async def test_an_archive_whose_receipt_cannot_be_written_does_not_appear() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.receipts.faults.plan("receipt", TransientError("503"), times=0)

    with pytest.raises(TransientError, match="503"):
        await env.run("a.jpg")

    assert env.stage.receipts.faults.calls["receipt"] > 1
    assert env.stage.store.events == []


async def test_no_receipt_is_written_once_the_lease_is_lost() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")

    def confirm() -> None:
        raise LeaseLost("late")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(await env.message(files=[{"source": "a.jpg"}]), FakeHold(confirm))

    assert env.stage.receipts.events == env.stage.store.events == []


def lost_after(checks: int) -> Callable[[], None]:
    """A lease that is lost at its check number *checks* + 1."""
    left = [None] * checks

    def confirm() -> None:
        if not left:
            raise LeaseLost("late")
        left.pop()

    return confirm


async def test_a_lease_that_is_lost_between_receipt_and_archive_takes_the_receipt_back() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(await env.message(files=[{"source": "a.jpg"}]), FakeHold(lost_after(1)))

    assert env.stage.receipts.events == ["receipt", "delete"]
    assert env.stage.store.events == []


@pytest.mark.parametrize("error", [ConfigurationError("denied"), Rejected("internal", "x"), RequestRefused("no")])
@pytest.mark.parametrize(("verb", "size"), [("put", 1), ("complete", 12 << 20)])
async def test_an_archive_that_is_refused_takes_its_receipt_along(verb: str, size: int, error: ArchiverError) -> None:
    """A job that is held retries in place for hours: it must not leave a receipt at each attempt."""
    env = PipelineEnv()
    env.put(a_jpg=random_bytes(size))
    env.stage.store.faults.plan(verb, error, times=0)

    with pytest.raises(type(error)):
        await env.run("a.jpg")

    assert env.stage.receipts.keys == []
    assert env.stage.receipts.events == ["receipt", "delete"]


@pytest.mark.parametrize("then", [TransientError("503"), ConfigurationError("denied"), RequestRefused("no")])
async def test_a_receipt_is_kept_where_its_archive_may_still_appear(then: ArchiverError) -> None:
    """The response to a write was lost, and the key is empty as yet: the write may take effect later."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.store.faults.plan("put", TransientError("connection lost"))
    env.stage.store.faults.plan("put", then, nth=2, times=0)

    with pytest.raises(type(then)):
        await env.run("a.jpg", job_id="j")
    assert len(env.stage.receipts.keys) == 1

    env.stage.store.faults = Faults()
    await env.run("a.jpg", job_id="j")
    assert read(env)[0].token == env.stage.s3.objects[env.at].metadata[TOKEN]


async def test_of_two_workers_that_build_one_archive_the_loser_takes_its_receipt_back() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    messages = [await env.message(files=[{"source": "a.jpg"}], job_id="j") for _ in range(2)]

    first, second = await asyncio.gather(*(env.pipeline.run(message, FakeHold()) for message in messages))

    assert {first.reused, second.reused} == {True, False}
    assert env.stage.receipts.events.count("receipt") == 2
    assert read(env)[0].token == env.stage.s3.objects[env.at].metadata[TOKEN]
    assert env.answer["archive"]["receipt"] == env.receipt_at.key


@pytest.mark.parametrize(("during", "events"), [("receipt", ["delete"]), ("put", ["receipt"])])
async def test_a_cancelled_job_takes_its_receipt_back_unless_its_archive_may_appear(
    during: str, events: list[str]
) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    faults = env.stage.receipts.faults if during == "receipt" else env.stage.store.faults
    faults.plan(during, delay=60)
    job = asyncio.create_task(env.run("a.jpg"))
    while not faults.calls[during]:
        await asyncio.sleep(0)

    job.cancel()
    await asyncio.gather(job, return_exceptions=True)

    assert job.cancelled()
    assert env.stage.receipts.events == events


async def test_a_receipt_that_cannot_be_deleted_does_not_hide_the_failure_of_its_job() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    env.stage.store.faults.plan("put", ConfigurationError("denied"))
    env.stage.receipts.faults.plan("delete", ConfigurationError("no s3:DeleteObject"), times=0)

    with pytest.raises(ConfigurationError, match="denied"):
        await env.run("a.jpg")


# A finished job again


async def test_a_finished_archive_without_a_receipt_is_answered_from_its_request() -> None:
    """Deleted by the operator, or the archive is of a release without receipts."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", "a.jpg", "folder/", **WITH_GAPS)
    before = env.answer
    del env.stage.s3.objects[env.receipt_at]

    await env.run("a.jpg", "a.jpg", "folder/", **WITH_GAPS)

    own = {"notification_id": 0, "message_id": 0, "archive": before["archive"] | {"receipt": None}}
    assert env.answer | own | {"archive": env.answer["archive"]} == before | own
    assert env.stage.receipts.keys == []


@pytest.mark.parametrize("trouble", ["deleted", "damaged", "empty", "source_denied", "source_archived"])
async def test_what_is_missing_is_counted_where_the_receipt_that_lists_it_cannot_be_had(trouble: Any) -> None:
    """The archive is there, so the job is answered; `truncated` says that the list is not complete."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", "gone", "folder/", "a.jpg", **WITH_GAPS)
    at = env.receipt_at
    if trouble == "deleted":
        del env.stage.s3.objects[at]
    elif trouble in ("damaged", "empty"):
        data = b"" if trouble == "empty" else b"not gzip"
        env.stage.s3.objects[at] = replace(env.stage.s3.objects[at], data=data)
    else:
        code: Code = trouble
        env.stage.s3.make_unavailable(at, code)

    await env.run("a.jpg", "gone", "folder/", "a.jpg", **WITH_GAPS)

    answer = env.answer
    assert (answer["status"], answer["archive"]["files"]) == ("partial", 2)
    assert (answer["missing"], answer["renamed"], answer["truncated"]) == ([], [], {"missing": 2})
    # What exists, or may exist, is named and never swept.
    assert answer["archive"]["receipt"] == (None if trouble == "deleted" else at.key)
    assert env.stage.receipts.keys == ([] if trouble == "deleted" else [at.key])


# Sweeping


async def test_a_finished_job_deletes_the_receipts_of_killed_workers_and_keeps_its_own() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    own = env.receipt_at.key
    await env.stage.receipts.put(receipt_key(env.at.key, OTHERS), b"")
    await env.stage.receipts.put(receipt_key("other/download.zip", OTHERS), b"")

    await env.run("a.jpg", job_id="j")

    assert env.stage.receipts.keys == [own, receipt_key("other/download.zip", OTHERS)]


async def test_receipts_are_swept_after_the_uploads_so_that_no_upload_outlives_its_receipt() -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    order: list[str] = []
    store, receipts = env.stage.store, env.stage.receipts
    abort_uploads, listing = store.abort_uploads, receipts.list

    async def aborted(key: str, before: datetime | None = None) -> None:
        order.append("uploads")
        await abort_uploads(key, before)

    async def listed(folder: str) -> Any:
        order.append("receipts")
        return await listing(folder)

    store.abort_uploads, receipts.list = aborted, listed  # type: ignore[method-assign]
    await env.run("a.jpg")

    assert order == ["uploads", "receipts"]


@pytest.mark.parametrize("verb", ["list", "delete"])
async def test_a_sweep_that_fails_does_not_fail_the_job(verb: str) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    await env.stage.receipts.put(receipt_key(env.at.key, OTHERS), b"")
    env.stage.receipts.faults.plan(verb, ConfigurationError("no right to it"), times=0)

    assert (await env.run("a.jpg", job_id="j")).reused


async def aged(env: PipelineEnv, token: str, hours: int) -> str:
    """Put a receipt of job j that is *hours* old, and return its key."""
    message = await env.message(files=[], job_id="j")
    at = Location("archives", receipt_key(env.pipeline._identity(message).key, token))
    await env.stage.receipts.put(at.key, b"")
    blob = env.stage.s3.objects[at]
    env.stage.s3.objects[at] = replace(blob, modified=blob.modified - timedelta(hours=hours))
    return at.key


async def fail(env: PipelineEnv) -> None:
    message = await env.message(files=[], job_id="j")
    await env.pipeline.send_failure(message, Rejected("invalid_request", "empty"), FakeHold())


async def test_a_rejected_job_deletes_only_receipts_that_are_older_than_any_lease() -> None:
    """Another message of the same job may be building right now."""
    env = PipelineEnv()
    await aged(env, "ab" * 16, hours=14)
    young = await aged(env, OTHERS, hours=12)

    await fail(env)

    assert env.stage.receipts.keys == [young]


async def test_a_rejected_job_keeps_the_receipt_of_the_archive_that_is_there() -> None:
    """Such as with `job_conflict`, days after the archive was finished."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    own = env.receipt_at
    blob = env.stage.s3.objects[own]
    env.stage.s3.objects[own] = replace(blob, modified=blob.modified - timedelta(days=3))
    await aged(env, OTHERS, hours=14)

    await fail(env)

    assert env.stage.receipts.keys == [own.key]


@pytest.mark.parametrize("told", [None, StoredArchive(1, '"e"', None, {})], ids=["HEAD is denied", "a stranger's"])
async def test_nothing_is_swept_where_the_archive_does_not_say_which_receipt_is_its_own(
    told: StoredArchive | None,
) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    own = env.receipt_at
    blob = env.stage.s3.objects[own]
    env.stage.s3.objects[own] = replace(blob, modified=blob.modified - timedelta(days=3))

    async def find(key: str) -> StoredArchive | None:
        del key
        return told

    env.stage.store.find = find  # type: ignore[method-assign]
    await fail(env)

    assert env.stage.receipts.keys == [own.key]


async def test_the_receipt_of_an_archive_under_another_file_prefix_is_kept() -> None:
    """S3_FILE_PREFIX was changed: the job has two archives in its folder, each with its receipt."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    env.rules = replace(env.rules, file_prefix="bundle")
    env.pipeline = env.make()

    await env.run("a.jpg", job_id="j")

    assert folder_of(env.answer["archive"]["key"]) == folder_of(env.at.key)
    assert len(env.stage.receipts.keys) == 2


async def test_a_process_that_was_suspended_past_its_lease_sweeps_nothing() -> None:
    """Meanwhile the archive may have expired, and another worker may have made it again."""
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    await env.run("a.jpg", job_id="j")
    other = receipt_key(env.at.key, OTHERS)
    await env.stage.receipts.put(other, b"")

    await env.pipeline.run(
        await env.message(files=[{"source": "a.jpg"}], job_id="j"), FakeHold(lost_after(1))
    )  # the answer's own check is the last that succeeds

    assert other in env.stage.receipts.keys


async def test_archive_and_receipt_have_the_attributes_of_settings_and_request() -> None:
    rules = replace(
        RULES,
        attributes=Attributes(None, "STANDARD_IA", {"team": "web"}),
        attribute_rules=AttributeRules(expires_in=("7d",)),
    )
    env = PipelineEnv(rules=rules)
    env.put(a_jpg=b"a")

    await env.run("a.jpg", expires_in="7d")

    tags = {"team": "web", "archiver-expires-in": "7d"}
    assert env.stage.store.attributes[env.at.key] == Attributes(None, "STANDARD_IA", tags)
    assert env.stage.receipts.attributes[env.receipt_at.key] == Attributes(None, None, tags)
    with pytest.raises(Rejected, match="option_not_allowed"):
        await env.run("a.jpg", expires_in="1d")
    await env.run("a.jpg", expires_in="1d", test=True)
    assert env.answer["problem"]["code"] == "option_not_allowed"
