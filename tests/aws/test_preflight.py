"""The check-up beside a store that fails, refuses or keeps what it is given."""

from datetime import UTC, datetime
from typing import Any

import pytest
from aws.failing_clients import BEGUN, FailingClient, answer, client_error, make_failing_clients, make_s3_calls
from botocore.exceptions import EndpointConnectionError
from emulator import EmulatedAws
from fakes.objects import FakeReader, FakeS3

from archiver.aws.clients import Clients
from archiver.aws.dead_letters import DeadLetterQueue, QueueScan
from archiver.aws.error_mapping import CredentialsError, ResourceNotFound
from archiver.aws.preflight import Checks, get_caller_identity
from archiver.aws.preflight_writes import check_writing
from archiver.aws.request_client import AnswerPoller, list_queue_names
from archiver.core.preflight import CheckResult, all_passed, check_lifecycle, has_unknown_results
from archiver.errors import ConfigurationError, TransferInterrupted, TransientError
from archiver.http.exchange import HttpResponse
from archiver.settings import load_settings

UNREACHED = EndpointConnectionError(endpoint_url="http://store.invalid")


def checks(clients: Clients, **more: str) -> Checks:
    given = {"SQS_SOURCE_QUEUE": "jobs", "S3_DESTINATION_BUCKET": "archives", "S3_SOURCE_BUCKET": "photos", **more}
    return Checks(load_settings(given), clients, FakeReader(FakeS3()), None)


async def findings_by_name(asked: Checks) -> dict[str, CheckResult]:
    return {finding.what: finding for finding in await asked.run_all()}


async def test_store_and_queues_that_cannot_be_reached_are_rows_that_may_be_better_later() -> None:
    found = await findings_by_name(checks(make_failing_clients(UNREACHED), SQS_FAILURE_QUEUE="failures"))
    away = ("source queue", "failure queue", "source bucket", "destination bucket", "archives", "lifecycle")
    assert {found[what].state for what in away} == {"unknown"}
    assert all("store.invalid" in found[what].told for what in away)
    assert found["destination reads"].state == "ok"
    assert all_passed(list(found.values()))
    assert has_unknown_results(list(found.values()))


async def test_check_that_has_a_defect_ends_none_of_the_others() -> None:
    found = await findings_by_name(checks(make_failing_clients(RuntimeError("oops"))))
    assert found["archives"].told == "internal error (a bug in the archiver): RuntimeError: oops"
    assert found["archives"].remedy == "please report it"
    assert {"source queue", "source bucket", "source reads", "lifecycle", "links"} <= found.keys()


async def test_credentials_that_are_not_there_yet_are_no_fault_of_a_bucket() -> None:
    found = await findings_by_name(checks(make_failing_clients(FileNotFoundError(2, "No such file", "/nowhere/token"))))
    assert found["archives"].state == "unknown"
    assert found["archives"].told == "no credentials available: /nowhere/token: No such file"


async def test_our_own_client_has_a_row_for_each_bucket() -> None:
    class Cut:
        async def head(self, _: Any) -> Any:
            raise TransferInterrupted(
                "no connection to photos through the proxy p:1 (HTTPS_PROXY): ConnectionRefusedError"
            )

        async def list(self, *_: Any) -> Any:
            raise AssertionError

        async def serve(self, *_: Any) -> Any:
            raise AssertionError

        async def read(self, *_: Any) -> None:
            raise AssertionError

    given = {"SQS_SOURCE_QUEUE": "jobs", "S3_DESTINATION_BUCKET": "archives", "S3_SOURCE_BUCKET": "photos"}
    found = await findings_by_name(Checks(load_settings(given), make_failing_clients(UNREACHED), Cut(), None))
    for what in ("source reads", "destination reads"):
        assert found[what].state == "unknown"
        assert "the proxy p:1 (HTTPS_PROXY)" in found[what].told


