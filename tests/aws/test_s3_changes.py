"""Changes of objects on the wire: what is asked, and what a store's answers mean."""

from collections.abc import Iterable

import pytest
from aws.failing_clients import answer

from archiver.aws.preflight_after import check_conditional_deletes
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_changes import S3Changes
from archiver.aws.s3_copy import CopyLimits
from archiver.aws.s3_transport import S3Request
from archiver.core.changes import Original
from archiver.core.locations import Location
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable, TransientError
from archiver.http.exchange import HttpResponse

AT, TARGET = Location("partner", "src/a b"), Location("partner", "done/a b")
ORIGINAL = Original(AT, '"e"', 10, 0)
WRITTEN = answer(etag='"p"')
DELETED = answer(status=204)
GONE = answer("<Error><Code>NoSuchKey</Code></Error>", status=404)
CHANGED = answer("<Error><Code>PreconditionFailed</Code></Error>", status=412)
PROOF = (WRITTEN, CHANGED, DELETED)


def error(code: str, status: int) -> HttpResponse:
    return answer(f"<Error><Code>{code}</Code></Error>", status=status)


class Script:
    """A transport that gives these answers in turn."""

    def __init__(self, answers: Iterable[HttpResponse]) -> None:
        self.answers = list(answers)
        self.requests: list[S3Request] = []

    async def request(self, request: S3Request) -> HttpResponse:
        self.requests.append(request)
        return self.answers.pop(0)

    async def close(self) -> None:
        """Nothing is open."""


def changes(*answers: HttpResponse, limits: CopyLimits | None = None) -> tuple[S3Changes, Script]:
    script = Script(answers)
    return S3Changes(S3Calls(script, script, script, retry_seconds=0), "archives", limits), script


def copying(*answers: HttpResponse, limits: CopyLimits | None = None) -> tuple[S3Changes, Script]:
    """The store has proved that it deletes on a condition."""
    one, script = changes(*answers, limits=limits)
    one._is_conditional = True
    return one, script


# Deleting


async def test_a_delete_has_the_etag_after_the_store_has_proved_that_it_looks_at_it() -> None:
    one, script = changes(*PROOF, DELETED, GONE)
    assert await one.delete(AT, '"e"') == "done"
    assert await one.delete(AT, '"e"') == "done"

    put, refused, cleaned, *deletes = script.requests
    assert [one.method for one in (put, refused, cleaned)] == ["PUT", "DELETE", "DELETE"]
    assert put.location == refused.location == cleaned.location
    assert put.location.bucket == "archives"
    assert put.location.key.startswith(".archiver-check/receipt-")
    assert "If-Match" in refused.lines
    assert [(one.location, one.lines) for one in deletes] == [(AT, 'If-Match: "e"\r\nContent-Length: 0\r\n')] * 2


@pytest.mark.parametrize(
    "proof",
    [
        (WRITTEN, DELETED),  # the condition is ignored
        (WRITTEN, error("NotImplemented", 501), DELETED),
        (WRITTEN, answer(status=501), DELETED),
    ],
)
async def test_a_store_that_can_not_delete_conditionally_is_never_asked_to(proof: tuple[HttpResponse, ...]) -> None:
    one, script = changes(*proof)
    for _ in range(2):
        assert await one.delete(AT, '"e"') == "not_conditional"
    assert AT not in {request.location for request in script.requests}


