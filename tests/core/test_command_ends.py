"""What the end of a program means, which files go where, and how a result is remembered."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from archiver.core.command_memory import (
    UnreadableResultError,
    decode_result,
    encode_result,
    result_key,
    started_key,
)
from archiver.core.command_order import Output
from archiver.core.command_outputs import assign_outputs
from archiver.core.command_result import CommandRejected, CommandResult, StoredOutput, StreamResult
from archiver.core.command_verdict import ProgramEnd, judge
from archiver.core.commands import Command, Container
from archiver.core.locations import Location
from archiver.errors import ConfigurationError, Rejected, TransientError

NATIVE = Command("tool", (), retry_exit_codes=frozenset({75}))
DOCKER = replace(NATIVE, container=Container("image"))
RESULT = CommandResult("tool", 1, None, 0.5, StreamResult(0), StreamResult(9, "first\nlast \x07line\n"))


def test_exit_code_0_is_success() -> None:
    assert judge(NATIVE, ProgramEnd(0, None), RESULT) is None


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        (ProgramEnd(3, None), "command_failed", "tool ended with exit code 3: last ?line"),
        (ProgramEnd(127, None), "command_failed", "exit code 127"),
        (ProgramEnd(None, 11), "command_failed", "signal 11 (SIGSEGV)"),
        (ProgramEnd(None, 60), "command_failed", "signal 60"),
        (ProgramEnd(None, 15, "timeout"), "command_timeout", "600 seconds"),
        (ProgramEnd(0, None, "timeout"), "command_timeout", "600 seconds"),
        (ProgramEnd(None, 25, "disk"), "disk_limit", "2,147,483,648 bytes"),
    ],
)
def test_each_end_has_its_code_and_the_result_for_the_answer(end: ProgramEnd, code: str, text: str) -> None:
    error = judge(NATIVE, end, RESULT)

    assert isinstance(error, CommandRejected)
    assert (error.code, error.result) == (code, RESULT)
    assert text in error.message


def test_an_exit_code_may_mean_try_again_until_the_last_receive() -> None:
    error = judge(NATIVE, ProgramEnd(75, None), RESULT)

    assert isinstance(error, TransientError)
    assert isinstance(error.rejection, CommandRejected)


@pytest.mark.parametrize(("command", "end"), [(NATIVE, ProgramEnd(None, 9)), (DOCKER, ProgramEnd(137, None))])
def test_a_death_by_sigkill_is_the_kernels_unless_a_second_run_is_forbidden(command: Command, end: ProgramEnd) -> None:
    assert isinstance(judge(command, end, RESULT), TransientError)
    assert isinstance(judge(replace(command, at_most_once=True), end, RESULT), CommandRejected)


@pytest.mark.parametrize("code", [125, 126, 127])
def test_what_docker_can_not_do_is_the_operators_to_mend(code: int) -> None:
    assert isinstance(judge(DOCKER, ProgramEnd(code, None), RESULT), ConfigurationError)


def test_a_program_that_prints_nothing_is_told_as_well() -> None:
    error = judge(NATIVE, ProgramEnd(1, None), replace(RESULT, stderr=StreamResult(0)))

    assert isinstance(error, CommandRejected)
    assert error.message == "the command tool ended with exit code 1"


def outputs(*named: str, prefixes: Sequence[str] = ()) -> list[Output]:
    return [
        Output(f"s3://b/{key}", Location("b", key), f"out/b/{key}", is_prefix)
        for key, is_prefix in [*((key, True) for key in prefixes), *((key, False) for key in named)]
    ]


def test_files_go_where_the_request_says_and_the_others_are_counted() -> None:
    found = [
        "out/b/dir/x/y",
        "out/b/one",
        "out/b/poly.dbf",
        "out/b/poly.shp",
        "out/b/polyp/z",
        "out/other",
        "out/b/onetwo",
    ]

    assigned = assign_outputs(outputs("one", "dir", prefixes=["poly", "on"]), found)

    assert dict(assigned.files) == {
        "out/b/dir/x/y": Location("b", "dir/x/y"),
        "out/b/one": Location("b", "one"),
        "out/b/onetwo": Location("b", "onetwo"),
        "out/b/poly.dbf": Location("b", "poly.dbf"),
        "out/b/poly.shp": Location("b", "poly.shp"),
        "out/b/polyp/z": Location("b", "polyp/z"),
    }
    assert assigned.left_behind == 1


def test_a_named_output_that_was_not_made_rejects_the_job_and_a_prefix_without_files_does_not() -> None:
    assert assign_outputs(outputs(prefixes=["poly"]), []).files == []
    with pytest.raises(Rejected, match=r"s3://b/a, s3://b/b, s3://b/c, …") as raised:
        assign_outputs(outputs("a", "b", "c", "d"), [])

    assert [problem.code for problem in raised.value.sources] == ["output_missing"] * 4


@pytest.mark.parametrize("name", ["out/b/dir/\udcff", f"out/b/dir/{'x' * 1021}"])
def test_a_name_that_is_no_key_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="name_unsafe"):
        assign_outputs(outputs("dir"), [name])


def test_a_remembered_result_is_read_back_as_reused() -> None:
    result = replace(
        RESULT,
        exit_code=0,
        stdout=StreamResult(3, uri="s3://b/k"),
        inputs=2,
        outputs=(StoredOutput("s3://b/é", 3, '"e"'),),
        left_behind=1,
    )

    assert decode_result(encode_result(result)) == replace(result, reused=True)
    assert (result_key("3f"), started_key("3f")) == ("3f/result.json", "3f/started.json")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"version": 2}',
        b'{"version": 1}',
        b"[" * 100_000,
        b'{"version":1,"stdout":[]}',
        b"1",
    ],
)
def test_what_is_no_remembered_result_is_told(data: bytes) -> None:
    with pytest.raises(UnreadableResultError):
        decode_result(data)
