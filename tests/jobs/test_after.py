"""After an archive: what is in it may be deleted or moved, whatever happens meanwhile, and nothing is lost."""

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeChanges, FakeHold
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.after import AfterRules, MoveRule
from archiver.core.locations import AllowList, Location
from archiver.errors import ConfigurationError, LeaseLost, Rejected, TransientError
from archiver.ports import StoredArchive
from archiver.stages import receipt as receipts
from stages.builders import read_zip

EVERYWHERE = AllowList("", {"source": ("",)})
AFTER = AfterRules(EVERYWHERE, (MoveRule(EVERYWHERE, EVERYWHERE),), EVERYWHERE)
DELETE = {"action": "delete"}
MOVE = {"action": "move", "destination": "s3://source/done/"}
FLAG = "s3://source/done/x.fin"
KEYS = ("in/a.jpg", "in/b.jpg")


def after_env(**objects: bytes) -> PipelineEnv:
    env = PipelineEnv(rules=replace(RULES, after=AFTER))
    env.changes = FakeChanges(env.stage.s3)
    env.pipeline = env.make()
    for key, data in (objects or {"in/a.jpg": b"a", "in/b.jpg": b"b"}).items():
        env.stage.s3.put("source", key, data)
    return env


def sources(env: PipelineEnv) -> dict[str, bytes]:
    return {at.key: blob.data for at, blob in env.stage.s3.objects.items() if at.bucket == "source"}


def changes(env: PipelineEnv) -> FakeChanges:
    assert env.changes is not None
    return env.changes


async def test_archived_objects_are_deleted_and_no_others() -> None:
    env = after_env()
    env.stage.s3.put("source", "in/c.jpg", b"c")
    await env.run(*KEYS, after=DELETE)
    assert sources(env) == {"in/c.jpg": b"c"}
    assert env.archive() == {"a.jpg": b"a", "b.jpg": b"b"}
    assert env.answer["after"] == {"action": "delete", "done": 2, "kept": [], "problem": None, "flag": None}


async def test_archived_objects_are_moved_and_the_flag_comes_last() -> None:
    env = after_env()
    await env.run(*KEYS, after=MOVE, flag=FLAG)
    assert sources(env) == {"done/a.jpg": b"a", "done/b.jpg": b"b", "done/x.fin": b""}
    assert env.answer["after"] == {"action": "move", "done": 2, "kept": [], "problem": None, "flag": FLAG}
    assert changes(env).calls[-1][0] == "create"


async def test_a_flag_alone_needs_no_action_and_one_that_is_there_is_left() -> None:
    env = after_env()
    env.stage.s3.put("source", "done/x.fin", b"theirs")
    await env.run(*KEYS, flag=FLAG)
    assert sources(env)["done/x.fin"] == b"theirs"
    assert env.answer["after"] == {"action": None, "done": 0, "kept": [], "problem": None, "flag": FLAG}


async def test_without_it_answers_are_as_before() -> None:
    env = after_env()
    await env.run(*KEYS, after={"action": "none"})
    assert "after" not in env.answer
    assert changes(env).calls == []


@pytest.mark.parametrize("request_", [{"after": DELETE}, {"flag": FLAG}])
async def test_a_worker_that_allows_nothing_rejects_the_request_and_says_so_to_a_ping(request_: dict[str, Any]) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"a")
    with pytest.raises(Rejected, match="option_not_allowed"):
        await env.run("a.jpg", **request_)
    await env.run("a.jpg", test=True, **request_)
    assert env.answer["problem"]["code"] == "option_not_allowed"


async def test_an_object_that_is_overwritten_after_it_was_archived_is_kept_and_told() -> None:
    env = after_env()

    def overwrite() -> None:
        env.stage.s3.put("source", "in/a.jpg", b"newer")

    original = env.stage.store.put

    async def put(*args: Any) -> StoredArchive:
        stored = await original(*args)
        overwrite()
        return stored

    env.stage.store.put = put  # type: ignore[method-assign, assignment]
    await env.run(*KEYS, after=MOVE, flag=FLAG)
    assert sources(env) == {"in/a.jpg": b"newer", "done/b.jpg": b"b"}
    assert env.answer["after"] == {
        "action": "move",
        "done": 1,
        "kept": [{"source": "s3://source/in/a.jpg", "code": "source_changed"}],
        "problem": None,
        "flag": None,
    }


@pytest.mark.parametrize("action", [DELETE, MOVE])
async def test_a_store_that_can_not_delete_conditionally_keeps_everything_and_the_answer_says_so(
    action: dict[str, str],
) -> None:
    env = after_env()
    changes(env).conditional = False
    before = sources(env)
    await env.run(*KEYS, after=action, flag=FLAG)
    assert sources(env) == before
    assert {one["code"] for one in env.answer["after"]["kept"]} == {"not_conditional"}
    assert (env.answer["status"], env.answer["after"]["flag"]) == ("succeeded", None)


