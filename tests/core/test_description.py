"""What a worker tells of itself, in the form of the Media Cloud AI SDK."""

from jsonschema import Draft7Validator

from archiver.core.commands import Command, Parameter, Placeholder
from archiver.core.description import command_schema, describe_worker

CONVERT = Command(
    "convert",
    ((Placeholder("width"),),),
    parameters={
        "width": Parameter("integer", min=16, max=4096),
        "format": Parameter("text", choices=("png", "jpeg"), default="png"),
        "label": Parameter("text", pattern="[a-z]{1,3}", default="a"),
        "tags": Parameter("text_list", default=("a",)),
        "quality": Parameter("number", default=0.5),
        "strip": Parameter("boolean", default=False),
        "source": Parameter("s3_uri", default="s3://photos/a"),
        "target": Parameter("path", under="/data", default="/data/a"),
    },
    description="Scales a picture",
)
COPY = Command(
    "copy",
    (("aws",),),
    accepts=(("aws", "s3", "cp", Placeholder("source"), "--metadata", "a b {}"),),
    parameters={"source": Parameter("s3_uri")},
)


def test_description_has_the_fields_of_the_sdk() -> None:
    told = describe_worker("host", "job_aws_cli", "0.2.0")

    assert list(told) == [
        "instance_id",
        "queue_name",
        "label",
        "short_description",
        "description",
        "version",
        "sdk_version",
        "parameters",
    ]
    assert (told["instance_id"], told["queue_name"], told["version"]) == ("host", "job_aws_cli", "0.2.0")


def test_without_a_queue_it_tells_that_of_the_sdk() -> None:
    assert describe_worker("host", None, "0.2.0")["queue_name"] == "job_undefined"


def test_parameters_are_a_schema_of_draft_7_that_takes_archives_and_commands_and_nothing_else() -> None:
    schema = describe_worker("host", None, "0.2.0", [CONVERT])["parameters"]
    Draft7Validator.check_schema(schema)
    judge = Draft7Validator(schema)

    assert judge.is_valid({"files": ["s3://photos/a.jpg"], "archive_name": "a.zip"})
    assert judge.is_valid({"width": 16, "format": "jpeg", "label": "ab", "tags": ["x"], "target": "/data/b"})
    for wrong in ({"width": 15}, {"width": 4097}, {"width": 16, "format": "gif"}, {"width": 16, "label": "ab1"}):
        assert not judge.is_valid(wrong)
    assert not judge.is_valid({"width": 16, "source": "photos/a"})
    assert not judge.is_valid({"files": []})
    assert not judge.is_valid({})


def test_a_command_that_accepts_command_lines_shows_them() -> None:
    """With literal braces and spaces as a request has to write them."""
    schema = command_schema(COPY)

    assert schema["required"] == ["command_template"]
    assert schema["properties"]["command_template"]["examples"] == ["aws s3 cp {source} --metadata 'a b {{}}'"]
    assert schema["properties"]["source"] == {"type": "string", "pattern": "^[sS]3://"}


def test_it_names_its_commands() -> None:
    told = describe_worker("host", None, "0.2.0", [CONVERT, COPY])

    assert told["description"].endswith("runs one of: convert, copy")
    assert [one["title"] for one in told["parameters"]["anyOf"]] == ["convert", "copy", "archive"]
    assert "command" not in describe_worker("host", None, "0.2.0")["description"]
