"""What a run of a command is, once it is decided: its words, and where its files are."""

import json

import pytest

from archiver.core.command_order import CommandOrder, LocalPath, Word, check_tree, local_path
from archiver.core.command_result import CommandRejected, CommandResult, StreamResult
from archiver.core.commands import Command, Container
from archiver.core.dialects.native import parse_request
from archiver.core.locations import Location
from archiver.core.request_hash import request_hash
from archiver.errors import Rejected


def test_a_word_stays_one_word_whatever_is_in_it() -> None:
    words = (Word(("a b;$(id)\n",)), Word(("--in=", LocalPath("in/b/k y.txt"))))
    order = CommandOrder(Command("c", (("x",),)), words, "h")

    assert order.words("/jobs/job-1") == ["a b;$(id)\n", "--in=/jobs/job-1/in/b/k y.txt"]


def test_a_command_with_a_container_is_run_by_docker() -> None:
    assert Command("c", ()).runner == "native"
    assert Command("c", (), container=Container("i")).runner == "docker"


def test_objects_that_are_siblings_in_s3_are_siblings_on_disk() -> None:
    assert local_path("in", Location("b", "p/poly.shp")) == "in/b/p/poly.shp"
    assert local_path("out", Location("b", "p/a:b?.dbf ")) == "out/b/p/a:b?.dbf "


@pytest.mark.parametrize(
    ("key", "told"),
    [
        *((key, "empty, `.` or `..`") for key in ("", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "./a", "a/..")),
        ("a\0b", "has a NUL"),
        ("x" * 256, "more than 255 bytes"),
        ("\u00e9" * 128, "more than 255 bytes"),
    ],
)
def test_a_key_that_is_no_path_as_it_stands_is_refused_by_name(key: str, told: str) -> None:
    with pytest.raises(Rejected, match="name_unsafe") as caught:
        local_path("in", Location("bucket", key))

    assert told in caught.value.message
    assert [each.source for each in caught.value.sources] == [f"s3://bucket/{key}"]


def test_a_file_where_another_needs_a_folder_is_a_conflict() -> None:
    check_tree(["in/b/a", "in/b/ab", "in/b/a", "in/b/c/d", "in/b/c/e"])
    with pytest.raises(Rejected, match="in/b/a/c/d needs a folder where in/b/a is a file") as caught:
        check_tree(["in/b/a/c/d", "in/b/a"])
    assert caught.value.code == "name_conflict"


def test_a_rejection_has_the_end_of_its_command() -> None:
    result = CommandResult("c", 3, None, 0.5, StreamResult(0), StreamResult(3, "no\n"))
    assert CommandRejected("command_failed", "it ended with 3", result).result is result


def test_a_request_has_either_files_or_what_stands_in_their_place() -> None:
    call = {"name": "c"}
    assert parse_request(json.dumps({"command": call})).kind == "command"
    assert parse_request(json.dumps({"command": call, "test": True})).kind == "ping"
    for more in ({"files": [{"source": "a"}]}, {"manifest": "m"}):
        with pytest.raises(Rejected, match=r"beside command: a request asks for an archive or for a command"):
            parse_request(json.dumps({"command": call, **more}))
    with pytest.raises(Rejected, match="beside cancel: a message that cancels a job asks for nothing else"):
        parse_request(json.dumps({"command": call, "cancel": "j"}))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"more": 1}, "$.command.more is unknown"),
        ({"stdin": {"type": "uri"}}, "$.command.stdin needs a value: the s3:// URI of an object"),
        ({"parameters": {"a": {}}}, "$.command.parameters.a should be text, a number, true or false"),
        ({"parameters": {"a": [[]]}}, "$.command.parameters.a should be text, a number, true or false"),
        ({"parameters": {"a": "x" * 4097}}, "$.command.parameters.a should have at most 4,096 characters"),
        ({"parameters": {"a": [1] * 1001}}, "$.command.parameters.a should have at most 1,000 items"),
        ({"parameters": []}, "$.command.parameters should be an object"),
        ({"arguments": [{"type": "file"}]}, "$.command.arguments[0].type should be 'input', 'output' or 'parameter'"),
        ({"input": ["s3://b/k"] * 1001}, "$.command.input should have at most 1,000 items"),
        ({"input": [""]}, "$.command.input[0] should not be empty"),
        ({"name": None}, "$.command.name is required"),
    ],
)
def test_what_is_wrong_with_a_command_is_told_by_its_place(more: dict[str, object], told: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_request(json.dumps({"command": {"name": "c", **more}}))
    assert (caught.value.code, caught.value.message) == ("invalid_request", told)


def test_the_same_command_has_the_same_hash() -> None:
    def hashed(**call: object) -> str:
        return request_hash(parse_request(json.dumps({"command": {"name": "c", **call}})))

    assert hashed() == hashed(stdin=None) == hashed(queue="docker")
    different = [hashed(), hashed(parameters={"a": 1}), hashed(parameters={"a": "1"}), hashed(input=["s3://b/k"])]
    assert len(set(different)) == 4
