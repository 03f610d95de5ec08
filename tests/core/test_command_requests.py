"""From the request for a command to the order: the operator's words, with what the request may fill in."""

import json
from typing import Any

import pytest
from core.operator_files import ALL_TYPES, STUDY, lanlytics, mcai, native, order_of, rejected, rules_of, words_of
from core.seed_messages import AWS_CLI_MESSAGE, LANLYTICS_MESSAGE

from archiver.core.archive_rules import ArchiveRules
from archiver.core.command_order import Confined, Input, Output
from archiver.core.command_requests import order_command
from archiver.core.commands import CommandCredentials, Container
from archiver.core.dialects.native import parse_request
from archiver.core.locations import AllowList, Location
from archiver.core.messages import Request
from archiver.errors import Rejected

RULES = rules_of(STUDY)


def test_the_message_of_the_aws_cli_worker_runs_the_operators_words() -> None:
    order = order_of(AWS_CLI_MESSAGE, RULES)

    assert order.words("/job") == [
        *("aws", "s3", "cp", "--no-progress", "s3://mybucket/media.mp4", "/data/element_filename.mp4")
    ]
    assert order.confined == (Confined("/data/element_filename.mp4", "/data"),)
    assert order.command.credentials == CommandCredentials()
    assert (order.command.runner, order.command.limits.timeout) == ("native", 3600)


def test_the_message_of_the_lanlytics_worker_runs_its_service() -> None:
    order = order_of(LANLYTICS_MESSAGE, RULES)

    assert order.words("/job") == [
        *("--infile", "/job/in/bucket/path/to/input.txt", "--arg1", "myargvalue"),
        *("--outfile", "/job/out/bucket/path/to/output.txt"),
    ]
    assert order.command.container == Container("registry.example.com/tools/my_service@sha256:6f1e")
    assert (order.stdin, order.stdout) == ("raw input data", None)
    assert order.stderr == Location("bucket", "path/to/stderr.txt")
    infile, more = "s3://bucket/path/to/input.txt", "s3://bucket/path/to/some/input"
    assert order.inputs == (
        Input(infile, Location("bucket", "path/to/input.txt"), "in/bucket/path/to/input.txt"),
        Input(more, Location("bucket", "path/to/some/input"), "", is_prefix=True),
    )
    outfile, rest = "s3://bucket/path/to/output.txt", "s3://bucket/path/to/some/output"
    assert order.outputs == (
        Output(outfile, Location("bucket", "path/to/output.txt"), "out/bucket/path/to/output.txt"),
        Output(rest, Location("bucket", "path/to/some/output"), "out/bucket/path/to/some/output", is_prefix=True),
    )


def test_the_native_form_names_the_command() -> None:
    arguments = [
        {"type": "input", "value": "s3://photos/a.jpg"},
        {"type": "output", "value": "s3://thumbs/small/a.jpg"},
    ]
    words = ["python", "/opt/tools/my_script.py", "--width"]
    files = ["/job/in/photos/a.jpg", "/job/out/thumbs/small/a.jpg"]

    for given, width in ((512, "512"), (None, "256"), ("0300", "300")):
        body = native(name="thumbnails", parameters={"width": given}, arguments=arguments)
        assert words_of(body, RULES) == [*words, width, *files]
    body = native(name="thumbnails", arguments=arguments, stdin={"type": "uri", "value": "s3://photos/list.txt"})
    order = order_of(body, RULES)
    assert (
        order.stdin
        == order.inputs[-1]
        == Input("s3://photos/list.txt", Location("photos", "list.txt"), "in/photos/list.txt")
    )


def test_a_file_that_is_named_twice_is_read_once() -> None:
    one = ("input", "--infile", "s3://bucket/path/a")
    assert len(order_of(lanlytics(one, one), RULES).inputs) == 1