@pytest.mark.parametrize(("days", "told"), [(1, "1 day"), ("7", "7 days")])
def test_the_lifecycle_rule_is_told_with_its_days(days: object, told: str) -> None:
    rule = {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    assert check_lifecycle([rule], "archives").told == f"incomplete uploads are aborted after {told}"


async def test_lifecycle_that_may_not_be_asked_for_keeps_nobody_from_working() -> None:
    found = await findings_by_name(checks(make_failing_clients(client_error("AccessDenied", 403))))
    assert (found["lifecycle"].state, found["lifecycle"].told) == ("unknown", "the role may not read the rules")
    assert not has_unknown_results([found["lifecycle"]])


async def test_dead_letter_queue_that_cannot_be_asked_takes_no_other_finding_along() -> None:
    redrive = '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5}'
    attributes = {"QueueArn": "arn:aws:sqs:eu-west-1:1:jobs", "VisibilityTimeout": "60", "RedrivePolicy": redrive}

    class Half(FailingClient):
        def __getattr__(self, name: str) -> Any:
            async def call(**asked: Any) -> Any:
                if asked.get("QueueName") == "dead":
                    raise UNREACHED
                return {"QueueUrl": "http://q/jobs", "Attributes": attributes}

            return call

    one: Any = Half(UNREACHED)
    found = await findings_by_name(checks(Clients(one, one, one, one, make_s3_calls(UNREACHED))))
    assert (found["source queue"].state, found["redrive policy"].state) == ("ok", "ok")
    assert found["dead-letter queue"].state == "unknown"


async def test_sts_that_gives_no_client_is_a_fault_like_all_others(aws: EmulatedAws, clients: Clients) -> None:
    class Session:
        def client(self, *_: Any, **__: Any) -> Any:
            raise OSError(2, "No such file", "/nowhere/token")

    broken: Any = Session()
    one: Any = None
    with pytest.raises(CredentialsError, match="/nowhere/token"):
        await get_caller_identity(Clients(broken, one, one, one, one))
    assert (await get_caller_identity(clients)).account == "123456789012"


# What is written


async def test_writing_is_tried_as_a_worker_writes_and_nothing_stays(aws: EmulatedAws, clients: Clients) -> None:
    bucket = aws.bucket()
    (finding,) = await check_writing(clients, bucket)
    assert (finding.state, finding.told) == ("ok", f"can be written to {bucket}")
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in aws.s3.list_multipart_uploads(Bucket=bucket)


async def test_what_an_earlier_look_left_is_taken_away_first(aws: EmulatedAws, clients: Clients) -> None:
    bucket = aws.bucket()
    aws.s3.put_object(Bucket=bucket, Key=".archiver-check", Body=b"x")
    assert (await check_writing(clients, bucket))[0].state == "ok"
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=bucket)


async def test_bucket_that_keeps_versions_is_left_without_one(aws: EmulatedAws, clients: Clients) -> None:
    bucket = aws.bucket()
    aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert (await check_writing(clients, bucket))[0].state == "ok"
    assert not {"Versions", "DeleteMarkers"} & aws.s3.list_object_versions(Bucket=bucket).keys()


async def test_bucket_that_answers_a_delete_with_a_version_is_not_written_to() -> None:
    versioned = answer(status=204, x_amz_version_id="v")
    clients = writing(GONE, delete_object=versioned, create_multipart_upload=BEGUN, abort_multipart_upload=DELETED)
    (finding,) = await check_writing(clients, "archives")
    assert finding.told == "uploads to archives can be started; none was completed, because the bucket keeps versions"


SENT = answer(etag='"e"')
DELETED = answer(status=204)


def writing(error: Exception, **answers: HttpResponse | Exception) -> Clients:
    """Clients whose S3 takes bodies, gives *answers* and refuses the rest with *error*."""
    one: Any = None
    return Clients(one, one, one, one, make_s3_calls(error, **{"put_object": SENT, "upload_part": SENT, **answers}))


GONE = client_error("NoSuchUpload", 404)


