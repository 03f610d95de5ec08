"""Orders of Media Cloud AI, and the replies that its backend takes."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from core.command_results import DONE, OUTPUT, RESULT
from core.seed_messages import AWS_CLI_MESSAGE

from archiver.core.command_fields import TemplateCall
from archiver.core.command_result import CommandRejected, StreamResult
from archiver.core.dialects import dialect_of, mcai
from archiver.core.messages import Archive, EchoedFields, Link
from archiver.errors import Rejected
from archiver.stages.progress import Progress

PLENTY = 10**6
MCAI = EchoedFields(job_id="123")
NOW = datetime(2021, 1, 28, 10, 0, 0, 123456, tzinfo=UTC)


def message_of(reply: str) -> str:
    """The text of a reply, which has the only form that the backend takes."""
    data = json.loads(reply)
    assert list(data) == ["destination_paths", "execution_duration", "job_id", "parameters", "status"]
    (parameter,) = data["parameters"]
    value = parameter.pop("value")
    assert parameter == {"default": None, "id": "message", "store": None, "type": "string"}
    return str(value)


def test_a_job_of_mcai_is_known_by_the_text_of_its_number() -> None:
    dialect = dialect_of(AWS_CLI_MESSAGE)
    assert dialect.read_job_id(AWS_CLI_MESSAGE) == "123"
    assert dialect.read_echoed_fields(AWS_CLI_MESSAGE) == MCAI
    assert dialect.parse_request(AWS_CLI_MESSAGE).job_id == "123"
    assert not dialect.is_ping(AWS_CLI_MESSAGE)
    for body in ("[]", "{", '{"job_id": -1, "parameters": []}', '{"job_id": 18446744073709551616, "parameters": []}'):
        assert mcai.read_job_id(body) is None
    assert mcai.read_job_id('{"job_id": 18446744073709551615, "parameters": []}') == "18446744073709551615"


def test_a_command_of_mcai_is_answered_by_what_it_wrote() -> None:
    success = replace(DONE, echoed=MCAI, command=replace(RESULT, stdout=StreamResult(4, "done")))
    reply = mcai.success_answer(success, PLENTY)

    assert message_of(reply) == "done"
    answer = json.loads(reply)
    assert answer["destination_paths"] == ["s3://bucket/path/to/output.txt"]
    assert (answer["execution_duration"], answer["job_id"], answer["status"]) == (0.21, 123, "completed")


def test_an_archive_of_mcai_is_answered_by_its_link() -> None:
    archive = Archive("zips", "3f/download.zip", 5, 1, "e", None)
    success = replace(DONE, echoed=MCAI, command=None, archive=archive, link=Link("https://x/3f/download.zip"))
    reply = mcai.success_answer(success, PLENTY)

    assert message_of(reply) == "https://x/3f/download.zip"
    assert json.loads(reply)["destination_paths"] == ["s3://zips/3f/download.zip"]
    assert message_of(mcai.success_answer(replace(success, archive=None, link=None), PLENTY)) == ""


SILENT = replace(RESULT, stdout=StreamResult(0), stderr=StreamResult(0))
STDERR = replace(RESULT, exit_code=1, stdout=StreamResult(3, "out"), stderr=StreamResult(4, "err\n"))


@pytest.mark.parametrize(
    ("rejected", "message"),
    [
        (Rejected("invalid_request", "no"), "invalid_request: no"),
        (CommandRejected("command_failed", "it ended with 1", STDERR), "err\nout"),
        (CommandRejected("command_failed", "it ended with 1", SILENT), "command_failed: it ended with 1"),
        (CommandRejected("command_timeout", "over", STDERR), "command_timeout: over\nerr\nout"),
        (CommandRejected("command_failed", "no", RESULT), "s3://bucket/path/to/stderr.txt\nread 14 bytes\n"),
    ],
)
def test_every_failure_of_mcai_is_one_message(rejected: Rejected, message: str) -> None:
    reply = mcai.failure_answer(MCAI, rejected, PLENTY)

    assert message_of(reply) == message
    assert json.loads(reply)["status"] == "error"
    assert json.loads(reply)["execution_duration"] == (0.0 if rejected.result is None else 0.21)
    assert json.loads(mcai.failure_answer(EchoedFields(), rejected, PLENTY)) == {"message": message, "status": "error"}


def test_a_cancelled_job_of_mcai_is_an_error() -> None:
    assert message_of(mcai.cancelled_answer(MCAI, "id", PLENTY)) == "the job was cancelled"


@pytest.mark.parametrize("limit", [400, 3000, 40_000])
@pytest.mark.parametrize("text", ["x" * 50_000, '"\n\u00e9\U0001f600\0' * 9000], ids=["plain", "escaped"])
def test_a_reply_of_mcai_that_is_too_long_keeps_the_end_of_its_text(limit: int, text: str) -> None:
    long = replace(RESULT, stdout=StreamResult(len(text), text), outputs=(OUTPUT,) * 200)
    for url in (None, "https://x/whole.json"):
        reply = mcai.success_answer(replace(DONE, echoed=MCAI, command=long), limit, url)
        assert len(reply.encode()) <= limit
        begin = f"{url}\n" if url else ""
        assert message_of(reply).startswith(begin)
        assert text.endswith(message_of(reply).removeprefix(begin))
    alone = replace(long, outputs=())
    reply = mcai.success_answer(replace(DONE, echoed=MCAI, command=alone), limit)
    assert limit - 12 < len(reply.encode()) <= limit


def test_progress_of_mcai_is_a_percentage() -> None:
    def event(done: int, planned: int) -> Any:
        progress = Progress(bytes=done, bytes_planned=planned)
        return json.loads(mcai.progress_event(MCAI, "building", progress, NOW, PLENTY))

    assert event(1, 3) == {
        "datetime": "2021-01-28T10:00:00.123456000Z",
        "docker_container_id": mcai.INSTANCE_ID,
        "job_id": 123,
        "progression": 33,
    }
    assert [event(*counts)["progression"] for counts in ((0, 0), (3, 3), (5, 3))] == [0, 100, 100]
    assert json.loads(mcai.progress_event(EchoedFields(), "building", Progress(), NOW, PLENTY))["job_id"] is None


def order(*parameters: dict[str, Any], job_id: object = 1) -> str:
    return json.dumps({"job_id": job_id, "parameters": list(parameters)})


def parameter(name: str, value: Any, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "value": value, **more}


TEMPLATE = parameter("command_template", "run {a}")


def test_parameters_of_mcai_have_types_and_defaults() -> None:
    request = mcai.parse_request(
        order(
            TEMPLATE,
            parameter("a", None, default="d"),
            parameter("b", "12", "integer"),
            parameter("c", "0.5", "float"),
            parameter("d", "true", "boolean"),
            parameter("e", 2, "boolean"),
            parameter("f", ["x"], "array_of_strings"),
            parameter("g", None),
            parameter("h", [{"start": 1}], "array_of_media_segments"),
            parameter("r", {"paths": ["/data/a"]}, "requirements", store=None),
            parameter("source_paths", ["/x"], "array_of_strings"),
            parameter("i", 12, "integer"),
            parameter("j", 1.5, "float"),
        )
    )

    assert isinstance(request.command, TemplateCall)
    assert request.command.template == "run {a}"
    assert request.command.paths == ("/data/a",)
    assert request.command.parameters == {
        "a": "d",
        "b": 12,
        "c": 0.5,
        "d": True,
        "e": True,
        "f": ["x"],
        "i": 12,
        "j": 1.5,
    }


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ([TEMPLATE, parameter("a", "HOME", store="env")], "$.parameters[1].store is refused"),
        ([parameter("a", "key", store="BACKEND"), TEMPLATE], "$.parameters[0].store is refused"),
        ([parameter("a", None, "filter", store="ENV")], "store is refused"),
        ([TEMPLATE, parameter("exec_dir", "/etc")], "exec_dir is refused"),
        ([parameter("command_template", ["a"], "array_of_strings")], "command_template should be a string"),
        ([TEMPLATE, TEMPLATE], "$.parameters[1].id occurs twice"),
        ([parameter("a", 1)], "$.parameters[0].value should be text"),
        ([parameter("a", "x", "integer")], "should be a whole number"),
        ([parameter("a", True, "integer")], "should be a whole number"),
        ([parameter("a", "x", "float")], "should be a number"),
        ([parameter("a", "yes", "boolean")], "should be true or false"),
        ([parameter("a", [], "boolean")], "should be true or false"),
        ([parameter("a", [1], "array_of_strings")], "should be a list of texts"),
        ([parameter("a", {"paths": "x"}, "requirements")], "whose paths are a list"),
        ([parameter("a", [], "requirements")], "whose paths are a list"),
        ([parameter("a", {"paths": ["x"] * 1001}, "requirements")], "whose paths are a list"),
        ([{"type": "string"}], "$.parameters[0].id should be text"),
        ([{"id": "a"}], "$.parameters[0].type should be text"),
        (["a"], "$.parameters[0] should be an object"),
        ([parameter(f"p{number}", "") for number in range(1001)], "has more than 1,000 items"),
        ([], "has neither a parameter command_template nor files"),
        ([parameter("files", "[")], "the parameter files is neither a list nor JSON"),
        ([parameter("files", "5")], "$.files should be a list"),
        ([parameter("files", ["a"], "array_of_strings"), parameter("on_missing", "shrug")], "$.on_missing"),
    ],
)
def test_an_order_of_mcai_that_is_none_is_refused(parameters: list[Any], told: str) -> None:
    with pytest.raises(Rejected) as caught:
        mcai.parse_request(order(*parameters))
    assert (caught.value.code, told in caught.value.message) == ("invalid_request", True), caught.value


def test_the_number_of_a_job_of_mcai_has_64_bits() -> None:
    with pytest.raises(Rejected, match=r"\$\.job_id should be a whole number from 0"):
        mcai.parse_request(order(TEMPLATE, job_id=-1))


def test_an_order_of_mcai_with_files_is_an_archive() -> None:
    listed = mcai.parse_request(
        order(parameter("files", ["a.jpg", "s3://b/c"], "array_of_strings"), parameter("archive_name", "x.zip"))
    )
    text = mcai.parse_request(order(parameter("files", '[{"source": "a.jpg", "name": "b.jpg"}]')))
    manifest = mcai.parse_request(order(parameter("manifest", "s3://b/list.csv")))

    assert [entry.source for entry in listed.files] == ["a.jpg", "s3://b/c"]
    assert (listed.archive_name, listed.job_id, listed.kind) == ("x.zip", "1", "archive")
    assert [entry.source for entry in text.files] == ["a.jpg"]
    assert manifest.manifest == "s3://b/list.csv"