async def test_a_proof_that_is_denied_or_fails_is_no_proof() -> None:
    denied, script = changes(WRITTEN, error("AccessDenied", 403), *PROOF, DELETED)
    with pytest.raises(ConfigurationError):
        await denied.delete(AT, '"e"')
    assert AT not in {request.location for request in script.requests}
    assert await denied.delete(AT, '"e"') == "done"

    failing, _ = changes(WRITTEN, *[error("InternalError", 500)] * 4)
    with pytest.raises(TransientError):
        await failing.delete(AT, '"e"')


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (CHANGED, "source_changed"),
        (answer(status=404), "done"),
        (error("AccessDenied", 403), "source_denied"),
        (error("InvalidRequest", 400), "source_denied"),
        (error("NotImplemented", 501), "not_conditional"),
        (error("MethodNotAllowed", 405), "not_conditional"),
    ],
)
async def test_what_an_answer_to_a_delete_means(response: HttpResponse, outcome: str) -> None:
    one, _ = changes(*PROOF, response)
    assert await one.delete(AT, '"e"') == outcome


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error("ExpiredToken", 400), ConfigurationError),
        (error("NoSuchBucket", 404), ConfigurationError),
        (error("SlowDown", 503), TransientError),
        (error("ConditionalRequestConflict", 409), TransientError),
    ],
)
async def test_what_is_no_answer_about_the_object_is_raised(
    response: HttpResponse, expected: type[ArchiverError]
) -> None:
    one, _ = changes(*PROOF, *[response] * 4)
    with pytest.raises(expected):
        await one.delete(AT, '"e"')
    two, _ = copying(*[response] * 4)
    with pytest.raises(expected):
        await two.copy(ORIGINAL, TARGET)


# Copying


async def test_a_copy_is_held_to_its_version_and_has_a_checksum() -> None:
    one, script = copying(answer("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"))
    assert await one.copy(ORIGINAL, TARGET) == "done"
    (request,) = script.requests
    assert (request.method, request.location, request.query) == ("PUT", TARGET, "")
    assert request.lines.startswith("If-None-Match: *\r\n")
    assert dict(request.amz) == {
        "x-amz-copy-source": "/partner/src/a%20b",
        "x-amz-copy-source-if-match": '"e"',
        "x-amz-checksum-algorithm": "CRC32",
    }


async def test_nothing_is_copied_where_the_original_could_not_be_deleted_afterwards() -> None:
    one, script = changes(WRITTEN, DELETED)
    assert await one.copy(ORIGINAL, TARGET) == "not_conditional"
    assert len(script.requests) == 2


async def test_the_source_of_an_access_point_is_named_by_its_arn() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/name"
    one, script = copying(answer("<CopyObjectResult/>"))
    assert await one.copy(Original(Location(arn, "a/b"), '"e"', 1, 0), TARGET) == "done"
    assert dict(script.requests[0].amz)["x-amz-copy-source"] == f"{arn}/object/a/b"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (CHANGED, "source_changed"),
        (GONE, "source_missing"),
        (error("AccessDenied", 403), "source_denied"),
        (error("InvalidObjectState", 403), "source_denied"),
    ],
)
async def test_what_an_answer_to_a_copy_means(response: HttpResponse, outcome: str) -> None:
    one, _ = copying(response)
    assert await one.copy(ORIGINAL, TARGET) == outcome


async def test_an_error_in_a_200_is_no_copy() -> None:
    one, _ = copying(error("InternalError", 200))
    with pytest.raises(TransientError):
        await one.copy(ORIGINAL, TARGET)


