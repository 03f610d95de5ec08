"""Every error of AWS and its libraries leaves the adapters as one of ours, sorted by what the worker does about it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aws.refusing import Refusing, client_error, refusing
from botocore import exceptions as botocore_errors
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import REFUSED, NotThere
from archiver.aws.s3 import Abilities, S3Store, S3Upload, Upload, check_bucket
from archiver.aws.sqs import SqsNotifier, SqsSource, resolve_queue
from archiver.errors import (
    Answered,
    ArchiveExists,
    ArchiverError,
    ConfigurationFault,
    LeaseLost,
    Rejected,
    Temporary,
    Undeliverable,
)
from archiver.ports import Message, Note, QueueFacts, Rejection, Target

DEAD = "arn:aws:sqs:eu-west-1:123456789012:dead"
FACTS = QueueFacts("arn:aws:sqs:eu-west-1:123456789012:source", 30, 3, DEAD)
MESSAGE = Message("id", "{}", "receipt", 0.0, 1, datetime.now(UTC))
REJECTION = Rejection("internal", "so", "group", "dedup")
TARGET = Target("a.zip", "attachment", {})

Call = Callable[[Clients], Awaitable[object]]


def source(clients: Clients) -> SqsSource:
    return SqsSource(clients, "http://queue", FACTS, 1)


def upload(clients: Clients) -> S3Upload:
    return S3Upload(clients, Upload("archives", "a.zip", "id"))


CALLS: dict[str, Call] = {
    "resolve": lambda clients: resolve_queue(clients.sqs_control, "jobs"),
    "open": lambda clients: SqsSource.open(clients, "jobs", 1),
    "receive": lambda clients: source(clients).receive(1),
    "hide": lambda clients: source(clients).hide(MESSAGE, 1),
    "delete": lambda clients: source(clients).delete(MESSAGE),
    "reject": lambda clients: source(clients).reject(MESSAGE, REJECTION),
    "send": lambda clients: SqsNotifier(clients.sqs_control, "http://queue").send(Note("{}", "id", "group")),
    "check": lambda clients: SqsNotifier(clients.sqs_control, "http://queue").check(),
    "bucket": lambda clients: check_bucket(clients.s3_control, "archives"),
    "find": lambda clients: S3Store(clients, "archives").find("a.zip"),
    "begin": lambda clients: S3Store(clients, "archives").begin(TARGET),
    "sweep": lambda clients: S3Store(clients, "archives").sweep("a.zip"),
    "complete": lambda clients: upload(clients).complete(0, 0),
    "abort": lambda clients: upload(clients).abort(),
}

GONE_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
SORTED: list[tuple[str, str, type[ArchiverError]]] = [
    ("resolve", GONE_QUEUE, NotThere),
    ("resolve", "AccessDenied", ConfigurationFault),
    ("open", "QueueDoesNotExist", NotThere),
    ("receive", "OverLimit", Temporary),
    ("receive", "AccessDenied", Temporary),
    ("receive", GONE_QUEUE, Temporary),
    ("hide", "ReceiptHandleIsInvalid", LeaseLost),
    ("hide", "InvalidParameterValue", LeaseLost),
    ("hide", "AWS.SimpleQueueService.MessageNotInflight", LeaseLost),
    ("hide", "RequestThrottled", Temporary),
    ("delete", "ReceiptHandleIsInvalid", LeaseLost),
    ("delete", "InvalidParameterValue", LeaseLost),
    ("delete", "AccessDenied", ConfigurationFault),
    ("delete", "KmsAccessDenied", ConfigurationFault),
    ("hide", "AccessDeniedException", ConfigurationFault),
    ("hide", "InternalError", Temporary),
    ("reject", GONE_QUEUE, Undeliverable),
    ("reject", "AccessDenied", Undeliverable),
    ("reject", "KmsDisabled", Undeliverable),
    ("reject", "InternalError", Temporary),
    ("send", GONE_QUEUE, NotThere),
    ("send", "AccessDenied", ConfigurationFault),
    ("send", "InvalidParameterValue", Undeliverable),
    ("send", "InvalidMessageContents", Undeliverable),
    ("send", "RequestThrottled", Temporary),
    ("send", "InternalFailure", Temporary),
    *[("send", f"Kms{why}", ConfigurationFault) for why in ("AccessDenied", "Disabled", "NotFound", "InvalidState")],
    *[("send", f"Kms{why}", ConfigurationFault) for why in ("InvalidKeyUsage", "OptInRequired")],
    ("send", "KmsThrottled", Temporary),
    ("send", "KMS.AccessDeniedException", ConfigurationFault),
    ("send", "KMS.ThrottlingException", Temporary),
    ("send", "SomethingNobodyListed", ConfigurationFault),
    ("send", "413", Undeliverable),
    ("send", "RequestEntityTooLarge", Undeliverable),
    ("check", GONE_QUEUE, NotThere),
    ("bucket", "404", NotThere),
    ("bucket", "403", ConfigurationFault),
    ("bucket", "400", ConfigurationFault),
    ("find", "400", ConfigurationFault),
    ("find", "500", Temporary),
    ("begin", "AccessDenied", ConfigurationFault),
    ("begin", "NoSuchBucket", ConfigurationFault),
    ("begin", "SlowDown", Temporary),
    ("begin", "KMS.DisabledException", ConfigurationFault),
    ("begin", "NotImplemented", ConfigurationFault),
    ("begin", "InsufficientStorage", ConfigurationFault),
    ("begin", "QuotaExceeded", ConfigurationFault),
    ("begin", "InvalidArgument", ConfigurationFault),
    ("begin", "MethodNotAllowed", ConfigurationFault),
    ("begin", "RequestTimeout", Temporary),
    ("begin", "KMS.ThrottlingException", Temporary),
    ("sweep", "AccessDenied", Temporary),
    ("complete", "PreconditionFailed", ArchiveExists),
    ("complete", "412", ArchiveExists),
    ("complete", "ConditionalRequestConflict", Temporary),
    ("complete", "NoSuchUpload", ArchiveExists),
    ("complete", "404", Temporary),
    ("complete", "InternalError", Temporary),
    ("complete", "NotImplemented", ConfigurationFault),
    ("complete", "BadDigest", ConfigurationFault),
    ("complete", "AccessDenied", ConfigurationFault),
    ("complete", "NoSuchBucket", ConfigurationFault),
    ("complete", "InvalidPart", ConfigurationFault),
    ("complete", "InvalidRequest", ConfigurationFault),
    ("complete", "EntityTooSmall", Rejected),
    ("abort", "AccessDenied", Temporary),
]


STATUS = {
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InternalFailure": 500,
    "MethodNotAllowed": 405,
    "NotImplemented": 501,
    "SlowDown": 503,
}


@pytest.mark.parametrize(("call", "code", "expected"), SORTED)
async def test_each_answer_is_sorted_by_what_to_do_about_it(
    call: str, code: str, expected: type[ArchiverError]
) -> None:
    with pytest.raises(ArchiverError) as caught:
        await CALLS[call](refusing(client_error(code, STATUS.get(code, 400))))
    assert type(caught.value) is expected
    # SQS's sentence about a receipt quotes it: nothing of that may reach a log.
    assert (code.rsplit(".", 1)[-1] in str(caught.value)) is (expected is not LeaseLost)


@pytest.mark.parametrize(
    ("code", "expected"), [("InvalidPart", Answered), ("BadDigest", Answered), ("InvalidRequest", Rejected)]
)
async def test_a_store_that_has_completed_one_upload_refuses_the_next_for_its_own_sake(
    code: str, expected: type[ArchiverError]
) -> None:
    """Before, the same answers say that it does not know the checksum of the whole."""
    able = Abilities(completes=True)
    refused = S3Upload(refusing(client_error(code)), Upload("archives", "a.zip", "id"), abilities=able)

    with pytest.raises(expected, match=code):
        await refused.complete(0, 0)


async def test_a_queue_that_takes_less_than_it_did_is_asked_for_its_limit() -> None:
    """The next try of the job writes an answer that fits."""
    told = {"Attributes": {"MaximumMessageSize": "2048"}}
    clients = refusing(client_error("InvalidParameterValue"), get_queue_attributes=told)
    notifier = SqsNotifier(clients.sqs_control, "http://queue")

    with pytest.raises(Undeliverable):
        await notifier.send(Note("{}", "id", "group"))

    assert notifier.room_for({}) == 2048


@pytest.mark.parametrize("call", ["change_message_visibility", "delete_message"])
async def test_the_right_to_keep_and_to_delete_is_looked_at_without_a_message(call: str) -> None:
    """Who may not do it is refused before SQS looks at the receipt."""
    allowed = refusing(client_error("ReceiptHandleIsInvalid", 404))
    await source(allowed).check()

    denied = refusing(client_error("AccessDenied", 403), change_message_visibility={})
    if call == "change_message_visibility":
        denied = refusing(client_error("AccessDenied", 403), delete_message={})
    with pytest.raises(ConfigurationFault, match="AccessDenied"):
        await source(denied).check()


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "403", "AccessDenied"])
async def test_an_archive_that_can_not_be_seen_is_not_found(code: str) -> None:
    assert await S3Store(refusing(client_error(code)), "archives").find("a.zip") is None


class Told(Refusing):
    """HEAD says 403, without a code; GET says *why*, or is answered where that is None."""

    def __init__(self, why: BaseException | None) -> None:
        super().__init__(client_error("403", 403))
        self.why, self.closed = why, False

    async def get_object(self, **asked: str) -> object:
        assert asked == {"Bucket": "archives", "Key": "a.zip", "Range": "bytes=0-0"}
        if self.why is not None:
            raise self.why
        return {"Body": self}

    def close(self) -> None:
        self.closed = True


def telling(told: Told) -> S3Store:
    one: Any = told
    return S3Store(Clients(one, one, one, one, one, one, one), "archives")


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"])
async def test_credentials_that_are_refused_are_no_archive_that_cannot_be_seen(code: str) -> None:
    """HEAD says 403 of both."""
    with pytest.raises(ConfigurationFault, match=code):
        await telling(Told(client_error(code, 403))).find("a.zip")


@pytest.mark.parametrize("why", [client_error("AccessDenied", 403), client_error("NoSuchKey", 404), None])
async def test_an_archive_that_is_denied_is_not_found(why: BaseException | None) -> None:
    told = Told(why)
    assert await telling(told).find("a.zip") is None
    assert told.closed is (why is None)


@pytest.mark.parametrize("code", ["NoSuchUpload", "NoSuchBucket", "404"])
async def test_aborting_an_upload_that_is_gone_is_success(code: str) -> None:
    await CALLS["abort"](refusing(client_error(code)))


async def test_an_abort_that_may_not_be_looked_after_is_believed() -> None:
    await CALLS["abort"](refusing(client_error("AccessDenied"), abort_multipart_upload={}))


async def test_an_upload_that_survives_every_abort_is_said_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.aws.s3.ABORT_PAUSE", 0)
    with pytest.raises(Temporary, match="still there"):
        await CALLS["abort"](refusing(client_error("unused"), abort_multipart_upload={}, list_parts={}))


async def test_both_names_of_an_error_of_sqs_are_known() -> None:
    error = client_error("AWS.SimpleQueueService.SomethingElse", QueryErrorCode="com.amazonaws.sqs#QueueDoesNotExist")
    with pytest.raises(NotThere):
        await CALLS["resolve"](refusing(error))


@pytest.mark.parametrize("code", sorted(REFUSED))
@pytest.mark.parametrize("call", CALLS)
async def test_refused_credentials_are_a_configuration_fault_everywhere(call: str, code: str) -> None:
    with pytest.raises(ConfigurationFault):
        await CALLS[call](refusing(client_error(code, 403)))


LIBRARY = [
    botocore_errors.EndpointConnectionError(endpoint_url="http://queue"),
    botocore_errors.ReadTimeoutError(endpoint_url="http://queue"),
    botocore_errors.ConnectionClosedError(endpoint_url="http://queue"),
    botocore_errors.HTTPClientError(error=ValueError()),
    botocore_errors.ParamValidationError(report="so"),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerDisconnectedError(),
    ConnectionResetError(),
    TimeoutError(),
]


@pytest.mark.parametrize("error", LIBRARY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", CALLS)
async def test_errors_of_the_way_there_are_temporary(call: str, error: Exception) -> None:
    with pytest.raises(ArchiverError) as caught:
        await CALLS[call](refusing(error))
    assert type(caught.value) is Temporary


@pytest.mark.parametrize("call", CALLS)
async def test_without_credentials_everything_is_a_configuration_fault(call: str) -> None:
    with pytest.raises(ConfigurationFault):
        await CALLS[call](refusing(botocore_errors.NoCredentialsError()))


@given(call=st.sampled_from(sorted(CALLS)), code=st.text(max_size=30), status=st.integers(300, 599))
async def test_no_code_whatever_leaks_an_error_of_the_library(call: str, code: str, status: int) -> None:
    with suppress(ArchiverError):
        await CALLS[call](refusing(client_error(code, status)))


@pytest.mark.parametrize(
    ("told", "crc32"),
    [
        ({"ChecksumCRC32": "AAAAAQ=="}, 1),
        ({"ChecksumCRC32": "AAAAAQ==", "ChecksumType": "FULL_OBJECT"}, 1),
        ({"ChecksumCRC32": "AAAAAQ==", "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumCRC32": "AAAAAQ==-3"}, None),
        ({}, None),
    ],
)
async def test_a_checksum_of_the_parts_checksums_is_none_of_the_archive(
    told: dict[str, str], crc32: int | None
) -> None:
    head = {"ContentLength": 1, "ETag": '"e"', **told}

    found = await S3Store(refusing(client_error("unused"), head_object=head), "archives").find("a.zip")

    assert found is not None
    assert found.crc32 == crc32