def test_files_and_lists_stand_where_the_operator_put_them() -> None:
    arguments = [
        {"type": "parameter", "name": "-v"},
        {"type": "parameter", "name": "--level"},
        {"type": "parameter", "name": "--level", "value": -1},
        {"type": "parameter", "name": "--size", "value": 5},
        {"type": "input", "name": "--more", "value": "s3://src/2"},
    ]
    values = {"in": "s3://src/k y", "out": "s3://dst/o", "names": ["y z", "x"], "text": "{in} b"}
    body = native(name="all", parameters=values, arguments=arguments)

    assert words_of(body, rules_of(ALL_TYPES)) == [
        *("tool", "-i=/job/in/src/k y", "--to", "/job/out/dst/o", "y z", "x", "{{in} b}"),
        *("-v", "--level", "--level", "-1", "--size=5", "--more=/job/in/src/2"),
    ]
    assert words_of(mcai("tool s3://src/k s3://dst/o {t}", t="a b"), rules_of(ALL_TYPES)) == [
        *("tool", "-i=/job/in/src/k", "--to", "/job/out/dst/o", "{a b}")
    ]


NO, NO_SOURCE, BAD = "command_not_allowed", "source_not_allowed", "invalid_request"
PLACE = "s3://bucket/path/"
IN, OUT = ("input", "--infile", f"{PLACE}i"), ("output", "--outfile", f"{PLACE}o")
MANY = [("input", "--infile", f"{PLACE}{number}") for number in range(1000)]


def arg1(value: object, kind: str = "parameter") -> str:
    return lanlytics((kind, "--arg1", value))


def infile(value: object) -> str:
    return lanlytics(("input", "--infile", value))


def uri(value: str) -> dict[str, str]:
    return {"type": "uri", "value": value}


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (native(name="rm"), NO, "'rm' is no command of the worker's POLICY_FILE"),
        (native(name="thumbnails", queue="docker"), NO, "is in the wrong queue"),
        (lanlytics(queue="gpu"), NO, "queue is 'gpu', and the command my_service is of docker"),
        (native(name="thumbnails"), BAD, "needs 2 arguments without a name"),
        (native(name="thumbnails", parameters={"height": 1}), NO, "has no parameter 'height'"),
        (native(name="thumbnails", parameters={"width": 5}), NO, "parameter width should be at least 16"),
        (native(name="aws-s3-cp"), BAD, "needs the parameter source"),
        (lanlytics(("parameter", "--arg2", "v")), NO, "argument 1 ('--arg2') is not in the command my_service"),
        (lanlytics(("parameter", None, "v")), NO, "argument 1 is not in the command my_service"),
        (arg1(f"{PLACE}i", "input"), NO, "is of the type input; POLICY_FILE says parameter"),
        (arg1(None), BAD, "argument 1 ('--arg1') needs a value"),
        (arg1("a b"), NO, "does not match its pattern"),
        (arg1("-x"), NO, "begins with -"),
        (infile("/etc/passwd"), BAD, "should be an S3 URI"),
        (infile(5), BAD, "should be a text"),
        (infile("s3://bucket/path/"), BAD, "names no object"),
        (infile("s3://other/path/i"), NO_SOURCE, "is outside the command's inputs in POLICY_FILE"),
        (infile("s3://bucket/path/../i"), "name_unsafe", "has a part that is . or .."),
        (infile("s3://bucket/path//i"), "name_unsafe", "can't be a file"),
        (lanlytics(("output", "--outfile", "s3://bucket/paths/o")), NO, "is outside the command's outputs"),
        (lanlytics(input=["s3://bucket/"]), NO_SOURCE, "input[0]: s3://bucket/ is outside"),
        (lanlytics(output=["s3://bucket/path/", "s3://x"]), BAD, "output[1] has an invalid bucket name"),
        (lanlytics(stdin=uri("s3://bucket/x")), NO_SOURCE, "stdin: s3://bucket/x is outside"),
        (lanlytics(stdout=uri("s3://bucket/x")), NO, "stdout s3://bucket/x is outside"),
        (lanlytics(OUT, stdout=uri(OUT[2])), "name_conflict", "two outputs of the request"),
        (
            lanlytics(IN, ("input", "--infile", f"{IN[2]}/j")),
            "name_conflict",
            "needs a folder where in/bucket/path/i is a file",
        ),
        (lanlytics(*MANY, input=[f"{PLACE}x"]), "too_large", "1,001 inputs; max_inputs is 1,000"),
        (mcai("rm -rf /"), NO, "accepts these words: 'rm' '-rf' '/'"),
        (mcai("x " * 11), NO, "'x' …"),
        (mcai("aws s3 cp s3://mybucket/a /data/b; rm -rf /"), NO, "accepts these words"),
        (mcai("aws s3 cp {a} {b}", a="s3://mybucket/x"), BAD, "has {b}, for which the request has no value"),
        (mcai("aws s3 cp s3://mybucket/a /etc/passwd"), NO, "parameter target should be an absolute path below /data"),
        (mcai("aws s3 cp {a} /data/b", a="s3://mybucket/x --endpoint-url http://evil"), "", ""),
    ],
)
def test_what_the_operator_does_not_allow_is_refused_by_name(body: str, code: str, told: str) -> None:
    if not code:  # whatever it looks like, it is the key of one object
        assert words_of(body, RULES)[-2] == "s3://mybucket/x --endpoint-url http://evil"
        return
    refused = rejected(body)
    assert (refused.code, told in refused.message) == (code, True), refused