CREATED = answer("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
PART = answer("<CopyPartResult><ETag>p</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></CopyPartResult>")
DONE = answer("<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
NO_UPLOAD = error("NoSuchUpload", 404)
BY_PARTS = CopyLimits(at_once=5, part=4)


async def test_a_copy_by_parts_covers_the_object_and_is_held_to_its_version_and_crc() -> None:
    head = answer(content_type="text/x", x_amz_meta_a="b c")
    one, script = copying(head, CREATED, PART, PART, PART, DONE, limits=BY_PARTS)
    assert await one.copy(ORIGINAL, TARGET) == "done"

    looked, created, *parts, completed = script.requests
    assert 'If-Match: "e"' in looked.lines
    assert "Content-Type: text/x\r\n" in created.lines
    assert dict(created.amz)["x-amz-meta-a"] == "b c"
    ranges = {dict(part.amz)["x-amz-copy-source-range"] for part in parts}
    assert ranges == {"bytes=0-3", "bytes=4-7", "bytes=8-9"}
    assert {dict(part.amz)["x-amz-copy-source-if-match"] for part in parts} == {'"e"'}
    assert completed.lines.startswith("If-None-Match: *\r\n")
    assert dict(completed.amz)["x-amz-checksum-crc32"] == "AAAAAA=="


async def test_a_part_of_another_version_ends_the_copy_and_its_upload() -> None:
    one, script = copying(answer(), CREATED, PART, CHANGED, PART, NO_UPLOAD, limits=BY_PARTS)
    assert await one.copy(ORIGINAL, TARGET) == "source_changed"
    assert script.requests[-1].method == "DELETE"
    assert not any(request.method == "POST" and "uploadId" in request.query for request in script.requests)


async def test_a_target_that_appears_meanwhile_is_not_written_over() -> None:
    one, script = copying(answer(), CREATED, PART, PART, PART, CHANGED, NO_UPLOAD, limits=BY_PARTS)
    assert await one.copy(ORIGINAL, TARGET) == "name_conflict"
    assert script.requests[-1].method == "DELETE"


async def test_a_copy_that_is_not_what_was_archived_never_appears() -> None:
    bad = error("BadDigest", 400)
    one, script = copying(answer(), CREATED, PART, PART, PART, bad, NO_UPLOAD, limits=BY_PARTS)
    assert await one.copy(ORIGINAL, TARGET) == "not_copied"
    assert script.requests[-1].method == "DELETE"


@pytest.mark.parametrize("value", ["a\u00e9", "a  b"])
async def test_metadata_that_can_not_be_sent_again_is_not_lost(value: str) -> None:
    head = answer()
    head.head.fields[b"x-amz-meta-a"] = value.encode("latin-1")
    one, script = copying(head, limits=BY_PARTS)
    assert await one.copy(ORIGINAL, TARGET) == "not_copied"
    assert len(script.requests) == 1


# Looking, and empty objects


async def test_a_head_that_is_denied_is_told_from_refused_credentials() -> None:
    denied, _ = changes(answer(status=403), error("AccessDenied", 403))
    with pytest.raises(SourceUnavailable):
        await denied.head(AT)
    refused, _ = changes(answer(status=403), error("InvalidAccessKeyId", 403))
    with pytest.raises(ConfigurationError):
        await refused.head(AT)


async def test_an_own_empty_object_whose_answer_was_lost_is_done() -> None:
    class Lost(Script):
        async def request(self, request: S3Request) -> HttpResponse:
            if request.method == "HEAD":
                token = dict(self.requests[0].amz)["x-amz-meta-archiver-token"]
                self.requests.append(request)
                return answer(x_amz_meta_archiver_token=token)
            return await super().request(request)

    script = Lost([error("InternalError", 500), CHANGED])
    one = S3Changes(S3Calls(script, script, script, retry_seconds=0), "archives")
    assert await one.create_empty(AT) == "done"
    assert "If-None-Match: *" in script.requests[0].lines

    other, _ = changes(CHANGED, answer(x_amz_meta_archiver_token="another"))
    assert await other.create_empty(AT) == "name_conflict"
    denied, _ = changes(error("AccessDenied", 403))
    assert await denied.create_empty(AT) == "source_denied"


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        (PROOF, "ok"),
        ((WRITTEN, DELETED), "warning"),
        ((WRITTEN, error("AccessDenied", 403)), "bad"),
        ((WRITTEN, *[error("InternalError", 500)] * 4), "unknown"),
    ],
)
async def test_the_check_tells_whether_the_store_deletes_on_a_condition(
    answers: tuple[HttpResponse, ...], state: str
) -> None:
    script = Script(answers)
    found = await check_conditional_deletes(S3Calls(script, script, script, retry_seconds=0), "archives")
    assert (found.what, found.state) == ("after", state)
