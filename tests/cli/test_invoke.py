"""`archiver invoke`: a function of the emulated AWS, which returns its event, and what is told of one that fails."""

import json
from pathlib import Path

import pytest
from aws.failing_clients import FailingClient, client_error
from processes.archiver_process import run_command
from receivers import Receivers, receivers

from archiver.aws.error_mapping import ResourceNotFound
from archiver.aws.invoke import invoke
from archiver.cli.console import CommandError
from archiver.cli.invoke import report
from archiver.core.invocations import Invocation
from archiver.errors import TransientError

__all__ = ["receivers"]

DSN = "region=eu-west-1 credentials=static:testing:testing"


@pytest.fixture
def environ(receivers: Receivers) -> dict[str, str]:
    aws = receivers.aws
    return {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_CA_BUNDLE": aws.bundle, "ARCHIVER_LAMBDA_DSN": DSN}


def test_the_seeds_command_invokes_the_function_and_prints_its_answer(
    receivers: Receivers, environ: dict[str, str]
) -> None:
    name = receivers.function()
    seed = ["--lambda-dsn", DSN, "--lambda-func", name, "--lambda-type", "RequestResponse"]
    ours = {**environ, "ARCHIVER_LAMBDA_FUNCTION": name, "ARCHIVER_LAMBDA_TYPE": "Event"}

    done = run_command("invoke", *seed, "--uri", "avocado.png", "--uri", "toast.jpg", env=environ)
    queued = run_command("invoke", "avocado.png", "--job-id", "order-1", env=ours)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"files": [{"source": "avocado.png"}, {"source": "toast.jpg"}]}
    assert (queued.returncode, queued.stdout) == (0, ""), queued.stderr
    assert queued.stderr == f"queued: Lambda runs the function ({name}, status 202)\n"


def test_any_event_is_a_payload(receivers: Receivers, environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"file-name": "some_file.txt"}')
    name = receivers.function()

    done = run_command("invoke", "--function", name, "--payload", f"@{file}", env=environ)

    assert json.loads(done.stdout) == {"file-name": "some_file.txt"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a"], "no function; name it with --function or ARCHIVER_LAMBDA_FUNCTION"),
        (["--function=f"], "nothing to send; name objects"),
        (["--function=f", "a", "--payload={}"], "can't be combined"),
        (["--function=f", "--job-id=1", "--payload={}"], "--job-id goes with URIs"),
        (["--function=f", "a", "--type=Evnt"], "--type Evnt: should be RequestResponse, Event or DryRun (did you mean"),
        (["--function=f", "--payload={'a': 1}"], "JSON allows double quotes only"),
        (["--function=f", "--payload=@/nowhere"], "/nowhere: can't be read"),
        (["--function=f", "a", "--lambda-dsn=region=x"], "--lambda-dsn: credentials is missing"),
        (["--function=f", "s3://b"], "s3://b: "),
        (["--function=f", *["k" * 1000] * 6300], "and Lambda takes 6,291,456"),
    ],
)
def test_what_can_not_be_sent_is_a_usage_error(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from archiver.cli import app  # noqa: PLC0415

    with pytest.raises(CommandError) as caught:
        app(args=["invoke", *arguments], standalone_mode=False)

    assert caught.value.code == 2
    assert told in str(caught.value)


def test_a_function_that_fails_is_told_with_the_end_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    done = Invocation(200, {"errorMessage": "so"}, "START\nTraceback\n", "Unhandled: KeyError: so")

    with pytest.raises(CommandError, match="the function zips failed: Unhandled: KeyError: so") as caught:
        report(done, "zips", "RequestResponse")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "  START\n  Traceback\n"


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"status": "failed", "error": {"code": "source_missing", "message": "a.jpg"}}, "source_missing: a.jpg"),
        ({"status": "error", "job_id": 1, "parameters": [{"id": "message", "value": "it ended"}]}, "it ended"),
        ({"status": "failed"}, "the job failed"),
        # a function of somebody else
        ({"status": "error"}, '{"status": "error"}'),
        ({"status": "error", "message": "it broke", "parameters": {}}, "it broke"),
        ({"status": "error", "parameters": 5}, '"parameters": 5'),
        ({"status": "error", "parameters": ["so"]}, "so"),
        ({"status": "error", "parameters": [{"id": "message"}]}, '"id": "message"'),
    ],
)
def test_a_failure_answer_is_printed_and_is_exit_code_1(
    payload: object, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match=told) as caught:
        report(Invocation(200, payload), "zips", "RequestResponse")

    assert caught.value.code == 1
    assert json.loads(capsys.readouterr().out) == payload


def test_a_dry_run_says_that_it_would_be_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    report(Invocation(204), "zips", "DryRun")

    assert capsys.readouterr().err == "allowed: the function was not run (zips, status 204)\n"


async def test_a_function_that_is_not_there_and_one_that_is_throttled_are_told_apart() -> None:
    absent = FailingClient(client_error("ResourceNotFoundException", 404))
    with pytest.raises(ResourceNotFound, match="Invoke zips"):
        await invoke(absent, "zips", "Event", b"{}")
    with pytest.raises(TransientError):
        await invoke(FailingClient(client_error("TooManyRequestsException", 429)), "zips", "Event", b"{}")
