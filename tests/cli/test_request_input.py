"""Requests as people write them: options become a body, and a slip of the pen is told where it is."""

import json
from pathlib import Path

import pytest

from archiver.cli.console import CommandError
from archiver.cli.request_input import MAX_BODY_BYTES, RequestInput, build_body, parse_file, parse_meta, unknown_fields


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a.jpg", {"source": "a.jpg"}),
        ("s3://photos/a.jpg=album", {"source": "s3://photos/a.jpg", "destination": "album"}),
        (r"a\=b.jpg=x\=y", {"source": "a=b.jpg", "destination": "x=y"}),
        (r"a\b\\c", {"source": "a\\b\\c"}),
        ("a=", {"source": "a", "destination": ""}),
        ("end\\", {"source": "end\\"}),
    ],
)
def test_a_file_option_is_a_source_and_perhaps_a_destination(text: str, file: dict[str, str]) -> None:
    assert parse_file(text) == file


@pytest.mark.parametrize("text", ["", "=album", "a=b=c"])
def test_a_file_option_that_says_something_else_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match=r"should be SOURCE or SOURCE=DESTINATION"):
        parse_file(text)


def test_metadata_is_a_key_and_a_value_that_may_hold_anything() -> None:
    assert parse_meta("k=a=b") == ("k", "a=b")
    with pytest.raises(CommandError, match="should be KEY=VALUE"):
        parse_meta("k")


def test_options_make_a_request_and_go_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"files": [{"source": "a"}], "job_id": "one", "metadata": {"x": 1, "y": 2}}', encoding="utf-8-sig")

    body = build_body(RequestInput(str(file), ["b=album"], [("job_id", "two"), ("compression", None)], ["y=3"]))

    assert json.loads(body) == {
        "files": [{"source": "a"}, {"source": "b", "destination": "album"}],
        "job_id": "two",
        "metadata": {"x": 1, "y": "3"},
    }


SEED = '{\n  "files": [{"source": "a"}],\n  "metadata" {"key": "value"}\n}'


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('{"files": [{"source": "a"},]}', ["line 1, column 28: trailing comma; remove the comma before"]),
        ('{"files": [{"source": "a",}]}', ["trailing comma"]),
        (SEED, ["line 3, column 14: missing colon", '    "metadata" {"key": "value"}', " " * 15 + "^"]),
        ("{'files': []}", ["JSON allows double quotes only"]),
        ('{"files": [] // none\n}', ["JSON allows no comments"]),
        ('// a request\n{"files": []}', ["JSON allows no comments"]),
        ('{"files": [{"source": "a"} {"source": "b"}]}', ["missing comma"]),
        ('{"files": [', ["it ends too early"]),
        ("", ["it is empty"]),
        ("[]", ["the request is not a JSON object"]),
        ('{"files": [], "files": []}', ["occurs twice"]),
        ('{"files": []}', ["$.files should not be empty"]),
        ('{"files": [{"src": "a"}]}', ["$.files[0].source is required"]),
        ('{"files": [{"source": "a"}], "on_missing": "ignore"}', ["$.on_missing"]),
    ],
)
def test_a_slip_of_the_pen_is_told_where_it_is_and_how_to_mend_it(
    text: str, sentences: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_text(text)

    with pytest.raises(CommandError) as caught:
        build_body(RequestInput(str(file)))

    told = "\n".join(caught.value.sentences)
    assert [sentence for sentence in sentences if sentence not in told] == []
    assert caught.value.code == 2


def test_what_is_no_text_or_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'{"files": [{"source": "\xfc"}]}')

    with pytest.raises(CommandError, match=r"is not UTF-8 \(byte 24\)"):
        build_body(RequestInput(str(tmp_path / "latin")))
    with pytest.raises(CommandError, match="can't be read: No such file"):
        build_body(RequestInput(str(tmp_path / "none")))
    with pytest.raises(CommandError, match="nothing to archive"):
        build_body(RequestInput(None))


def test_a_request_that_sqs_would_refuse_for_its_size_is_not_sent() -> None:
    with pytest.raises(CommandError, match="but SQS allows 1,048,576; split it"):
        build_body(RequestInput(None, [f"{'x' * 1000}{number}" for number in range(1100)]), max_bytes=MAX_BODY_BYTES)


def test_what_goes_to_no_queue_may_be_larger() -> None:
    assert len(build_body(RequestInput(None, [f"{'x' * 1000}{number}" for number in range(1100)]))) > MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("request_", "warnings"),
    [
        ({"on_mising": "skip"}, ["$.on_mising is unknown and ignored (did you mean on_missing?)"]),
        ({"user_email": "a@b.c"}, ["$.user_email is unknown and ignored"]),
        ({"metadata": {"on_mising": 1}}, []),
        (
            {"files": [{"source": "a"}, {"source": "b", "destinaton": "x"}, {"source": "c", "destinaton": "x"}]},
            ["$.files[1].destinaton is unknown and ignored (did you mean destination?)"],
        ),
        ({"files": [{"source": "a", "directory": "x", "name": ""}]}, []),
        ({"files": [{"src": "a"}]}, ["$.files[0].src is unknown and ignored (did you mean source?)"]),
        ({"files": 1}, []),
        (
            {f"x{number}": 1 for number in range(25)},
            [*(f"$.x{number} is unknown and ignored" for number in range(20)), "and 5 more unknown fields"],
        ),
    ],
)
def test_fields_that_a_worker_ignores_are_told_with_what_may_be_meant(
    request_: dict[str, object], warnings: list[str]
) -> None:
    assert unknown_fields(request_) == warnings


def test_a_field_that_is_ignored_is_a_warning_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"files": [{"source": "a"}], "on_mising": "skip"}')

    build_body(RequestInput(str(file)))

    assert capsys.readouterr().err == f"{file}: $.on_mising is unknown and ignored (did you mean on_missing?)\n"
