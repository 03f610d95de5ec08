"""References in settings: how they are read, what they select, and what is told of those that can't be used."""

import pytest

from archiver.core.references import (
    Reference,
    ReferencedText,
    ReferenceProblem,
    calls_for,
    find_references,
    is_reference,
    parse_reference,
    reference_arn,
    select_value,
)
from archiver.settings import SettingsError, load_settings, variables

SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:archiver/keys-AbCdEf"
QUEUE = "arn:aws-cn:sqs:cn-north-1:123456789012:jobs"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("ssm:/archiver/base-url", Reference("ssm", "/archiver/base-url")),
        (" ssm:/archiver/base-url:3 ", Reference("ssm", "/archiver/base-url:3")),
        ("ssm:plain", Reference("ssm", "plain")),
        ("secretsmanager:archiver/keys", Reference("secretsmanager", "archiver/keys")),
        (f"secretsmanager:{SECRET_ARN}#a.b", Reference("secretsmanager", SECRET_ARN, "a.b")),
        ('secretsmanager:keys#"the key"[0]', Reference("secretsmanager", "keys", '"the key"[0]')),
    ],
)
def test_a_reference_names_a_parameter_or_a_secret_and_what_is_taken_of_it(text: str, reference: Reference) -> None:
    assert is_reference(text)
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", "photos", "https://ssm:1/", "arn:aws:ssm:eu-west-1:1:parameter/a", "SSM:/a", "ssm"]
)
def test_other_values_are_none(text: str) -> None:
    assert not is_reference(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ssm:", "write ssm:/path"),
        ("ssm:/a b", "write ssm:/path"),
        ("secretsmanager:", "write secretsmanager:NAME"),
        ("secretsmanager:keys#", "write secretsmanager:NAME"),
        ("secretsmanager:keys#a..b", "no JMESPath expression"),
    ],
)
def test_what_is_no_valid_reference_is_told_with_its_variable_and_what_to_write(text: str, told: str) -> None:
    found, (problem,) = find_references({"ARCHIVE_KEY_SECRET": text}, variables())

    assert found == {}
    assert problem.startswith("ARCHIVE_KEY_SECRET: ") and told in problem


def test_only_settings_are_looked_at() -> None:
    environ = {"SQS_SOURCE": "ssm:/queue", "EDITOR": "ssm:/nothing", "S3_SOURCE_BUCKET": "photos"}

    assert find_references(environ, variables()) == ({"SQS_SOURCE": Reference("ssm", "/queue")}, [])


def test_ten_parameters_are_asked_for_in_one_call_and_each_once() -> None:
    references = [Reference("ssm", f"/{number % 12}") for number in range(20)] + [Reference("secretsmanager", "x")]

    assert [len(call) for call in calls_for(references)] == [10, 2]


@pytest.mark.parametrize(
    ("expression", "value"),
    [(None, '{"a": {"b": "text", "n": 7, "f": 0.5}}'), ("a.b", "text"), ("a.n", "7"), ("a.f", "0.5")],
)
def test_an_expression_gives_a_text_or_a_number_and_none_gives_all(expression: str | None, value: str) -> None:
    secret = '{"a": {"b": "text", "n": 7, "f": 0.5}}'

    assert select_value(Reference("secretsmanager", "keys", expression), secret) == value


@pytest.mark.parametrize(
    ("expression", "told"),
    [("gone", "nothing at gone"), ("a", "neither"), ("flag", "neither"), ("list", "neither"), ("empty", "is empty")],
)
def test_what_is_neither_is_told_without_the_value(expression: str, told: str) -> None:
    secret = '{"a": {"b": "hunter2"}, "flag": true, "list": ["hunter2"], "empty": " "}'

    with pytest.raises(ReferenceProblem, match=told) as caught:
        select_value(Reference("secretsmanager", "keys", expression), secret)
    assert "hunter2" not in str(caught.value)


def test_an_expression_for_a_secret_that_is_no_json_is_told_without_the_secret() -> None:
    with pytest.raises(ReferenceProblem, match="keys is not JSON") as caught:
        select_value(Reference("secretsmanager", "keys", "a"), "hunter2")
    assert "hunter2" not in str(caught.value) and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "arn"),
    [
        ("ssm:/a/b:3", "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/a/b"),
        ("ssm:plain", "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/plain"),
        ("secretsmanager:keys#a", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:keys-??????"),
        (f"secretsmanager:{SECRET_ARN}", SECRET_ARN),
    ],
)
def test_a_policy_names_the_parameter_or_secret_itself(text: str, arn: str) -> None:
    assert reference_arn(parse_reference(text), QUEUE) == arn


def test_a_message_about_an_invalid_setting_does_not_show_what_came_by_reference() -> None:
    environ = {
        "SQS_SOURCE_QUEUE": "requests",
        "S3_DESTINATION_BUCKET": "archives",
        "MAX_CONCURRENT_JOBS": ReferencedText(" hunter2 "),
    }

    with pytest.raises(SettingsError) as caught:
        load_settings(environ)

    (problem,) = caught.value.problems
    assert problem.startswith("MAX_CONCURRENT_JOBS: what its reference gives should be a whole number")
    assert "hunter2" not in problem


def test_a_value_by_reference_is_a_setting_like_any_other() -> None:
    settings = load_settings(
        {
            "SQS_SOURCE": ReferencedText("requests"),
            "S3_DESTINATION_BUCKET": ReferencedText("archives"),
            "MAX_CONCURRENT_JOBS": ReferencedText("7"),
            "ARCHIVE_KEY_SECRET": ReferencedText("hunter2"),
        }
    )

    assert (settings.source_queue, settings.destination_bucket, settings.max_concurrent_jobs) == (
        "requests",
        "archives",
        7,
    )
    assert settings.key_secret is not None and settings.key_secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
