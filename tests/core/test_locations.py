"""Names in S3 are taken literally, read only where that is allowed, and archives get keys, links and file names."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message

import pytest
from core.path_rules import violations
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.locations import (
    AllowList,
    Location,
    archive_digest,
    archive_key,
    archive_url,
    content_disposition,
    parse_source,
    split_bucket,
)
from archiver.errors import Rejected

SENT = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)
ARN = "arn:aws:sqs:eu-west-1:123456789012:input-queue"


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("p/q.jpg", "default", "p/q.jpg"),
        ("s3://foobar/p/q.jpg", "foobar", "p/q.jpg"),
        ("S3://foobar/p/q.jpg", "foobar", "p/q.jpg"),
        ("/a//b.jpg", "default", "/a//b.jpg"),
        ("s3://foobar//a//b.jpg", "foobar", "/a//b.jpg"),
        ("a%2Fb+c.jpg", "default", "a%2Fb+c.jpg"),
        ("s3:/foobar/x", "default", "s3:/foobar/x"),
        ("https://foobar/x", "default", "https://foobar/x"),
        ("../x", "default", "../x"),
        ("s3://foobar/p/", "foobar", "p/"),
        ("s3://foobar/a\nb", "foobar", "a\nb"),
        ("é" * 512, "default", "é" * 512),
    ],
)
def test_a_source_is_taken_literally(text: str, bucket: str, key: str) -> None:
    assert parse_source(text, "default") == Location(bucket, key)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no key"),
        ("s3://foobar", "has no key"),
        ("s3://foobar/", "has no key"),
        ("s3://", "has no key"),
        ("s3:///key", "has an invalid bucket name: ''"),
        ("s3://ab/key", "has an invalid bucket name: 'ab'"),
        ("s3://foo bar/key", "has an invalid bucket name: 'foo bar'"),
        ("s3://foobar\n/key", "has an invalid bucket name: 'foobar\\n'"),
        ("s3://arn:aws:s3:::x/key", "has an invalid bucket name: 'arn:aws:s3:::x'"),
        ("s3://" + "b" * 256 + "/key", f"has an invalid bucket name: '{'b' * 80}'"),
        ("é" * 513, "has a key of 1026 bytes; S3 allows at most 1024"),
        ("p/\ud800", "contains half of a surrogate pair, which is not text"),
    ],
)
def test_a_source_that_names_no_object_is_an_invalid_request(text: str, message: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_source(text, "default")
    assert (caught.value.code, caught.value.message) == ("invalid_request", message)


def test_a_bare_key_needs_a_source_bucket() -> None:
    with pytest.raises(Rejected, match="S3_SOURCE_BUCKET") as caught:
        parse_source("p/q.jpg", None)
    assert caught.value.code == "invalid_request"
    assert parse_source("s3://foobar/q", None) == Location("foobar", "q")


def test_a_location_prints_as_its_uri() -> None:
    assert str(Location("foobar", "/a b")) == "s3://foobar//a b"


@pytest.mark.parametrize(
    ("setting", "allowed", "refused"),
    [
        ("photos", ["s3://photos/x", "s3://photos//x"], ["s3://photos-2/x", "s3://Photos/x", "s3://other/x"]),
        (" photos/ , ", ["s3://photos/x"], ["s3://photos2/x"]),
        (
            "photos/tenant-a/,docs",
            ["s3://photos/tenant-a/x", "s3://photos/tenant-a/../tenant-b/x", "s3://docs/x"],
            ["s3://photos/tenant-ab/x", "s3://photos/tenant-a", "s3://photos/Tenant-a/x", "s3://photos/tenant%2Da/x"],
        ),
        ("photos/a/,photos/é/", ["s3://photos/a/x", "s3://photos/é/x"], ["s3://photos/e\u0301/x", "s3://photos/b/x"]),
        ("archives", ["s3://archives/x"], ["s3://photos/x"]),
        (None, ["s3://photos/x", "s3://other/x"], ["s3://archives/x"]),
    ],
)
def test_the_allow_list_compares_byte_for_byte(setting: str | None, allowed: list[str], refused: list[str]) -> None:
    listed = AllowList.parse(setting, "archives")
    assert [text for text in allowed if not listed.allows(parse_source(text, None))] == []
    assert [text for text in refused if listed.allows(parse_source(text, None))] == []


def test_the_allow_list_knows_which_buckets_it_covers_any_of() -> None:
    listed = AllowList.parse("photos/a/,docs", "archives")
    assert listed.allows_any_in("photos") and listed.allows_any_in("docs")
    assert not listed.allows_any_in("archives")
    unset = AllowList.parse(None, "archives")
    assert unset.allows_any_in("photos") and not unset.allows_any_in("archives")


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("photos/tenant-a", "`photos/tenant-a` lacks the trailing `/`"),
        ("s3://photos/", "`s3://photos/` does not start with a bucket name"),
        (" , ", "it contains no bucket"),
        ("x,photos/a", "`x` does not start with a bucket name; `photos/a` lacks the trailing `/`"),
    ],
)
def test_an_allow_list_that_says_something_else_than_it_means_is_refused(setting: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        AllowList.parse(setting, "archives")
    assert str(caught.value).startswith(problem)


def test_the_digest_is_that_of_the_contract() -> None:
    of_job, of_message = f"v1\n{ARN}\njob\norder-4711".encode(), f"v1\n{ARN}\nmsg\nm-1".encode()
    assert archive_digest(None, ARN, "order-4711", "m-1") == hashlib.sha256(of_job).hexdigest()
    assert archive_digest(None, ARN, None, "m-1") == hashlib.sha256(of_message).hexdigest()
    assert archive_digest("sécret", ARN, "order-4711", "m-1") == hmac.digest("sécret".encode(), of_job, "sha256").hex()
    assert archive_digest("sécret", ARN, None, "m-1") == hmac.digest("sécret".encode(), of_message, "sha256").hex()
    assert archive_digest(None, ARN, "order-4711", "m-2") == archive_digest(None, ARN, "order-4711", "m-1")


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("https://d111.cloudfront.net", "https://d111.cloudfront.net/3f/my%20%C3%A9%2B%231.zip"),
        ("https://d111.cloudfront.net/", "https://d111.cloudfront.net/3f/my%20%C3%A9%2B%231.zip"),
        ("http://localhost:4566/zip-storage", "http://localhost:4566/zip-storage/3f/my%20%C3%A9%2B%231.zip"),
        (None, "s3://zip-storage/3f/my é+#1.zip"),
    ],
)
def test_the_link_is_the_base_and_the_encoded_key(base: str | None, link: str) -> None:
    assert archive_url(base, "zip-storage", archive_key("3f", "my é+#1")) == link


@pytest.mark.parametrize(
    ("name", "header"),
    [
        (None, 'attachment; filename="download-2024-02-29.zip"'),
        ("", 'attachment; filename="download-2024-02-29.zip"'),
        ("holiday", 'attachment; filename="holiday.zip"'),
        ("holiday.ZIP", 'attachment; filename="holiday.ZIP"'),
        ("a.tar", 'attachment; filename="a.tar.zip"'),
        ("été 1%41.zip", "attachment; filename=\"_t_ 1_41.zip\"; filename*=UTF-8''%C3%A9t%C3%A9%201%2541.zip"),
        ("it's (1)*;=,.zip", 'attachment; filename="it\'s (1)_;=,.zip"'),
        ('x"\r\nSet-Cookie: a=b', 'attachment; filename="x___Set-Cookie_ a=b.zip"'),
        ("../../etc/passwd", 'attachment; filename=".._.._etc_passwd.zip"'),
        ("CON", 'attachment; filename="CON_.zip"'),
        ("x" * 300, f'attachment; filename="{"x" * 251}.zip"'),
    ],
)
def test_the_download_has_a_safe_name(name: str | None, header: str) -> None:
    assert content_disposition(name, "download", SENT) == header


def test_the_day_of_the_download_is_that_of_utc() -> None:
    sent = datetime(2024, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert content_disposition(None, "my", sent) == 'attachment; filename="my-2024-02-29.zip"'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_makes_one_header_that_reads_back_as_a_lawful_name(name: str) -> None:
    header = content_disposition(name, "download", SENT)
    assert header.isascii() and header.isprintable()
    message = Message()
    message["Content-Disposition"] = header
    read = message.get_filename()
    assert read is not None
    assert violations(read) == []
    assert read.lower().endswith(".zip")


@pytest.mark.parametrize(
    ("setting", "bucket", "key"),
    [
        (None, "photos", ".archiver-check"),
        ("photos", "photos", ".archiver-check"),
        ("docs/public/, docs/shared/", "docs", "public/.archiver-check"),
    ],
)
def test_a_bucket_is_probed_where_requests_may_read(setting: str | None, bucket: str, key: str) -> None:
    allowed = AllowList.parse(setting, "archives")

    probed = allowed.probe(bucket)

    assert probed == Location(bucket, key)
    assert allowed.allows(probed)


def test_a_bucket_that_no_request_may_name_is_not_probed() -> None:
    assert AllowList.parse("photos", "archives").probe("docs") is None
    assert AllowList.parse(None, "archives").probe("archives") is None


POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/team-photos"


def test_access_point_stands_in_a_buckets_place() -> None:
    assert parse_source(f"s3://{POINT}/a/b.jpg", None) == Location(POINT, "a/b.jpg")
    assert parse_source("a/b.jpg", POINT) == Location(POINT, "a/b.jpg")
    assert split_bucket(f"{POINT}/2024/") == (POINT, "2024/")
    assert split_bucket(f"{POINT}") == (POINT, "")
    assert AllowList.parse(f"{POINT}/2024/, photos", "archives").prefixes == {POINT: ("2024/",), "photos": ("",)}


@pytest.mark.parametrize(
    "source",
    [
        "s3://arn:aws:s3:::photos/a.jpg",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/x/a.jpg",
        "s3://arn:aws:s3:evil.example/:123456789012:accesspoint/team/a.jpg",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/team.photos/a.jpg",
    ],
)
def test_what_is_no_access_point_is_no_bucket_either(source: str) -> None:
    with pytest.raises(Rejected, match="has an invalid bucket name"):
        parse_source(source, None)
