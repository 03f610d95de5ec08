"""Parameters and secrets that settings refer to, on the emulated AWS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator import EmulatedAws, Emulator

from archiver.aws.references import read_references
from archiver.core.references import Reference, parse_reference
from archiver.doors.policy import load_policy, read_policy
from archiver.doors.references import resolve_references
from archiver.settings import SettingsError, load_environment

OUR_NAMES = [f"/archiver/{number}" for number in range(12)]


@pytest.fixture
def stores(aws: EmulatedAws, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """
    Clients of Systems Manager and Secrets Manager, with parameters and a secret. Without TLS: the event loop of the
    lookup ends before aiohttp has closed its TLS connections, and warnings are errors here.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.plain)
    import boto3  # noqa: PLC0415  # slow to import

    ssm, secrets = (
        boto3.client(name, endpoint_url=aws.endpoint, verify=aws.bundle) for name in ("ssm", "secretsmanager")
    )
    for name in OUR_NAMES:
        ssm.put_parameter(Name=name, Value=f"value of {name}", Type="SecureString", Overwrite=True)
    created = secrets.create_secret(Name="archiver/keys", SecretString='{"links": {"key": "hunter2", "days": 7}}')
    binary = secrets.create_secret(Name="archiver/binary", SecretBinary=b"\x00")
    yield ssm, created["ARN"]
    for arn in (created["ARN"], binary["ARN"]):
        secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    ssm.close()
    secrets.close()


def test_settings_get_the_values_that_they_refer_to_and_others_stay(stores: tuple[Any, Any]) -> None:
    environ = {
        "SQS_SOURCE_QUEUE": "ssm:/archiver/1",
        "S3_DESTINATION_BUCKET": "archives",
        "ARCHIVE_KEY_SECRET": "secretsmanager:archiver/keys#links.key",
        "LINK_EXPIRES_IN": f"secretsmanager:{stores[1]}#links.days",
        "CLOUDFRONT_PRIVATE_KEY": "secretsmanager:archiver/keys",
        "EDITOR": "ssm:/not/ours",
    }

    assert resolve_references(environ) == {
        "SQS_SOURCE_QUEUE": "value of /archiver/1",
        "S3_DESTINATION_BUCKET": "archives",
        "ARCHIVE_KEY_SECRET": "hunter2",
        "LINK_EXPIRES_IN": "7",
        "CLOUDFRONT_PRIVATE_KEY": '{"links": {"key": "hunter2", "days": 7}}',
        "EDITOR": "ssm:/not/ours",
    }


async def test_more_parameters_than_one_call_takes_are_all_found_with_their_versions(stores: tuple[Any, Any]) -> None:
    texts = {name: f"ssm:{name}" for name in OUR_NAMES} | {"versioned": "ssm:/archiver/1:1"}

    values, problems = await read_references({name: parse_reference(text) for name, text in texts.items()})

    assert problems == []
    assert values == {name: f"value of {name}" for name in OUR_NAMES} | {"versioned": "value of /archiver/1"}


def test_each_variable_whose_reference_fails_is_named_and_no_value_is_shown(
    stores: tuple[Any, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    environ = {
        "SQS_SOURCE_QUEUE": "ssm:/archiver/1",
        "SQS_FAILURE_QUEUE": "ssm:/archiver/gone",
        "ARCHIVE_KEY_SECRET": "secretsmanager:archiver/gone",
        "ARCHIVE_BASE_URL": "secretsmanager:archiver/keys#links.url",
        "CLOUDFRONT_PRIVATE_KEY": "secretsmanager:archiver/binary",
    }

    with pytest.raises(SettingsError) as caught:
        resolve_references(environ)

    assert sorted(caught.value.problems) == [
        "ARCHIVE_BASE_URL: the secret archiver/keys has nothing at links.url",
        "ARCHIVE_KEY_SECRET: there is no secret archiver/gone: check its name and AWS_REGION",
        "CLOUDFRONT_PRIVATE_KEY: the secret archiver/binary can't be read: it is binary, not a text",
        "SQS_FAILURE_QUEUE: there is no parameter /archiver/gone: check its name and AWS_REGION",
    ]
    assert capfd.readouterr() == ("", "")


def test_without_credentials_every_variable_says_so(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(SettingsError) as caught:
        resolve_references(
            {"ARCHIVE_KEY_SECRET": "ssm:/archiver/1", "S3_SOURCE_BUCKET": "secretsmanager:archiver/keys"}
        )

    named = {problem.partition(":")[0] for problem in caught.value.problems}
    assert named == {"ARCHIVE_KEY_SECRET", "S3_SOURCE_BUCKET"}
    assert all("no AWS credentials were found" in problem for problem in caught.value.problems)


def test_a_wrong_reference_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    with pytest.raises(SettingsError, match=r"^S3_SOURCE_BUCKET: is no reference to a secret"):
        resolve_references({"ARCHIVE_KEY_SECRET": "ssm:/a", "S3_SOURCE_BUCKET": "secretsmanager:"})


async def test_settings_are_also_resolved_in_a_running_event_loop(stores: tuple[Any, Any]) -> None:
    assert resolve_references({"S3_SOURCE_BUCKET": "ssm:/archiver/2"}) == {"S3_SOURCE_BUCKET": "value of /archiver/2"}


def test_a_command_resolves_only_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from archiver.cli.console import environment  # noqa: PLC0415

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HEARTBEAT_FILE", "/tmp/beat")
    monkeypatch.setenv("ARCHIVE_KEY_SECRET", "ssm:/archiver/1")

    assert environment("HEARTBEAT_FILE")["HEARTBEAT_FILE"] == "/tmp/beat"


def test_an_external_id_of_the_policy_file_may_be_a_reference(stores: tuple[Any, Any], tmp_path: Path) -> None:
    arn = "arn:aws:iam::210987654321:role/exports"
    file = tmp_path / "policy.toml"
    section = '[roles."{}"]\nsources = ["partner"]\nexternal_id = "secretsmanager:archiver/keys#links.{}"\n'
    settings = load_environment({"POLICY_FILE": str(file)})

    file.write_text(section.format(arn, "key"))
    policy, raw = load_policy(settings), read_policy(settings)
    file.write_text(section.format(arn, "gone"))
    with pytest.raises(SettingsError) as caught:
        load_policy(settings)

    told = f"POLICY_FILE: external_id of {arn}: the secret archiver/keys has nothing at links.gone"
    assert caught.value.problems == [told]
    assert policy is not None and policy.roles[arn].external_id == "hunter2"
    assert raw is not None and raw.references == [Reference("secretsmanager", "archiver/keys", "links.key")]
