"""Every error of AWS and its libraries leaves the adapters as one of ours, sorted by what the worker does about it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aws.failing_clients import FailingTransport, answer, client_error, make_failing_clients, make_s3_calls
from botocore import exceptions as botocore_errors
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import CREDENTIAL_ERROR_CODES, ResourceNotFound
from archiver.aws.queues import SqsNotifier, resolve_queue
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_store import S3Store, check_bucket
from archiver.aws.s3_upload import S3Upload, StoreCapabilities, UploadId
from archiver.aws.sqs import SqsSource
from archiver.core.locations import Location
from archiver.errors import (
    ArchiveExists,
    ArchiverError,
    ConfigurationError,
    LeaseLost,
    Rejected,
    RequestRefused,
    TransferInterrupted,
    TransientError,
    Undeliverable,
)
from archiver.http.exchange import HttpResponse
from archiver.ports import Message, OutgoingMessage, QueueFacts, Rejection, Target

DEAD = "arn:aws:sqs:eu-west-1:123456789012:dead"
DONE = answer()
FACTS = QueueFacts("arn:aws:sqs:eu-west-1:123456789012:source", 30, 43_200, 3)
MESSAGE = Message("id", "{}", "receipt", 0.0, 1, datetime.now(UTC))
REJECTION = Rejection("internal", "so", "group", "dedup")
TARGET = Target("a.zip", "attachment", {})

Call = Callable[[Clients], Awaitable[object]]


def source(clients: Clients) -> SqsSource:
    return SqsSource(clients, "http://queue", FACTS, 1, DEAD)


UPLOAD = UploadId(Location("archives", "a.zip"), "id")


def upload(clients: Clients) -> S3Upload:
    return S3Upload(clients.s3, UPLOAD)


CALLS: dict[str, Call] = {
    "resolve": lambda clients: resolve_queue(clients.sqs_control, "jobs"),
    "open": lambda clients: SqsSource.open(clients, "jobs", 1),
    "receive": lambda clients: source(clients).receive(1),
    "extend": lambda clients: source(clients).extend(MESSAGE, 1),
    "release": lambda clients: source(clients).release(MESSAGE, 1),
    "delete": lambda clients: source(clients).delete(MESSAGE),
    "reject": lambda clients: source(clients).dead_letters.put(MESSAGE, REJECTION),
    "send": lambda clients: SqsNotifier(clients.sqs_control, "http://queue").send(OutgoingMessage("{}", "id", "group")),
    "check": lambda clients: SqsNotifier(clients.sqs_control, "http://queue").check(),
    "bucket": lambda clients: check_bucket(clients.s3, "archives"),
    "find": lambda clients: S3Store(clients, "archives").find("a.zip"),
    "begin": lambda clients: S3Store(clients, "archives").create_upload(TARGET),
    "sweep": lambda clients: S3Store(clients, "archives").abort_uploads("a.zip"),
    "complete": lambda clients: upload(clients).complete(0, 0),
    "abort": lambda clients: upload(clients).abort(),
}

GONE_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
SORTED: list[tuple[str, str, type[ArchiverError]]] = [
    ("resolve", GONE_QUEUE, ResourceNotFound),
    ("resolve", "AccessDenied", ConfigurationError),
    ("open", "QueueDoesNotExist", ResourceNotFound),
    ("receive", "OverLimit", TransientError),
    ("receive", "AccessDenied", TransientError),
    ("receive", GONE_QUEUE, TransientError),
    ("extend", "ReceiptHandleIsInvalid", LeaseLost),
    ("release", "ReceiptHandleIsInvalid", LeaseLost),
    ("extend", "InvalidParameterValue", LeaseLost),
    ("release", "InvalidParameterValue", LeaseLost),
    ("extend", "AWS.SimpleQueueService.MessageNotInflight", LeaseLost),
    ("release", "AWS.SimpleQueueService.MessageNotInflight", LeaseLost),
    ("extend", "RequestThrottled", TransientError),
    ("release", "RequestThrottled", TransientError),
    ("delete", "ReceiptHandleIsInvalid", LeaseLost),
    ("delete", "InvalidParameterValue", LeaseLost),
    ("delete", "AccessDenied", ConfigurationError),
    ("delete", "KmsAccessDenied", ConfigurationError),
    ("extend", "AccessDeniedException", ConfigurationError),
    ("release", "AccessDeniedException", ConfigurationError),
    ("extend", "InternalError", TransientError),
    ("release", "InternalError", TransientError),
    ("reject", GONE_QUEUE, Undeliverable),
    ("reject", "AccessDenied", Undeliverable),
    ("reject", "KmsDisabled", Undeliverable),
    ("reject", "InternalError", TransientError),
    ("send", GONE_QUEUE, ResourceNotFound),
    ("send", "AccessDenied", ConfigurationError),
    ("send", "InvalidParameterValue", Undeliverable),
    ("send", "InvalidMessageContents", Undeliverable),
    ("send", "RequestThrottled", TransientError),
    ("send", "InternalFailure", TransientError),
    *[("send", f"Kms{why}", ConfigurationError) for why in ("AccessDenied", "Disabled", "NotFound", "InvalidState")],
    *[("send", f"Kms{why}", ConfigurationError) for why in ("InvalidKeyUsage", "OptInRequired")],
    ("send", "KmsThrottled", TransientError),
    ("send", "KMS.AccessDeniedException", ConfigurationError),
    ("send", "KMS.ThrottlingException", TransientError),
    ("send", "SomethingNobodyListed", ConfigurationError),
    ("send", "413", Undeliverable),
    ("send", "RequestEntityTooLarge", Undeliverable),
    ("check", GONE_QUEUE, ResourceNotFound),
    ("bucket", "404", ResourceNotFound),
    ("bucket", "403", ConfigurationError),
    ("bucket", "400", ConfigurationError),
    ("find", "400", ConfigurationError),
    ("find", "500", TransientError),
    ("begin", "AccessDenied", ConfigurationError),
    ("begin", "NoSuchBucket", ConfigurationError),
    ("begin", "SlowDown", TransientError),
    ("begin", "KMS.DisabledException", ConfigurationError),
    ("begin", "NotImplemented", ConfigurationError),
    ("begin", "InsufficientStorage", ConfigurationError),
    ("begin", "QuotaExceeded", ConfigurationError),
    ("begin", "InvalidArgument", ConfigurationError),
    ("begin", "MethodNotAllowed", ConfigurationError),
    ("begin", "RequestTimeout", TransientError),
    ("begin", "KMS.ThrottlingException", TransientError),
    ("sweep", "AccessDenied", TransientError),
    ("complete", "PreconditionFailed", ArchiveExists),
    ("complete", "412", ArchiveExists),
    ("complete", "ConditionalRequestConflict", TransientError),
    ("complete", "NoSuchUpload", ArchiveExists),
    ("complete", "404", TransientError),
    ("complete", "InternalError", TransientError),
    ("complete", "NotImplemented", ConfigurationError),
    ("complete", "BadDigest", ConfigurationError),
    ("complete", "AccessDenied", ConfigurationError),
    ("complete", "NoSuchBucket", ConfigurationError),
    ("complete", "InvalidPart", ConfigurationError),
    ("complete", "InvalidRequest", ConfigurationError),
    ("complete", "EntityTooSmall", Rejected),
    ("abort", "AccessDenied", TransientError),
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
        await CALLS[call](make_failing_clients(client_error(code, STATUS.get(code, 400))))
    assert (TransientError if type(caught.value) is TransferInterrupted else type(caught.value)) is expected
    # SQS's sentence about a receipt quotes it: nothing of that may reach a log.
    assert (code.rsplit(".", 1)[-1] in str(caught.value)) is (expected is not LeaseLost)


@pytest.mark.parametrize(
    ("code", "expected"), [("InvalidPart", RequestRefused), ("BadDigest", RequestRefused), ("InvalidRequest", Rejected)]
)
async def test_a_store_that_has_completed_one_upload_refuses_the_next_for_its_own_sake(
    code: str, expected: type[ArchiverError]
) -> None:
    """Before, the same answers say that it does not know the checksum of the whole."""
    able = StoreCapabilities(completes_uploads=True)
    refused = S3Upload(make_s3_calls(client_error(code)), UPLOAD, {}, able)

    with pytest.raises(expected, match=code):
        await refused.complete(0, 0)


async def test_a_queue_that_takes_less_than_it_did_is_asked_for_its_limit() -> None:
    """The next try of the job writes an answer that fits."""
    told = {"Attributes": {"MaximumMessageSize": "2048"}}
    clients = make_failing_clients(client_error("InvalidParameterValue"), get_queue_attributes=told)
    notifier = SqsNotifier(clients.sqs_control, "http://queue")

    with pytest.raises(Undeliverable):
        await notifier.send(OutgoingMessage("{}", "id", "group"))

    assert notifier.max_body_bytes({}) == 2048


@pytest.mark.parametrize("call", ["change_message_visibility", "delete_message"])
async def test_the_right_to_keep_and_to_delete_is_looked_at_without_a_message(call: str) -> None:
    """Who may not do it is refused before SQS looks at the receipt."""
    allowed = make_failing_clients(client_error("ReceiptHandleIsInvalid", 404))
    await source(allowed).check()

    denied = make_failing_clients(client_error("AccessDenied", 403), change_message_visibility={})
    if call == "change_message_visibility":
        denied = make_failing_clients(client_error("AccessDenied", 403), delete_message={})
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        await source(denied).check()


@pytest.mark.parametrize("status", [404, 403])
async def test_an_archive_that_can_not_be_seen_is_not_found(status: int) -> None:
    clients = make_failing_clients(client_error("AccessDenied", status))
    assert await S3Store(clients, "archives").find("a.zip") is None


def store(head: HttpResponse | Exception, get: HttpResponse | Exception) -> tuple[S3Store, FailingTransport]:
    """A store where HEAD and GET are answered so."""
    one = FailingTransport(AssertionError("another call"), head_object=head, get_object=get)
    nothing: Any = None
    clients = Clients(nothing, nothing, nothing, nothing, S3Calls(one, one, one, retry_seconds=0))
    return S3Store(clients, "archives"), one


DENIED = client_error("403", 403)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"])
async def test_credentials_that_are_refused_are_no_archive_that_cannot_be_seen(code: str) -> None:
    """HEAD says 403 of both."""
    with pytest.raises(ConfigurationError, match=code):
        await store(DENIED, client_error(code, 403))[0].find("a.zip")


@pytest.mark.parametrize("why", [client_error("AccessDenied", 403), client_error("NoSuchKey", 404), answer("z")])
async def test_an_archive_that_is_denied_is_not_found(why: HttpResponse | Exception) -> None:
    archives, transport = store(DENIED, why)
    assert await archives.find("a.zip") is None
    assert transport.requests[-1].lines == "Range: bytes=0-0\r\n"


@pytest.mark.parametrize("code", ["NoSuchUpload", "NoSuchBucket", "404"])
async def test_aborting_an_upload_that_is_gone_is_success(code: str) -> None:
    await CALLS["abort"](make_failing_clients(client_error(code)))


async def test_an_abort_that_may_not_be_looked_after_is_believed() -> None:
    await CALLS["abort"](make_failing_clients(client_error("AccessDenied"), abort_multipart_upload=DONE))


async def test_an_upload_that_survives_every_abort_is_said_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.aws.s3_upload.ABORT_RETRY_SECONDS", 0)
    with pytest.raises(TransientError, match="still exists"):
        await CALLS["abort"](make_failing_clients(client_error("unused"), abort_multipart_upload=DONE, list_parts=DONE))


async def test_both_names_of_an_error_of_sqs_are_known() -> None:
    error = client_error("AWS.SimpleQueueService.SomethingElse", QueryErrorCode="com.amazonaws.sqs#QueueDoesNotExist")
    with pytest.raises(ResourceNotFound):
        await CALLS["resolve"](make_failing_clients(error))


@pytest.mark.parametrize("code", sorted(CREDENTIAL_ERROR_CODES))
@pytest.mark.parametrize("call", CALLS)
async def test_refused_credentials_are_a_configuration_fault_everywhere(call: str, code: str) -> None:
    with pytest.raises(ConfigurationError):
        await CALLS[call](make_failing_clients(client_error(code, 403)))


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
        await CALLS[call](make_failing_clients(error))
    assert type(caught.value) in (TransientError, TransferInterrupted)


@pytest.mark.parametrize("call", CALLS)
async def test_without_credentials_everything_is_a_configuration_fault(call: str) -> None:
    with pytest.raises(ConfigurationError):
        await CALLS[call](make_failing_clients(botocore_errors.NoCredentialsError()))


@given(call=st.sampled_from(sorted(CALLS)), code=st.text(max_size=30), status=st.integers(300, 599))
async def test_no_code_whatever_leaks_an_error_of_the_library(call: str, code: str, status: int) -> None:
    with suppress(ArchiverError):
        await CALLS[call](make_failing_clients(client_error(code, status)))


@pytest.mark.parametrize(
    ("told", "crc32"),
    [
        ({"x_amz_checksum_crc32": "AAAAAQ=="}, 1),
        ({"x_amz_checksum_crc32": "AAAAAQ==", "x_amz_checksum_type": "FULL_OBJECT"}, 1),
        ({"x_amz_checksum_crc32": "AAAAAQ==", "x_amz_checksum_type": "COMPOSITE"}, None),
        ({"x_amz_checksum_crc32": "AAAAAQ==-3"}, None),
        ({"x_amz_checksum_crc32": "AAAA"}, None),
        ({}, None),
    ],
)
async def test_a_checksum_of_the_parts_checksums_is_none_of_the_archive(
    told: dict[str, Any], crc32: int | None
) -> None:
    head = answer(etag='"e"', x_amz_meta_archiver_token="t", **told)

    found = await store(head, DENIED)[0].find("a.zip")

    assert found is not None
    assert (found.size, found.etag, found.crc32) == (1, '"e"', crc32)
    assert found.metadata == {"archiver-token": "t"}


async def test_a_head_without_an_etag_tells_nothing_about_the_archive() -> None:
    with pytest.raises(TransientError, match="no ETag"):
        await store(answer(), DENIED)[0].find("a.zip")
