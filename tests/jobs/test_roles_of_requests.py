"""Jobs whose objects are read with roles of other accounts."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeHold, FakeRoles, ManualClock
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.locations import AllowList, Location, Role
from archiver.errors import (
    ConfigurationError,
    CredentialsRefused,
    Rejected,
    SourceUnavailable,
    TransferInterrupted,
    TransientError,
)
from archiver.worker import breaker as module
from archiver.worker.breaker import CircuitBreakers
from archiver.worker.gate import ReceiveGate
from archiver.worker.guarded import GuardedReader, GuardedRoles, SourceProbes

EXPORTS, PHOTOS = "arn:aws:iam::210987654321:role/exports", "arn:aws:iam::321098765432:role/photos"


def make_env(*refused: str) -> tuple[PipelineEnv, FakeRoles]:
    """Object `a` is for EXPORTS alone, `b` for PHOTOS, and `c` for the worker."""
    listed = {arn: Role(AllowList.of(["partner"], "archives")) for arn in (EXPORTS, PHOTOS)}
    roles = FakeRoles(*refused)
    env = PipelineEnv(rules=replace(RULES, roles=listed), roles=roles)
    for key, role in (("a", EXPORTS), ("b", PHOTOS), ("c", "")):
        env.stage.s3.put("partner", key, key.encode(), role=role)
    env.put(own=b"own")
    return env, roles


def file(key: str, role: str | None = EXPORTS) -> dict[str, Any]:
    return {"source": f"s3://partner/{key}", **({} if role is None else {"role_arn": role})}


async def test_one_archive_has_objects_of_two_roles_and_of_the_worker() -> None:
    env, roles = make_env()

    await env.run(files=[file("a"), file("b", PHOTOS), file("c", None), {"source": "own"}])

    assert env.archive() == {"a": b"a", "b": b"b", "c": b"c", "own": b"own"}
    assert roles.assumed == [EXPORTS, PHOTOS]


@pytest.mark.parametrize(("key", "role"), [("b", EXPORTS), ("a", PHOTOS), ("c", EXPORTS), ("a", None)])
async def test_what_a_role_can_not_read_is_read_with_no_other(key: str, role: str | None) -> None:
    env, _ = make_env()

    with pytest.raises(Rejected) as caught:
        await env.run(files=[file(key, role)])

    assert caught.value.code == "source_missing"


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
async def test_a_role_that_can_not_be_assumed_is_tried_again_and_at_last_denied_with_all_its_objects(
    on_missing: str,
) -> None:
    """Also with `skip`: its owner can mend it, and an archive without these objects would be final."""
    env, _ = make_env(EXPORTS)

    with pytest.raises(TransientError) as caught:
        await env.run(files=[file("a"), file("b", PHOTOS), {**file("z"), "name": "y"}], on_missing=on_missing)

    rejection = caught.value.rejection
    assert rejection is not None
    assert (rejection.code, caught.value.receive_pause) == ("source_denied", 0)
    assert [(one.source, one.code) for one in rejection.sources] == [
        ("s3://partner/a", "source_denied"),
        ("s3://partner/z", "source_denied"),
    ]
    assert EXPORTS in rejection.message
    assert PHOTOS not in rejection.message
    assert env.stage.reader.faults.calls["head"] == 0


async def test_jobs_without_the_role_go_on() -> None:
    env, _ = make_env(EXPORTS)

    await env.run(files=[file("b", PHOTOS), {"source": "own"}])

    assert env.archive() == {"b": b"b", "own": b"own"}


async def test_a_role_that_is_revoked_in_the_middle_of_a_job_is_tried_again() -> None:
    env, roles = make_env()

    def revoke(location: Location, _offset: int) -> None:
        if location.role == EXPORTS:
            roles.refused.add(EXPORTS)
            raise SourceUnavailable("source_denied", f"the role {EXPORTS} can't be assumed")

    env.stage.reader.on_read = revoke
    with pytest.raises(TransientError) as caught:
        await env.run(files=[file("a"), file("b", PHOTOS)])

    assert caught.value.rejection is not None
    assert [one.source for one in caught.value.rejection.sources] == ["s3://partner/a"]
    assert env.stage.store.pending == {}


async def test_prefixes_are_listed_and_their_objects_read_with_their_role() -> None:
    env, roles = make_env()
    for key in ("src/1", "src/2"):
        env.stage.s3.put("partner", key, key.encode(), role=EXPORTS)
    env.stage.s3.put("partner", "src/hidden", b"the worker's own")

    await env.run(files=[{"prefix": "s3://partner/src/", "role_arn": EXPORTS}, file("b", PHOTOS)])

    assert env.archive() == {"1": b"src/1", "2": b"src/2", "b": b"b"}
    assert roles.assumed == [EXPORTS, PHOTOS]


async def test_nothing_is_listed_with_a_role_that_can_not_be_assumed() -> None:
    env, _ = make_env(EXPORTS)

    with pytest.raises(TransientError) as caught:
        await env.run(files=[{"prefix": "s3://partner/src/", "role_arn": EXPORTS}, file("b", PHOTOS)])

    assert caught.value.rejection is not None
    assert [one.source for one in caught.value.rejection.sources] == ["s3://partner/src/"]
    assert env.stage.reader.lists == []


async def test_a_listing_that_a_role_may_not_have_in_the_source_bucket_is_denied_at_once() -> None:
    env, _ = make_env()
    listed = {EXPORTS: Role(AllowList.of(["source"], "archives"))}
    env.rules = replace(RULES, source_bucket="source", roles=listed)
    env.pipeline = env.make()
    env.stage.s3.unlistable["source"] = "source_denied"

    with pytest.raises(Rejected) as caught:
        await env.run(files=[{"prefix": "src/", "role_arn": EXPORTS}])

    assert caught.value.code == "source_denied"


async def test_entries_of_a_manifest_have_roles() -> None:
    env, roles = make_env()
    entries = [file("a"), {"prefix": "s3://partner/b", "role_arn": PHOTOS}, {"source": "own"}]
    env.stage.s3.put("source", "m.json", json.dumps(entries).encode())

    await env.pipeline.run(await env.message(manifest="s3://source/m.json"), FakeHold())

    assert env.archive() == {"a": b"a", "b": b"b", "own": b"own"}
    assert roles.assumed == [EXPORTS, PHOTOS]


@pytest.mark.parametrize(("role", "code"), [(f"{EXPORTS}s", "role_not_allowed"), (PHOTOS, "invalid_request")])
async def test_a_manifest_with_roles_that_a_request_may_not_name_is_rejected(role: str, code: str) -> None:
    """PHOTOS is listed, but the same source is named with two roles."""
    env, _ = make_env()
    env.stage.s3.put("source", "m.json", json.dumps([file("a"), file("a", role)]).encode())

    with pytest.raises(Rejected) as caught:
        await env.pipeline.run(await env.message(manifest="s3://source/m.json"), FakeHold())

    assert caught.value.code == code
    assert caught.value.message.startswith("line 1 of the manifest: $.role_arn ")
    assert env.stage.reader.heads == [Location("source", "m.json")]


async def test_credentials_that_sts_refuses_are_the_operator_s_to_mend_unless_the_destination_accepts_them() -> None:
    env, roles = make_env()
    roles.faults.plan("assume", CredentialsRefused("ExpiredToken", "ExpiredToken"), times=0)
    with pytest.raises(TransientError, match="the destination bucket accepts them"):
        await env.run(files=[file("a")])

    env.stage.store.faults.plan("find", ConfigurationError("refused"), nth=2, times=0)
    with pytest.raises(CredentialsRefused):
        await env.run(files=[file("a")])


async def test_a_finished_archive_is_answered_without_its_roles() -> None:
    env, roles = make_env()
    await env.run(files=[file("a")], job_id="1")
    roles.refused.add(EXPORTS)

    assert (await env.run(files=[file("a")], job_id="1")).reused


async def test_the_same_files_with_another_role_are_another_request() -> None:
    env, _ = make_env()
    await env.run(files=[file("a")], job_id="1")

    with pytest.raises(Rejected) as caught:
        await env.run(files=[file("a", PHOTOS)], job_id="1")

    assert caught.value.code == "job_conflict"


async def test_without_sts_a_job_waits_and_uses_up_no_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "configuration_retry_delay", lambda _: 0.0)
    _, roles = make_env()
    clock, gate = ManualClock(), ReceiveGate()
    guarded = GuardedRoles(roles, CircuitBreakers(gate, clock=clock))
    roles.faults.plan("assume", TransferInterrupted("503"), times=20)
    for _ in range(2):
        with pytest.raises(TransferInterrupted):
            await guarded.assume(EXPORTS)
        clock.advance(3)

    await guarded.assume(EXPORTS)

    assert (roles.faults.calls["assume"], roles.assumed) == (21, [EXPORTS])
    assert gate.pause_count == 0


async def test_all_that_a_role_may_not_read_in_the_source_bucket_is_denied_at_once() -> None:
    """What is denied with a role says nothing about the worker's own, so nothing waits for its policy."""
    env, _ = make_env()
    listed = {EXPORTS: Role(AllowList.of(["source"], "archives"))}
    env.rules = replace(RULES, source_bucket="source", roles=listed)
    env.pipeline = env.make()
    location = env.stage.s3.put("source", "a", b"a", role=EXPORTS)
    env.stage.s3.make_unavailable(location, "source_denied")

    with pytest.raises(Rejected) as caught:
        await env.run(files=[{"source": "a", "role_arn": EXPORTS}])

    assert caught.value.code == "source_denied"


async def test_the_source_bucket_is_not_down_because_a_role_can_not_read_it() -> None:
    env, _ = make_env()
    clock, probes = ManualClock(), []

    async def probe() -> None:
        probes.append("other buckets")

    known = Location("source", "own")
    sources = SourceProbes("source", known, probe)
    guarded = GuardedReader(env.stage.reader, sources, CircuitBreakers(ReceiveGate(), clock=clock))
    env.stage.reader.faults.plan("head", TransferInterrupted("no STS"), times=3)
    for _ in range(3):
        with pytest.raises(TransferInterrupted):
            await guarded.head(Location("source", "a", EXPORTS))
        clock.advance(3)

    assert probes == ["other buckets"]
    assert (await guarded.head(known)).size == 3