def test_inputs_are_allowed_sources_as_well() -> None:
    refused = rejected(lanlytics(IN), allowed=AllowList.parse("bucket/other/", "zips"))

    assert (refused.code, "S3_ALLOWED_SOURCES" in refused.message) == ("source_not_allowed", True)
    assert [one.source for one in refused.sources] == [IN[2]]


def test_a_line_is_bounded() -> None:
    text = '[commands.c]\nargv = ["x", "{a}"]\n[commands.c.parameters]\na = { type = "text_list", pattern = ".*" }\n'
    order_of(native(name="c", parameters={"a": ["y" * 4000] * 32}), rules_of(text))
    assert rejected(native(name="c", parameters={"a": ["y" * 4000] * 33}), text).code == "too_large"
    assert rejected(native(name="c", parameters={"a": ["\ud800"]}), text).code == "invalid_request"
    assert rejected(mcai("x {a}", a="y" * 4097), text).message == (
        "command_template has {a}, whose value has more than 4,096 characters"
    )


def test_standard_input_is_text() -> None:
    assert rejected(lanlytics(stdin={"type": "pipe", "value": "\ud800"})).code == "invalid_request"
    assert order_of(lanlytics(stdin={"type": "pipe", "value": None}), RULES).stdin == ""


@pytest.mark.parametrize(
    "more",
    [
        {"after": {"action": "delete"}},
        {"on_missing": "skip"},
        {"wait_for": {"timeout": 5}},
        {"strategy": "copy"},
        {"expires_in": "7d"},
    ],
)
def test_what_is_of_archives_is_refused_beside_a_command(more: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=f"{next(iter(more))} is of archives") as caught:
        order_command(parse_request(json.dumps({"command": {"name": "thumbnails"}, **more})), RULES)
    assert caught.value.code == "invalid_request"


def test_a_request_without_a_command_is_none() -> None:
    with pytest.raises(Rejected, match="command is required"):
        order_command(Request.model_construct(files=()), RULES)


def test_without_commands_in_the_file_none_is_run() -> None:
    request = parse_request(native(name="thumbnails"))
    with pytest.raises(Rejected, match="this worker runs no commands") as caught:
        ArchiveRules("photos", "zips", AllowList("zips")).order_command(request)
    assert caught.value.code == "command_not_allowed"
    with pytest.raises(Rejected, match="needs 2 arguments"):
        ArchiveRules("photos", "zips", AllowList("zips"), commands=RULES.commands).order_command(request)
