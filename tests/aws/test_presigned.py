"""Presigned links: they open the archive, and `expires_at` is when they really end."""

import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from certificates import shared_trust
from emulator import REGION, EmulatedAws
from structlog.testing import capture_logs

from archiver.aws.presigned import PresignedLinks, presigned_links
from archiver.aws.session import open_network
from archiver.doors.links import open_links
from archiver.errors import ConfigurationError
from archiver.settings import load_environment

HOUR = timedelta(hours=1)
KEY = "3f/Ü & photos.zip"


@asynccontextmanager
async def links(bucket: str, seconds: int = 600) -> AsyncIterator[PresignedLinks]:
    async with presigned_links((await open_network()).session, bucket, seconds) as opened:
        yield opened


def moment(delta: timedelta) -> datetime:
    """*delta* from now, to the second."""
    return (datetime.now(UTC) + delta).replace(microsecond=0)


def read(url: str) -> bytes:
    trusting = ssl.create_default_context(cafile=shared_trust().bundle)
    with urllib.request.urlopen(url, context=trusting) as response:
        return bytes(response.read())


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def test_a_link_opens_an_archive_that_nobody_else_may_read(aws: EmulatedAws) -> None:
    bucket = aws.bucket()
    aws.s3.put_object(Bucket=bucket, Key=KEY, Body=b"zip")
    settings = load_environment({"S3_DESTINATION_BUCKET": bucket, "LINKS": "presigned", "LINK_EXPIRES_IN": "600"})

    async with open_links(settings, (await open_network()).session) as opened:
        before = moment(timedelta(seconds=600))
        link = await opened.link(KEY)

    assert read(link.url) == b"zip"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        read(link.url.partition("?")[0])
    assert link.expires_at is not None and before <= link.expires_at <= moment(timedelta(seconds=601))


async def test_links_are_signed_with_version_4_for_the_region_of_the_bucket(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 2, which the SDK presigns with where it may choose, opens nothing that a KMS key encrypts."""
    bucket = aws.bucket()
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    async with links(bucket) as opened:
        told = query((await opened.link(KEY)).url)

    assert told["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert told["X-Amz-Credential"].split("/")[2:4] == [REGION, "s3"]
    assert told["X-Amz-Expires"] == "600"


async def test_a_link_ends_with_the_credentials_that_signed_it(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = moment(HOUR)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
    async with links(aws.bucket(), 7 * 24 * 3600) as opened:
        link = await opened.link(KEY)
    async with links(aws.bucket(), 60) as opened:
        short = await opened.link(KEY)

    assert link.expires_at is not None and end - timedelta(seconds=2) <= link.expires_at <= end
    assert int(query(link.url)["X-Amz-Expires"]) <= 3600
    assert short.expires_at is not None and short.expires_at < end - HOUR / 2


async def test_credentials_of_a_provider_are_renewed_and_their_end_is_told(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As those of a role are: the ones that would end in five minutes sign nothing."""
    given, ends = tmp_path / "given", [moment(timedelta(minutes=5)), moment(2 * HOUR)]
    answers = [
        {
            "Version": 1,
            "AccessKeyId": f"k{n}",
            "SecretAccessKey": "s",
            "SessionToken": "t",
            "Expiration": f"{end:%FT%TZ}",
        }
        for n, end in enumerate(ends)
    ]
    (tmp_path / "provider.py").write_text(
        f"import pathlib; f = pathlib.Path({str(given)!r}); n = len(f.read_text()) if f.exists() else 0\n"
        f"f.write_text('x' * (n + 1)); print({[json.dumps(one) for one in answers]!r}[min(n, 1)])"
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'provider.py'}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with links(aws.bucket(), 7 * 24 * 3600) as opened:
        link = await opened.link(KEY)

    assert query(link.url)["X-Amz-Credential"].startswith("k1/")
    assert link.expires_at is not None and ends[1] - timedelta(seconds=2) <= link.expires_at <= ends[1]


async def test_where_the_end_is_not_known_none_is_told_and_a_warning_says_why(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    with capture_logs() as logs:
        async with links(aws.bucket()) as opened:
            told = [await opened.link(KEY), await opened.link(KEY)]

    assert [link.expires_at for link in told] == [None, None]
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["links.unknown_end"]


async def test_credentials_that_have_ended_sign_nothing(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, as for any provider that gives none."""
    async with links(aws.bucket()) as opened:
        opened._clock = lambda: datetime.now(UTC) + 2 * HOUR
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", moment(HOUR).isoformat())
        with pytest.raises(ConfigurationError, match="credentials have expired"):
            await opened.link(KEY)


async def test_without_credentials_there_is_no_link(
    aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = aws.bucket()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    async with links(bucket) as opened:
        with pytest.raises(ConfigurationError, match="no AWS credentials were found"):
            await opened.link(KEY)