async def test_who_may_not_delete_begins_and_aborts_alone() -> None:
    denied = client_error("AccessDenied", 403)
    clients = writing(denied, create_multipart_upload=BEGUN, abort_multipart_upload=DELETED)
    (finding,) = await check_writing(clients, "archives")
    assert finding.state == "ok"
    assert finding.told == "uploads to archives can be started; none was completed, because it could not be deleted"
    assert "s3:DeleteObject on arn:aws:s3:::archives/.archiver-check" in finding.remedy


@pytest.mark.parametrize("told", ["S3 returned 501 NotImplemented", "S3 returned 403 QuotaExceeded"])
@pytest.mark.parametrize("refused", ["put_object", "upload_part"])
async def test_store_that_does_not_take_a_body_is_bad(told: str, refused: str) -> None:
    refusal: Any = {refused: ConfigurationError(told)}
    clients = writing(GONE, delete_object=DELETED, create_multipart_upload=BEGUN, **refusal)
    (finding,) = await check_writing(clients, "archives")
    assert (finding.state, finding.told) == ("bad", f"archives refuses a worker's writes: {told}")
    assert "CRC-32" in finding.remedy


@pytest.mark.parametrize("error", [client_error("NotImplemented", 501), client_error("InvalidArgument", 400)])
async def test_refused_beginning_and_completion_are_bad(error: Exception) -> None:
    clients = writing(error, delete_object=DELETED)
    (finding,) = await check_writing(clients, "archives")
    assert (finding.state, "CreateMultipartUpload" in finding.told) == ("bad", True)
    clients = writing(error, delete_object=DELETED, create_multipart_upload=BEGUN)
    (finding,) = await check_writing(clients, "archives")
    assert (finding.state, "CompleteMultipartUpload" in finding.told) == ("bad", True)


@pytest.mark.parametrize("error", [client_error("SlowDown", 503), client_error("InternalError", 500), UNREACHED])
async def test_store_that_is_busy_or_away_is_no_refusal(error: Exception) -> None:
    clients = writing(error, delete_object=DELETED)
    with pytest.raises(TransientError):
        await check_writing(clients, "archives")


async def test_denied_writing_and_a_bucket_that_is_gone_say_so() -> None:
    clients = writing(GONE, put_object=ConfigurationError("S3 returned 403 AccessDenied"), delete_object=DELETED)
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        await check_writing(clients, "archives")
    clients = writing(client_error("NoSuchBucket", 404))
    with pytest.raises(ResourceNotFound):
        await check_writing(clients, "archives")


# Calls beside those that matter


async def test_lost_connection_ends_neither_a_look_nor_a_listing() -> None:
    client: Any = FailingClient(
        UNREACHED, receive_message={"Messages": [{"MessageId": "m", "Body": "{}", "ReceiptHandle": "r"}]}
    )
    assert await list_queue_names(client) == []
    watch = AnswerPoller(client)
    assert await watch.poll("http://q/answers", lambda _: False) == []
    now = datetime.now(UTC)
    queue = DeadLetterQueue("http://q/dead", "a", "http://q/jobs", "b", scan_counts_as_receive=False, opened_at=now)
    async with QueueScan(client, queue, 1) as look:
        assert [held.receipt async for held in look.messages()] == ["r"]


async def test_dead_letter_that_can_not_be_sent_back_stays_where_it_is() -> None:
    """Deleted first, it would be lost."""
    deleted: list[str] = []

    class Half(FailingClient):
        async def delete_message(self, **asked: str) -> None:
            deleted.append(asked["ReceiptHandle"])

    client: Any = Half(
        UNREACHED, receive_message={"Messages": [{"MessageId": "m", "Body": "{}", "ReceiptHandle": "r"}]}
    )
    queue = DeadLetterQueue(
        "http://q/dead", "a", "http://q/jobs", "b", scan_counts_as_receive=True, opened_at=datetime.now(UTC)
    )
    async with QueueScan(client, queue, 1) as look:
        async for held in look.messages():
            with pytest.raises(TransientError):
                await look.redrive(held)

    assert deleted == []
