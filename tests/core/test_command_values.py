"""Values of requests for commands, by the types that the operator gives them."""

import json
from typing import Any

import pytest

from archiver.core.command_values import ValueProblem, check_path, check_uri, check_value, check_values
from archiver.core.commands import Parameter
from archiver.core.locations import AllowList, Location

PLACES = AllowList("", {"mybucket": ("",), "other": ("pub/",)})
WORD = Parameter("text", r"[\w.-]+")
ANY = Parameter("text", r"(?s).*")
SIZES = Parameter("integer", min=16, max=4096)
URI = Parameter("s3_uri", allowed=PLACES)
DATA = Parameter("path", under="/data")

NO_INTEGERS: tuple[object, ...] = (True, 17.0, "1e2", "x", "", "１６", " 17", 10**18)
NO_NUMBERS: tuple[object, ...] = (True, "NaN", "1e999", "0x1", ".5", [], "1" * 41)
NO_BOOLEANS: tuple[object, ...] = (1, "yes", None, [])


@pytest.mark.parametrize(
    ("parameter", "value", "word"),
    [
        (WORD, "a.b-c", "a.b-c"),
        (WORD, 12, "12"),
        (WORD, True, "true"),
        (Parameter("text", choices=("a b", "")), "a b", "a b"),
        (Parameter("text", choices=("a b", "")), "", ""),
        (ANY, "a b;$(id)\n{x}'\"", "a b;$(id)\n{x}'\""),
        (Parameter("text", ".*", dash=True), "--all", "--all"),
        (SIZES, 16, "16"),
        (SIZES, "0256", "256"),
        (Parameter("integer", dash=True), -5, "-5"),
        (Parameter("number"), 0.25, "0.25"),
        (Parameter("number"), "1.5e3", "1.5e3"),
        (Parameter("number", min=0.5, max=2), 2, "2"),
        (Parameter("boolean"), True, "true"),
        (Parameter("boolean"), "false", "false"),
        (URI, "s3://mybucket/media.mp4", "s3://mybucket/media.mp4"),
        (URI, "S3://mybucket/a b/", "s3://mybucket/a b/"),
        (URI, "s3://mybucket", "s3://mybucket/"),
        (URI, "s3://other/pub/x", "s3://other/pub/x"),
        (DATA, "/data/element_filename.mp4", "/data/element_filename.mp4"),
        (DATA, "/data/a b/", "/data/a b/"),
        (DATA, "/data/", "/data/"),
    ],
)
def test_a_value_that_its_type_allows_is_one_word(parameter: Parameter, value: object, word: str) -> None:
    assert check_value(parameter, value) == word


@pytest.mark.parametrize(
    ("parameter", "value", "told"),
    [
        (WORD, "a b", "does not match its pattern in POLICY_FILE: 'a b'"),
        (WORD, "a\n", r"does not match its pattern in POLICY_FILE: 'a\n'"),
        (WORD, "", "does not match"),
        (WORD, "-x", "begins with -, as an option does: '-x'"),
        (WORD, ["a"], "should be a text"),
        (WORD, None, "should be a text"),
        (ANY, "a\0b", "has a NUL"),
        (ANY, "\ud800", "half of a surrogate pair"),
        (ANY, "x" * 4097, "more than 4,096 characters"),
        (Parameter("text", choices=("a",)), "A" * 200, f"is none of the choices in POLICY_FILE: '{'A' * 100}'…"),
        (SIZES, 15, "should be at least 16"),
        (SIZES, 4097, "should be at most 4096"),
        *((SIZES, value, "should be a whole number") for value in NO_INTEGERS),
        (Parameter("integer"), -5, "begins with -"),
        *((Parameter("number"), value, "should be a number") for value in NO_NUMBERS),
        (Parameter("number", max=1), 1.5, "should be at most 1"),
        *((Parameter("boolean"), value, "should be true or false") for value in NO_BOOLEANS),
        *((URI, value, "should be an S3 URI") for value in ("mybucket/a", "/a", "http://mybucket/a", "")),
        (URI, 5, "should be a text"),
        (URI, "s3://my_x!/a", "invalid bucket name"),
        (URI, "s3://mybucket2/a", "s3://mybucket2/a is outside its allowed places in POLICY_FILE"),
        (URI, "s3://other/pub", "is outside its allowed places"),
        (URI, "s3://other/pub/../x", "has a part that is . or .."),
        (URI, "s3://mybucket/\0", "has a NUL"),
        *(
            (DATA, value, "should be an absolute path below /data")
            for value in (
                "/data",
                "/data2/x",
                "data/x",
                "/data/../x",
                "/data//x",
                "/data/./x",
                "/data/..",
                "",
                "//data/x",
            )
        ),
        (DATA, 7, "should be a text"),
    ],
)
def test_any_other_value_is_refused(parameter: Parameter, value: object, told: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        check_value(parameter, value)

    assert told in str(caught.value)
    assert caught.value.code in {"invalid_request", "command_not_allowed", "name_unsafe"}


def test_a_list_becomes_a_word_for_each_of_its_texts() -> None:
    names = Parameter("text_list", "[a-z ]*")

    assert check_values(names, ["a b", ""]) == ("a b", "")
    assert check_values(names, []) == ()
    wrong: list[Any] = ["a", None, ["A"], ["-a"], [["a"]], ["a"] * 1001]
    for value in wrong:
        with pytest.raises(ValueProblem):
            check_values(names, value)


def test_an_object_is_not_a_prefix() -> None:
    assert check_uri("s3://bucket/a/", prefix=True) == Location("bucket", "a/")
    for uri in ("s3://bucket/a/", "s3://bucket", "s3://bucket/"):
        with pytest.raises(ValueProblem, match="names no object"):
            check_uri(uri)


def test_every_path_is_below_the_root() -> None:
    assert check_path("/a", "/") == "/a"


def test_numbers_are_written_as_json_writes_them() -> None:
    for value in (0, 1.0, 1e22, 2.5e-7):
        assert json.loads(check_value(Parameter("number"), value)) == value
