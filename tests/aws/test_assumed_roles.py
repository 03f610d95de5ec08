"""Roles of other accounts: assumed when they are needed, renewed in time, and each used for its own objects alone."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aws.s3_reader_fixtures import BODY, ETAG, error_response, range_response
from aws.sts_responses import credentials_response, open_role_readers, sts_error
from emulator import ACCOUNT, EmulatedAws
from fakes.faults import ManualClock
from structlog.testing import capture_logs

from archiver.app import open_aws
from archiver.aws.clients import ClientLimits
from archiver.aws.preflight_roles import check_roles
from archiver.aws.roles import AssumedRole, RoleCredentials
from archiver.core.archive_rules import ArchiveRules
from archiver.core.locations import AllowList, Location, Role
from archiver.doors.sources import with_roles
from archiver.errors import (
    ArchiverError,
    ConfigurationError,
    CredentialsRefused,
    SourceUnavailable,
    TransferInterrupted,
    TransientError,
)

EXPORTS, PHOTOS = "arn:aws:iam::210987654321:role/exports", "arn:aws:iam::321098765432:role/photos"
FAR = datetime(2100, 1, 1, tzinfo=UTC)
HOUR = 3600.0
PART = [range_response()]


@dataclass
class FakeSts:
    """Gives credentials for an hour, or fails with what `reply` is."""

    clock: ManualClock = field(default_factory=ManualClock)
    reply: ArchiverError | None = None
    calls: int = 0

    async def assume(self) -> AssumedRole:
        self.calls += 1
        await asyncio.sleep(0)
        if self.reply is not None:
            raise self.reply
        return AssumedRole(f"KEY{self.calls}", "SECRET", "TOKEN", self.clock() + HOUR)


def pair() -> tuple[FakeSts, RoleCredentials]:
    sts = FakeSts()
    return sts, RoleCredentials(sts.assume, sts.clock)


async def key(credentials: RoleCredentials) -> str:
    return (await (await credentials.get_credentials()).get_frozen_credentials()).access_key


# ---- credentials


async def test_a_role_is_assumed_once_by_all_who_need_it_and_again_before_its_credentials_expire() -> None:
    sts, credentials = pair()

    assert set(await asyncio.gather(*(key(credentials) for _ in range(100)))) == {"KEY1"}
    sts.clock.advance(HOUR - 901)
    assert await key(credentials) == "KEY1"
    sts.clock.advance(1)
    assert set(await asyncio.gather(*(key(credentials) for _ in range(100)))) == {"KEY2"}
    assert sts.calls == 2


@pytest.mark.parametrize("error", [TransientError("503"), SourceUnavailable("source_denied", "revoked")])
async def test_a_failed_renewal_hurts_nobody_while_the_credentials_work(error: ArchiverError) -> None:
    sts, credentials = pair()
    await key(credentials)
    sts.clock.advance(HOUR - 900)
    sts.reply = error

    assert {await key(credentials) for _ in range(10)} == {"KEY1"}
    assert sts.calls == 2
    sts.clock.advance(60)
    sts.reply = None
    assert await key(credentials) == "KEY3"


async def test_credentials_that_could_not_be_renewed_are_not_used_after_their_end() -> None:
    sts, credentials = pair()
    await key(credentials)
    sts.reply = TransientError("503")
    sts.clock.advance(HOUR)

    with pytest.raises(TransferInterrupted, match="503"):
        await key(credentials)


@pytest.mark.parametrize(
    ("error", "kind", "seconds"),
    [
        (SourceUnavailable("source_denied", "no"), SourceUnavailable, 5),
        (CredentialsRefused("refused", "ExpiredToken"), CredentialsRefused, 5),
        (TransientError("503"), TransferInterrupted, 1),
    ],
)
async def test_a_request_of_ten_thousand_objects_asks_once_for_a_role_that_is_refused(
    error: ArchiverError, kind: type[ArchiverError], seconds: int
) -> None:
    sts, credentials = pair()
    sts.reply = error

    async def failure() -> ArchiverError:
        with pytest.raises(kind) as caught:
            await key(credentials)
        return caught.value

    failures = [await failure() for _ in range(100)] + await asyncio.gather(*(failure() for _ in range(100)))
    assert sts.calls == 1
    assert len({id(one) for one in failures}) == 200
    assert {str(one) for one in failures} == {str(error)}
    sts.clock.advance(seconds)
    sts.reply = None
    assert await key(credentials) == "KEY2"


async def test_whoever_is_cancelled_while_it_assumes_a_role_leaves_the_others_alone() -> None:
    _, credentials = pair()
    tasks = [asyncio.create_task(key(credentials)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()

    assert await asyncio.gather(*tasks[1:]) == ["KEY2", "KEY2"]


async def test_credentials_that_s3_takes_for_expired_are_renewed_once_however_many_reads_tell() -> None:
    sts, credentials = pair()
    used = await credentials.get_frozen_credentials()
    keys = set()
    for _ in range(20):
        credentials.forget(used)
        keys.add(await key(credentials))

    assert (keys, sts.calls) == ({"KEY2"}, 2)


async def test_a_failure_that_is_the_worker_s_own_is_told_as_it_is() -> None:
    sts, credentials = pair()
    sts.reply = ConfigurationError("no AWS credentials were found")

    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        await key(credentials)


def test_no_secret_is_in_a_text() -> None:
    assert "SECRET" not in repr(AssumedRole("KEY", "SECRET", "SECRET", 0.0))


# ---- STS


async def test_sts_is_told_the_role_its_external_id_and_the_longest_time_of_a_chained_role(
    aws: EmulatedAws,
) -> None:
    asked: list[Any] = []
    async with open_aws(ClientLimits()) as (opened, reader):
        roles = {
            EXPORTS: Role(AllowList("", {}), "7f21"),
            PHOTOS: Role(AllowList("", {})),
        }
        core = opened.session._session
        core.get_component("event_emitter").register(
            "before-parameter-build.sts.AssumeRole", lambda params, **_: asked.append(dict(params))
        )
        readers = with_roles(reader, opened.session, ArchiveRules(None, "archives", AllowList(""), roles=roles))
        assert readers is not None
        for role in roles:
            await readers.assume(role)

    common = {"RoleSessionName": "archiver", "DurationSeconds": 3600}
    assert asked == [{"RoleArn": EXPORTS, "ExternalId": "7f21", **common}, {"RoleArn": PHOTOS, **common}]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("403 Forbidden", "AccessDenied", SourceUnavailable),
        ("403 Forbidden", "RegionDisabledException", SourceUnavailable),
        ("400 Bad Request", "ValidationError", SourceUnavailable),
        ("400 Bad Request", "PackedPolicyTooLarge", SourceUnavailable),
        ("403 Forbidden", "ExpiredToken", CredentialsRefused),
        ("403 Forbidden", "InvalidClientTokenId", CredentialsRefused),
        ("403 Forbidden", "SignatureDoesNotMatch", CredentialsRefused),
        ("400 Bad Request", "Throttling", TransferInterrupted),
        ("500 Internal Server Error", "InternalFailure", TransferInterrupted),
        ("503 Service Unavailable", "ServiceUnavailable", TransferInterrupted),
    ],
)
async def test_what_sts_refuses_is_told_by_what_can_be_done_about_it(
    status: str, code: str, kind: type[ArchiverError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_role_readers(monkeypatch, {EXPORTS: "7f21"}, [sts_error(status, code, "User: x")]) as env:
        with capture_logs() as lines, pytest.raises(ArchiverError) as caught:
            await env.readers.assume(EXPORTS)

    assert type(caught.value) is kind
    if kind is SourceUnavailable:
        assert EXPORTS in str(caught.value)
        assert "sts:AssumeRole" in str(caught.value)
        assert "User: x" not in str(caught.value)  # senders need not know who the worker is; the log tells operators
        assert lines == [
            {
                "event": "role.refused",
                "log_level": "warning",
                "role": EXPORTS,
                "reason": f"AssumeRole {EXPORTS}: User: x ({code})",
            }
        ]
    assert "7f21" not in f"{caught.value}{lines}"


async def test_the_check_assumes_each_role_and_tells_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [sts_error("403 Forbidden", "AccessDenied", "no")], [sts_error("503 Service Unavailable", "Down")]
    roles = {EXPORTS: "7f21", PHOTOS: None}
    async with open_role_readers(monkeypatch, roles, *scripts, [credentials_response(expires=FAR)]) as env:
        results = []
        for arn, external_id in [*roles.items(), *roles.items()][:3]:
            results += await check_roles(env.session, {arn: Role(AllowList("", {}), external_id)})

    assert [result.state for result in results] == ["bad", "unknown", "ok"]
    assert f"sts:AssumeRole on {EXPORTS}" in results[0].remedy
    assert "with this external id" in results[0].remedy
    assert "7f21" not in str(results)


# ---- reads


async def read(env: Any, role: str) -> bytes:
    into = bytearray(20)
    await env.readers.read(Location("photos", "a.jpg", role), ETAG, 10, [memoryview(into)])
    return bytes(into)


async def test_each_object_is_read_with_the_credentials_of_its_own_role(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ([credentials_response(name, expires=FAR)] for name in ("ASIAEXPORTS", "ASIAPHOTOS"))
    async with open_role_readers(monkeypatch, {EXPORTS: None, PHOTOS: None}, *given, s3=(PART,)) as env:
        for role in (EXPORTS, PHOTOS, "", EXPORTS):
            assert await read(env, role) == BODY[10:30]

    assert env.keys == ["ASIAEXPORTS", "ASIAPHOTOS", "AKIDEXAMPLE", "ASIAEXPORTS"]
    assert "x-amz-security-token: TOKEN-ASIAEXPORTS" in env.s3.requests[0].decode()
    assert env.s3.connections == 1  # the readers share the worker's connections


async def test_credentials_that_s3_takes_for_expired_are_renewed_in_the_middle_of_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ([credentials_response(name, expires=FAR)] for name in ("ASIAOLD", "ASIANEW"))
    expired = [error_response("400 Bad Request", "ExpiredToken")]
    async with open_role_readers(monkeypatch, {EXPORTS: None}, *given, s3=(PART, expired, PART)) as env:
        assert await read(env, EXPORTS) == BODY[10:30]
        with pytest.raises(TransferInterrupted, match="have expired"):  # which the fetcher tries again
            await read(env, EXPORTS)
        assert await read(env, EXPORTS) == BODY[10:30]

    assert env.keys == ["ASIAOLD", "ASIAOLD", "ASIANEW"]


async def test_a_refusal_of_the_role_s_credentials_says_nothing_about_the_worker_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = [error_response("403 Forbidden", "InvalidToken")]
    given = [credentials_response(expires=FAR)]
    async with open_role_readers(monkeypatch, {EXPORTS: None}, given, s3=(refused,)) as env:
        for _ in range(3):
            with pytest.raises(SourceUnavailable, match=rf"role {EXPORTS} \(InvalidToken\)") as caught:
                await read(env, EXPORTS)

    assert caught.value.code == "source_denied"
    assert len(env.sts.requests) == 1


async def test_a_wrong_clock_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller asks the destination, which refuses it, too."""
    skewed = [error_response("403 Forbidden", "RequestTimeTooSkewed")]
    async with open_role_readers(
        monkeypatch, {EXPORTS: None}, [credentials_response(expires=FAR)], s3=(skewed,)
    ) as env:
        with pytest.raises(CredentialsRefused):
            await read(env, EXPORTS)


async def test_a_reader_of_roles_reads_on_the_emulator(aws: EmulatedAws) -> None:
    """With a real STS protocol, over TLS."""
    bucket = aws.bucket()
    aws.s3.put_object(Bucket=bucket, Key="a.jpg", Body=b"a photo")
    role = f"arn:aws:iam::{ACCOUNT}:role/exports"
    async with open_aws(ClientLimits()) as (clients, reader):
        rules = ArchiveRules(None, "archives", AllowList(""), roles={role: Role(AllowList("", {}))})
        readers = with_roles(reader, clients.session, rules)
        assert readers is not None
        info = await readers.head(Location(bucket, "a.jpg", role))
        into = bytearray(info.size)
        await readers.read(Location(bucket, "a.jpg", role), info.etag, 0, [memoryview(into)])

    assert into == b"a photo"
