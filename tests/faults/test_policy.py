"""The least-privilege policy allows exactly the calls that workers make."""

from collections.abc import Iterator
from functools import partial

import pytest

from archiver.core.policy import WorkerResources, worker_statements

from .emulator import REGION
from .history import Exchange
from .operations import PUT_RECEIPT, PUT_RECORD, is_receipt, is_record
from .rules import Delay
from .scenario import Scenario
from .scenario_config import MIB
from .worker_process import wait_until

OBJECT, RECEIPT, RECORD, BUCKET, QUEUE = "object", "receipt", "record", "bucket", "queue"

# "Actions, resources, and condition keys" of S3 and SQS, service authorization reference.
ACTIONS = {
    "HeadBucket": ("s3:ListBucket", BUCKET),
    "ListObjects": ("s3:ListBucket", BUCKET),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads", BUCKET),
    "DeleteReceipt": ("s3:DeleteObject", RECEIPT),
    "DeleteRecord": ("s3:DeleteObject", RECORD),
    "HeadObject": ("s3:GetObject", OBJECT),
    "GetObject": ("s3:GetObject", OBJECT),
    "RestoreObject": ("s3:RestoreObject", OBJECT),
    "PutObject": ("s3:PutObject", OBJECT),
    PUT_RECEIPT: ("s3:PutObject", OBJECT),
    PUT_RECORD: ("s3:PutObject", OBJECT),
    "HeadRecord": ("s3:GetObject", OBJECT),
    "GetRecord": ("s3:GetObject", OBJECT),
    "HeadReceipt": ("s3:GetObject", OBJECT),
    "GetReceipt": ("s3:GetObject", OBJECT),
    "CreateMultipartUpload": ("s3:PutObject", OBJECT),
    "UploadPart": ("s3:PutObject", OBJECT),
    "UploadPartCopy": ("s3:PutObject", OBJECT),
    "CompleteMultipartUpload": ("s3:PutObject", OBJECT),
    "AbortMultipartUpload": ("s3:AbortMultipartUpload", OBJECT),
    "ListParts": ("s3:ListMultipartUploadParts", OBJECT),
    "GetQueueUrl": ("sqs:GetQueueUrl", QUEUE),
    "GetQueueAttributes": ("sqs:GetQueueAttributes", QUEUE),
    "ReceiveMessage": ("sqs:ReceiveMessage", QUEUE),
    "DeleteMessage": ("sqs:DeleteMessage", QUEUE),
    "ChangeMessageVisibility": ("sqs:ChangeMessageVisibility", QUEUE),
    "SendMessage": ("sqs:SendMessage", QUEUE),
}
NOT_FOUND = 404


def queue_named(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:123456789012:{name}"


def required_permissions(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Yield the IAM actions that *exchange* needs, each with the ARN of its resource."""
    action, kind = ACTIONS[exchange.op]
    bucket = f"arn:aws:s3:::{exchange.call.bucket}"
    objects = {
        OBJECT: f"{bucket}/*",
        RECEIPT: f"{bucket}/*/receipt-*.json.gz",
        RECORD: f"{bucket}/*/build-*.json.gz",
    }
    assert kind != RECEIPT or is_receipt(exchange.call.key or "")
    assert kind != RECORD or is_record(exchange.call.key or "")
    yield action, {QUEUE: queue_named(exchange.call.queue or ""), BUCKET: bucket, **objects}[kind]
    if kind == OBJECT and exchange.status == NOT_FOUND and exchange.op in ("HeadObject", "GetObject"):
        yield "s3:ListBucket", bucket  # without it, S3 returns 403 instead of 404


@pytest.mark.slow
def test_the_worker_policy_allows_exactly_the_calls_that_workers_make(scenario: Scenario) -> None:
    """
    Run every kind of call: startup; a shutdown during an upload, which aborts it and releases the message; one that
    leaves it; a restart, which goes on with it; archives written by PutObject and in parts; a job that was already
    finished, beside the receipt of a killed worker; a rejection; a restore; copies, and the test of the store for them.
    """
    sent = partial(scenario.history.select, "UploadPart")
    progress = scenario.own.sqs.create_queue(QueueName=f"{scenario.sources}-progress")["QueueUrl"].rpartition("/")[2]
    scenario.inject(Delay(before_it=30), "UploadPart")
    photos = scenario.put_objects(1000, 6 * MIB)
    released = scenario.send_request(photos)
    for resume_from in ("0", "5"):
        settings = {"PROGRESS_QUEUE": progress, "SHUTDOWN_GRACE_SECONDS": "0", "RESUME_FROM_MIB": resume_from}
        stopped = scenario.worker(f"stopped-{resume_from}", **settings)
        wait_until(partial(lambda name: name in {one.client for one in sent()}, stopped.name), "a part")
        stopped.terminate()
        assert stopped.exit_code() == 0
        scenario.inject(Delay(before_it=30), "UploadPart")
    scenario.clear_faults()
    small, rejected = (
        scenario.send_request(photos[:1], job_id="order-4711"),
        scenario.send([{"source": "not there"}], None),
    )
    cold = scenario.put("cold.jpg", b"cold", StorageClass="GLACIER")
    restored = scenario.send_request([cold], on_archived="restore")
    copied = scenario.send_request(scenario.put_objects(11 * MIB), strategy="copy")
    room = {"MEMORY_BUDGET_MIB": "30", "RESUME_FROM_MIB": "5"}
    scenario.worker(PROGRESS_QUEUE=progress, RESTORE_TIERS="Standard", **room)
    scenario.wait_deleted(released, small, rejected, restored, copied)
    assert scenario.history.select("UploadPartCopy")
    orphan = f"{small.key.rpartition('/')[0]}/receipt-{'0' * 32}.json.gz"
    scenario.direct.s3.put_object(Bucket=scenario.archives, Key=orphan, Body=b"")
    scenario.wait_deleted(scenario.send_request(photos[:1], job_id="order-4711"))
    scenario.finish()

    needs = WorkerResources(
        source_queue=scenario.arn("in"),
        send_to=(*map(scenario.arn, ("in-dlq", "out", "failures")), queue_named(progress)),
        sources=(scenario.sources,),
        destination_bucket=scenario.archives,
        restores=True,
    )
    allowed = {
        (action, arn) for grant in worker_statements(needs) for action in grant.actions for arn in grant.resources
    }
    taken = {pair for exchange in scenario.history.select() for pair in required_permissions(exchange)}
    assert sorted(taken - allowed) == []
    assert sorted(allowed - taken) == []
