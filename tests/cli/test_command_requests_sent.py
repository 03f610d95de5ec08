"""`archiver send` with requests for commands, and what it prints of their answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from core.command_results import DONE
from core.operator_files import STUDY
from core.seed_messages import AWS_CLI_MESSAGE, LANLYTICS_MESSAGE

from archiver.cli.answer import FAILURES, FINAL_STATUSES, print_answer
from archiver.cli.build_context import check_request, parse_archive_request
from archiver.cli.console import CommandError
from archiver.cli.request_input import RequestInput, build_body, file_count
from archiver.core.dialects import mcai, native
from archiver.core.messages import EchoedFields
from archiver.errors import Rejected
from archiver.settings import load_environment

LIMIT = 10**6


@pytest.mark.parametrize("message", [AWS_CLI_MESSAGE, LANLYTICS_MESSAGE, '{"command": {"name": "c"}}'])
def test_the_messages_of_the_seeds_are_sent_without_a_warning(
    message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "message.json"
    file.write_text(message)

    assert json.loads(build_body(RequestInput(file=str(file)))) == json.loads(message)
    assert capsys.readouterr().err == ""
    assert file_count(json.loads(message)) == "a command"
    with pytest.raises(Rejected, match="the request is for a command: send it, or name its file to archiver run"):
        parse_archive_request(message)


def test_what_the_worker_would_reject_is_not_sent(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(STUDY)
    settings = load_environment({"S3_DESTINATION_BUCKET": "zips", "POLICY_FILE": str(policy)})
    check_request(LANLYTICS_MESSAGE, settings)
    wrong = LANLYTICS_MESSAGE.replace("my_service", "other")
    with pytest.raises(CommandError, match="no command of the worker's POLICY_FILE"):
        check_request(wrong, settings)

    check_request(wrong, load_environment({"S3_DESTINATION_BUCKET": "zips"}))  # only the worker knows


def test_the_answer_of_a_command_is_what_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    answer: dict[str, Any] = json.loads(native.success_answer(DONE, LIMIT))
    answer["command"]["stderr"] = {"type": "pipe", "value": "very\n\x1b[2Jcareful\n"}
    print_answer(answer, as_json=False)
    printed = capsys.readouterr()

    assert printed.out == "read 14 bytes\n"
    assert "my_service, 0.21 s" in printed.err
    assert "written: s3://bucket/path/to/output.txt" in printed.err
    assert "very\n\ufffd[2Jcareful\n" in printed.err


def test_a_failed_command_shows_what_it_wrote_before_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    answer: dict[str, Any] = json.loads(native.success_answer(DONE, LIMIT))
    answer |= {"status": "failed", "error": {"code": "command_failed", "message": "it ended with 3", "sources": []}}
    with pytest.raises(CommandError, match="command_failed: it ended with 3"):
        print_answer(answer, as_json=False)
    assert capsys.readouterr().out == "read 14 bytes\n"


def test_the_reply_to_an_order_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Media Cloud AI's words for success and failure end the waiting, too."""
    echoed = EchoedFields(job_id="123")
    done = json.loads(mcai.success_answer(replace(DONE, echoed=echoed), LIMIT))
    failed = json.loads(mcai.failure_answer(echoed, Rejected("command_failed", "it ended with 3"), LIMIT))
    unread = json.loads(mcai.failure_answer(EchoedFields(), Rejected("invalid_json", "no order"), LIMIT))

    assert {done["status"], failed["status"], unread["status"]} <= {*FINAL_STATUSES}
    assert {failed["status"]} <= {*FAILURES}
    print_answer(done, as_json=False)
    printed = capsys.readouterr()
    assert "read 14 bytes\n" in printed.out
    assert "written: s3://bucket/path/to/output.txt" in printed.err
    for reply, reason in ((failed, "it ended with 3"), (unread, "no order")):
        with pytest.raises(CommandError, match=reason):
            print_answer(reply, as_json=False)


def test_the_ping_of_lanlytics_is_told_as_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer({"status": "alive", "test": {"accepted": True}}, as_json=False)
    assert "a worker accepts the request" in capsys.readouterr().out
    problem = {"code": "command_not_allowed", "message": "no"}
    with pytest.raises(CommandError, match="command_not_allowed: no"):
        print_answer({"status": "alive", "test": {"accepted": False, "problem": problem}}, as_json=False)