async def test_a_target_that_something_else_has_is_not_written_over() -> None:
    env = after_env()
    env.stage.s3.put("source", "done/a.jpg", b"theirs")
    await env.run(*KEYS, after=MOVE)
    assert sources(env) == {"in/a.jpg": b"a", "done/a.jpg": b"theirs", "done/b.jpg": b"b"}
    assert env.answer["after"]["kept"] == [{"source": "s3://source/in/a.jpg", "code": "name_conflict"}]


async def test_a_copy_that_is_not_what_was_archived_leaves_the_original() -> None:
    """As of a store that ignores the condition of a copy."""
    env = after_env()
    fake = changes(env)
    copy = fake.copy

    async def damaged(original: Any, target: Location) -> Any:
        outcome = await copy(original, target)
        env.stage.s3.put(target.bucket, target.key, b"x")
        return outcome

    fake.copy = damaged  # type: ignore[method-assign]
    await env.run(*KEYS, after=MOVE)
    assert {key: data for key, data in sources(env).items() if key in KEYS} == {"in/a.jpg": b"a", "in/b.jpg": b"b"}
    assert {one["code"] for one in env.answer["after"]["kept"]} == {"not_copied"}


async def test_what_was_skipped_is_never_touched() -> None:
    env = after_env()
    await env.run("in/a.jpg", "in/gone.jpg", on_missing="skip", after=DELETE, flag=FLAG)
    assert (env.answer["status"], env.answer["after"]["done"]) == ("partial", 1)
    assert sources(env) == {"in/b.jpg": b"b", "done/x.fin": b""}


async def test_more_objects_than_a_batch_call_takes_are_moved() -> None:
    objects = {f"in/{number:04}.txt": str(number).encode() for number in range(1201)}
    env = after_env(**objects)
    await env.run(files=[{"prefix": "in/"}], after=MOVE)
    assert sources(env) == {key.replace("in/", "done/"): data for key, data in objects.items()}
    assert env.answer["after"]["done"] == 1201


async def test_a_long_list_of_kept_objects_is_shortened_to_fit() -> None:
    objects = {f"in/{number:04}.txt": b"x" for number in range(300)}
    env = after_env(**objects)
    changes(env).conditional = False
    assert env.answers is not None
    env.answers.limit = 8192
    await env.run(files=[{"prefix": "in/"}], after=DELETE)
    assert env.answer["truncated"]["after.kept"] == 300
    assert 0 < len(env.answer["after"]["kept"]) < 300


# Archives and receipts that are not whole


async def redo(env: PipelineEnv, **request: Any) -> None:
    await env.run(*KEYS, job_id="j", **request)


async def archived(env: PipelineEnv, **request: Any) -> None:
    """Have the archive there, as after a worker that was killed before anything else."""
    env.changes, fake = None, env.changes
    env.pipeline = env.make()
    await redo(env, **request)
    env.changes = fake
    env.pipeline = env.make()


@pytest.mark.parametrize("damage", ["no CRC", "another size", "gone"])
async def test_nothing_is_touched_unless_the_archive_is_known_to_be_whole(damage: str) -> None:
    env = after_env()
    await archived(env, after=DELETE)
    before, store = sources(env), env.stage.store
    find = store.find
    looks = 0

    async def found(key: str) -> StoredArchive | None:
        nonlocal looks
        looks += 1
        stored = await find(key)
        if looks == 1 or stored is None:
            return stored
        return {"no CRC": replace(stored, crc32=None), "another size": replace(stored, size=1)}.get(damage)

    store.find = found  # type: ignore[method-assign]
    await redo(env, after=DELETE)
    assert sources(env) == before
    assert (env.answer["after"]["done"], env.answer["after"]["problem"]) == (0, "archive_unverified")


@pytest.mark.parametrize("damage", ["gone", "cut", "rubbish", "of another archive"])
async def test_nothing_is_touched_without_a_whole_receipt(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "WINDOW_BYTES", 64)  # members are known before the end is
    env = after_env()
    await archived(env, after=DELETE)
    receipt, before = env.receipt_at, sources(env)
    data = env.stage.s3.objects[receipt].data
    if damage == "gone":
        del env.stage.s3.objects[receipt]
    elif damage == "of another archive":
        other = after_env()
        await other.run(*KEYS, job_id="k")  # of the same bytes
        env.stage.s3.put("archives", receipt.key, other.stage.s3.objects[other.receipt_at].data)
    else:
        env.stage.s3.put("archives", receipt.key, data[:-20] if damage == "cut" else b"rubbish")
    await redo(env, after=DELETE)
    assert sources(env) == before
    expected = "archive_unverified" if damage == "of another archive" else "receipt_missing"
    assert (env.answer["after"]["done"], env.answer["after"]["problem"]) == (0, expected)


