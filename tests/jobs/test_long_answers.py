"""Answers that are too long for a receiver: whole beside the archive, and never cut in silence."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeHold, FakeNotifier
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.attributes import AttributeRules
from archiver.core.locations import Location
from archiver.errors import LeaseLost, Rejected, SourceProblem

LINKS = "https://links.example/"


def small_env(limit: int = 6000) -> PipelineEnv:
    env = PipelineEnv(answers=FakeNotifier(limit=limit), failures=FakeNotifier(limit=limit), by_reference=True)
    env.put(a_jpg=b"a")
    return env


def stored(env: PipelineEnv, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer that `answer_url` leads to."""
    key = answer["answer_url"].removeprefix(LINKS)
    whole: dict[str, Any] = json.loads(env.stage.s3.objects[Location("archives", key)].data)
    return whole


MISSING = [f"gone-{number}-{'x' * 80}.jpg" for number in range(200)]


async def test_what_is_sent_is_truncated_and_names_the_whole_answer_in_the_folder_of_the_archive() -> None:
    """F13: never cut in silence."""
    env = small_env()

    await env.run("a.jpg", *MISSING, on_missing="skip")

    sent, whole = env.answer, stored(env, env.answer)
    assert env.answers is not None and len(env.answers.sent[0].body) <= 6000
    assert (len(whole["missing"]), sent["truncated"]) == (200, {"missing": 200})
    assert 0 < len(sent["missing"]) < 200
    assert "answer_url" not in whole and "truncated" not in whole
    assert {name: whole[name] for name in whole if name != "missing"} == {
        name: sent[name] for name in sent if name not in ("missing", "truncated", "answer_url")
    }
    assert sent["answer_url"].startswith(f"{LINKS}{env.at.key.rpartition('/')[0]}/answer-{sent['notification_id']}")


async def test_an_answer_that_fits_is_stored_nowhere_and_is_as_ever() -> None:
    env = small_env()

    await env.run("a.jpg", job_id="j")
    fitting, keys = env.answer, [at.key for at in env.stage.s3.objects]
    plain = PipelineEnv()
    plain.put(a_jpg=b"a")
    await plain.run("a.jpg", job_id="j")

    assert fitting.keys() == plain.answer.keys()
    assert [key for key in keys if "answer-" in key] == []


@pytest.mark.parametrize(("days", "tags"), [("7d", {"archiver-expires-in": "7d"}), ("1d", {})])
async def test_it_expires_with_the_archive_and_a_refused_number_of_days_is_no_tag(
    days: str, tags: dict[str, str]
) -> None:
    """A rejected request may say anything; its answer has only what the operator lists."""
    rules = replace(RULES, attribute_rules=AttributeRules(expires_in=("7d",)))
    env = PipelineEnv(failures=FakeNotifier(limit=6000), by_reference=True, rules=rules)
    message = await env.message(files=[{"source": key} for key in MISSING], expires_in=days)

    missing = Rejected(
        "source_missing", "gone", sources=[SourceProblem(key, "source_missing", "gone") for key in MISSING]
    )
    await env.pipeline.send_failure(message, missing, FakeHold())

    (key,) = [at.key for at in env.stage.s3.objects if "answer-" in at.key]
    assert dict(env.stage.receipts.attributes[key].tags) == tags


async def test_without_ways_out_nothing_is_stored_and_the_answer_says_that_it_is_truncated() -> None:
    env = PipelineEnv(answers=FakeNotifier(limit=6000))
    env.put(a_jpg=b"a")

    await env.run("a.jpg", *MISSING, on_missing="skip")

    assert "answer_url" not in env.answer and env.answer["truncated"] == {"missing": 200}
    assert [at.key for at in env.stage.s3.objects if "answer-" in at.key] == []


async def test_a_failure_is_stored_too() -> None:
    env = small_env()
    message = await env.message(files=[{"source": key} for key in MISSING])

    with pytest.raises(Rejected) as rejected:
        await env.pipeline.run(message, FakeHold())
    await env.pipeline.send_failure(message, rejected.value, FakeHold())

    sent = json.loads(env.failures.sent[-1].body)
    assert len(stored(env, sent)["error"]["sources"]) == 200 > len(sent["error"]["sources"])


async def test_it_is_stored_before_it_is_named_and_the_lease_is_confirmed_before_that() -> None:
    """F13: no answer names what is not there."""
    env = small_env()
    message = await env.message(files=[{"source": key} for key in ("a.jpg", *MISSING)], on_missing="skip")

    def lost() -> None:
        if any(at.key.endswith(".zip") for at in env.stage.s3.objects):
            raise LeaseLost("after the archive, before the answer")

    with pytest.raises(LeaseLost):
        await env.pipeline.run(message, FakeHold(lost))
    assert env.answers is not None and env.answers.sent == []
    assert [at.key for at in env.stage.s3.objects if "answer-" in at.key] == []

    await env.pipeline.run(message, FakeHold())
    assert len(stored(env, env.answer)["missing"]) == 200


async def test_answers_in_the_folder_do_not_keep_receipts_of_failed_attempts() -> None:
    env = small_env()
    await env.run("a.jpg", *MISSING, on_missing="skip", job_id="j")
    receipt = env.receipt_at.key
    orphan = f"{env.at.key.rpartition('/')[0]}/receipt-{'0' * 32}.json.gz"
    await env.stage.receipts.put(orphan, b"")

    await env.run("a.jpg", *MISSING, on_missing="skip", job_id="j")

    assert env.stage.receipts.keys == [receipt]
