"""What a worker tells of itself, in the form of the Media Cloud AI SDK."""

from jsonschema import Draft7Validator

from archiver.core.description import describe_worker

CONVERT = {
    "title": "convert",
    "type": "object",
    "required": ["width"],
    "properties": {"width": {"type": "integer", "minimum": 16}},
}


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
    assert judge.is_valid({"width": 16})
    assert not judge.is_valid({"width": 15})
    assert not judge.is_valid({"files": []})
    assert not judge.is_valid({})


def test_it_names_its_commands() -> None:
    assert "convert" in describe_worker("host", None, "0.2.0", [CONVERT])["description"]
    assert "command" not in describe_worker("host", None, "0.2.0")["description"]
