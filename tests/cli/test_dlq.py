"""`archiver dlq` on a queue of rejected messages: looking harms nothing, and what is chosen goes back or away."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.aws.dead_letters import DeadLetterQueue, QueueScan, ReceivedDeadLetter
from archiver.core.dead_letters import DeadLetter


def reject(
    worker_env: WorkerEnv,
    job: str,
    code: str | None,
    reason: str = "no such key",
    queue: str | None = None,
    *,
    group: str = "g",
) -> None:
    told = {"ErrorCode": code, "ErrorMessage": reason, "Correlation-Id": f"c-{job}"} if code else {}
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in told.items() if text}
    body = json.dumps({"job_id": job, "files": [{"source": f"{job}.jpg"}]})
    fifo = {"MessageGroupId": group, "MessageDeduplicationId": job} if worker_env.fifo else {}
    worker_env.aws.sqs.send_message(
        QueueUrl=queue or worker_env.dead, MessageBody=body, MessageAttributes=attributes, **fifo
    )


@pytest.fixture
def filled(worker_env: WorkerEnv) -> WorkerEnv:
    for number in range(12):
        reject(worker_env, f"lost-{number}", "source_missing")
    reject(worker_env, "denied", "source_denied", "access denied")
    reject(worker_env, "moved", None)
    return worker_env


def dlq(worker_env: WorkerEnv, *arguments: str) -> tuple[int, str, str]:
    ended = run_command("dlq", *arguments, env=worker_env.settings())
    return ended.returncode, ended.stdout, ended.stderr


def bodies(messages: list[dict[str, Any]]) -> set[str]:
    return {json.loads(message["Body"])["job_id"] for message in messages}


def test_list_groups_by_code_and_leaves_every_message_where_it_was(filled: WorkerEnv) -> None:
    code, output, errors = dlq(filled, "list")

    lines = output.splitlines()
    assert (code, errors) == (0, "")
    assert [line.split()[:2] for line in lines[::2]] == [
        ["12", "source_missing"],
        ["1", "(no"],
        ["1", "source_denied"],
    ]
    assert "no such key" in lines[1]
    assert "moved here by SQS, after" in output
    assert len(filled.aws.all_messages(filled.dead)) == 14  # visible again, at once


def test_list_as_json_has_every_message_with_its_code_and_reason(filled: WorkerEnv) -> None:
    code, output, _ = dlq(filled, "list", "--json")

    told = json.loads(output)
    assert (code, told["complete"], len(told["messages"])) == (0, True, 14)
    denied = next(one for one in told["messages"] if one["job_id"] == "denied")
    assert (denied["code"], denied["reason"]) == ("source_denied", "access denied")


def test_list_says_when_it_did_not_see_all(filled: WorkerEnv) -> None:
    code, _, errors = dlq(filled, "list", "--limit", "5")

    assert (code, errors) == (0, "only the first 5 messages were read; raise --limit to read more\n")


def test_an_empty_queue_is_said_to_be_empty(worker_env: WorkerEnv) -> None:
    assert dlq(worker_env, "list") == (0, "the dead-letter queue is empty\n", "")


def test_show_tells_the_body_and_the_reason_of_what_is_chosen(filled: WorkerEnv) -> None:
    code, output, _ = dlq(filled, "show", "--job-id", "denied")

    assert code == 0
    assert output.count("message ") == 1
    assert "reason   access denied" in output
    assert '{"job_id": "denied"' in output
    assert json.loads(dlq(filled, "show", "--code", "source_missing", "--json")[1])[0]["code"] == "source_missing"


@pytest.mark.slow
def test_the_id_that_the_sender_was_given_finds_the_message(worker_env: WorkerEnv) -> None:
    attributes = {"ErrorCode": "internal", "MessageId": "5458d323"}
    wired = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
    worker_env.aws.sqs.send_message(QueueUrl=worker_env.dead, MessageBody="{}", MessageAttributes=wired)
    reject(worker_env, "other", "internal")

    code, output, _ = dlq(worker_env, "show", "--id", "5458d323")
    (told,) = json.loads(dlq(worker_env, "show", "--id", "5458d323", "--json")[1])

    assert (code, output.count("message  ")) == (0, 1)
    assert output.startswith(f"message  {told['message_id']} (sent as 5458d323)\n")
    assert told["first_message_id"] == "5458d323"
    assert dlq(worker_env, "redrive", "--id", "5458d323", "--yes")[1] == "sent back: 1 message\n"
    (back,) = worker_env.aws.all_messages(worker_env.source)
    assert "MessageAttributes" not in back


@pytest.mark.slow
def test_show_of_a_message_that_is_not_there_is_a_no(filled: WorkerEnv) -> None:
    assert dlq(filled, "show", "--job-id", "other") == (1, "", "no matching message in the dead-letter queue\n")


def test_redrive_sends_the_chosen_back_without_the_reason_and_keeps_their_other_attributes(filled: WorkerEnv) -> None:
    code, output, _ = dlq(filled, "redrive", "--code", "source_missing", "--yes")

    back = filled.aws.all_messages(filled.source)
    assert (code, output) == (0, "sent back: 12 messages\n")
    assert bodies(back) == {f"lost-{number}" for number in range(12)}
    assert {tuple(message["MessageAttributes"]) for message in back} == {("Correlation-Id",)}
    assert bodies(filled.aws.all_messages(filled.dead)) == {"denied", "moved"}


@pytest.mark.slow
def test_redrive_of_all_works_where_sqs_knows_no_move_task(filled: WorkerEnv) -> None:
    code, output, _ = dlq(filled, "redrive", "--all", "--yes", "--json")

    assert (code, json.loads(output)) == (0, {"sent_back": 14})
    assert len(filled.aws.all_messages(filled.source)) == 14
    assert filled.queue_depth(filled.dead) == 0


def test_a_fifo_queue_gets_its_messages_back_in_their_group(emulated: Any) -> None:
    with WorkerEnv(emulated, fifo=True) as worker_env:
        reject(worker_env, "lost", "source_missing")

        code, output, _ = dlq(worker_env, "redrive", "--job-id", "lost", "--yes")

        (back,) = worker_env.aws.all_messages(worker_env.source)
        assert (code, output) == (0, "sent back: 1 message\n")
        assert back["Attributes"]["MessageGroupId"] == "g"


@pytest.fixture
def grouped(emulated: Any) -> Iterator[WorkerEnv]:
    """A FIFO dead-letter queue with 25 messages of one group, the first twelve of another code, and one of another."""
    with WorkerEnv(emulated, fifo=True) as worker_env:
        for number in range(25):
            reject(worker_env, f"lost-{number}", "internal" if number < 12 else "source_missing")
        reject(worker_env, "apart", "source_missing", group="h")
        yield worker_env


HIDDEN = "more messages are not shown: a FIFO queue holds back messages behind others of their message group"


@pytest.mark.slow
def test_what_stands_behind_others_of_its_group_is_told(grouped: WorkerEnv) -> None:
    code, output, errors = dlq(grouped, "list", "--json")

    told = json.loads(output)
    assert (code, errors, told["complete"]) == (0, "", False)
    assert len(told["messages"]) + told["hidden"] == 26
    assert told["hidden"] > 0
    assert f"about {told['hidden']} {HIDDEN}" in dlq(grouped, "list")[2]
    assert HIDDEN in dlq(grouped, "show")[2]


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "done"), [("redrive", "sent back"), ("drop", "deleted")])
def test_all_of_a_group_is_done_in_its_order(grouped: WorkerEnv, verb: str, done: str) -> None:
    assert dlq(grouped, verb, "--all", "--yes") == (0, f"{done}: 26 messages\n", "")
    assert grouped.queue_depth(grouped.dead) == 0
    assert grouped.queue_depth(grouped.source) == (26 if verb == "redrive" else 0)


@pytest.mark.slow
def test_what_was_not_reached_behind_what_was_not_chosen_is_told(grouped: WorkerEnv) -> None:
    code, output, errors = dlq(grouped, "drop", "--code", "source_missing", "--yes")

    assert (code, output) == (0, "deleted: 1 message\n")
    assert HIDDEN in errors
    assert dlq(grouped, "drop", "--code", "internal", "--yes")[1] == "deleted: 12 messages\n"
    assert dlq(grouped, "drop", "--code", "source_missing", "--yes")[1] == "deleted: 13 messages\n"


def test_what_is_rejected_again_meanwhile_is_not_sent_back_for_ever() -> None:
    """A worker may be quicker than this command: what came later is left where it is."""
    later = datetime.now(UTC) + timedelta(seconds=5)
    queue = DeadLetterQueue("", "arn:aws:sqs:eu-west-1:1:dead", "", "", scan_counts_as_receive=False, opened_at=later)
    nobody: Any = None  # it is asked nothing
    look = QueueScan(nobody, queue, 10)

    def held(seconds: float) -> ReceivedDeadLetter:
        sent_at = later + timedelta(seconds=seconds)
        return ReceivedDeadLetter(DeadLetter("id", "{}", sent_at, "internal", "", None), "receipt")

    assert [look.predates_scan(held(seconds)) for seconds in (-60, 0.9, 1.1)] == [True, True, False]


def test_drop_deletes_what_is_chosen_and_nothing_else(filled: WorkerEnv) -> None:
    code, output, _ = dlq(filled, "drop", "--code", "source_denied", "--yes")

    assert (code, output) == (0, "deleted: 1 message\n")
    assert filled.queue_depth(filled.dead) == 13
    assert filled.queue_depth(filled.source) == 0


@pytest.mark.parametrize("verb", ["redrive", "drop"])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no messages selected; use --code, --job-id or --id, or --all\n"),
        (["--all", "--code", "internal"], "--all can't be combined with --code, --job-id or --id; leave one out\n"),
    ],
)
def test_nothing_is_sent_or_deleted_without_a_choice(
    worker_env: WorkerEnv, verb: str, arguments: list[str], sentence: str
) -> None:
    assert dlq(worker_env, verb, *arguments) == (2, "", sentence)


@pytest.mark.parametrize("verb", ["show", "redrive", "drop"])
def test_a_code_that_there_is_not_is_no_choice(worker_env: WorkerEnv, verb: str) -> None:
    code, output, errors = dlq(worker_env, verb, "--code", "source_missin", *([] if verb == "show" else ["--yes"]))

    assert (code, output) == (2, "")
    assert errors.startswith("--code source_missin: unknown code (did you mean source_missing?); known codes: inv")


@pytest.mark.parametrize("verb", ["redrive", "drop"])
def test_where_nobody_can_be_asked_yes_has_to_be_said(filled: WorkerEnv, verb: str) -> None:
    code, _, errors = dlq(filled, verb, "--all")

    assert code == 2
    assert errors.endswith("all messages; confirm with --yes, as standard input is not a terminal\n")
    assert filled.queue_depth(filled.dead) == 14


def test_a_queue_without_dead_letter_queue_is_told_what_to_do(emulated: Any) -> None:
    with WorkerEnv(emulated, dead_letters=False) as worker_env:
        code, _, errors = dlq(worker_env, "list")

        assert code == 2
        assert "has no dead-letter queue; give it a redrive policy or name a queue with --queue" in errors
        reject(worker_env, "a", "internal")
        assert "internal" in dlq(worker_env, "list", "--queue", worker_env.dead)[1]