# Permission


@pytest.mark.parametrize(("action", "denied"), [(DELETE, "source/in/"), (MOVE, "source/done/"), (MOVE, "source/in/")])
async def test_a_right_that_nothing_works_without_is_the_operators_to_give(action: dict[str, str], denied: str) -> None:
    env = after_env()
    changes(env).denied = (denied,)
    with pytest.raises(ConfigurationError, match=f"the action {action['action']} is denied for all objects"):
        await redo(env, after=action)
    changes(env).denied = ()
    await redo(env, after=action)
    assert env.answer["after"]["done"] == 2


async def test_single_objects_that_are_denied_are_kept_and_told() -> None:
    env = after_env()
    changes(env).denied = ("source/in/a.jpg",)
    await env.run(*KEYS, after=DELETE)
    assert env.answer["after"]["kept"] == [{"source": "s3://source/in/a.jpg", "code": "source_denied"}]


async def test_an_action_that_has_worked_before_is_not_a_matter_of_configuration() -> None:
    env = after_env()
    await env.run("in/b.jpg", after=DELETE)
    changes(env).denied = ("source/in/a.jpg",)
    await env.run("in/a.jpg", after=DELETE)
    assert env.answer["after"]["kept"] == [{"source": "s3://source/in/a.jpg", "code": "source_denied"}]


async def test_a_flag_that_may_not_be_written_is_the_operators_to_allow() -> None:
    env = after_env()
    changes(env).denied = ("source/done/",)
    with pytest.raises(ConfigurationError, match=r"the flag .* can't be written"):
        await env.run(*KEYS, flag=FLAG)


# A crash at every call


CRASHES = [
    (verb, nth, late)
    for verb, count in (("head", 4), ("copy", 2), ("delete", 2), ("create", 1))
    for nth in range(1, count + 1)
    for late in (False, True)
]


@pytest.mark.parametrize(
    "error", [TransientError("cut"), LeaseLost("gone"), ConfigurationError("denied")], ids=["cut", "lost", "held"]
)
@pytest.mark.parametrize(("verb", "nth", "late"), CRASHES)
async def test_a_job_that_ends_at_any_call_is_repeated_to_the_same_end(
    verb: str, nth: int, late: bool, error: Exception
) -> None:
    """The call fails for good: the job ends there, and its message comes again. *late*: after it had its effect."""
    env = after_env()
    fake = changes(env)
    fake.faults.plan(verb, error, nth=nth, times=6 if isinstance(error, TransientError) else 1, after=late)
    everything = sources(env)
    for _ in range(2):
        try:
            await redo(env, after=MOVE, flag=FLAG)
            break
        except (TransientError, LeaseLost, ConfigurationError):
            now = sources(env)
            inside = {name: read_zip(env.stage.s3.objects[env.at].data)[name] for name in ("a.jpg", "b.jpg")}
            assert inside == {"a.jpg": b"a", "b.jpg": b"b"}
            assert all(data in now.values() for data in everything.values())
    else:
        pytest.fail("the second delivery did not end")
    assert sources(env) == {"done/a.jpg": b"a", "done/b.jpg": b"b", "done/x.fin": b""}
    assert env.answer["after"] == {"action": "move", "done": 2, "kept": [], "problem": None, "flag": FLAG}
    moved = [call for call in fake.calls if call[0] == "copy"]
    assert len(moved) == 2, "nothing is moved twice"


async def test_after_the_lease_is_lost_nothing_is_changed() -> None:
    env = after_env()
    await archived(env, after=MOVE, flag=FLAG)
    before = sources(env)

    def lost() -> None:
        raise LeaseLost("not renewed in time")

    files = [{"source": key} for key in KEYS]
    message = await env.message(files=files, job_id="j", after=MOVE, flag=FLAG)
    with pytest.raises(LeaseLost):
        await env.pipeline.run(message, FakeHold(lost))
    assert sources(env) == before


async def test_an_answer_that_is_lost_repeats_to_the_same_answer() -> None:
    env = after_env()
    assert env.answers is not None
    await redo(env, after=DELETE, flag=FLAG)
    first = env.answer
    await redo(env, after=DELETE, flag=FLAG)
    assert json.dumps(env.answer["after"]) == json.dumps(first["after"])
    assert zlib.crc32(b"") == env.stage.s3.objects[Location("source", "done/x.fin")].crc32
