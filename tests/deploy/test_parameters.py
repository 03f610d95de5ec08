"""What the templates' parameters take, and which go together."""

import re

import pytest

from .stack_values import each, secrets, statements
from .template import (
    EVERYTHING,
    FILES,
    PEM,
    REQUIRED,
    SECRET,
    SIGNED,
    WITH_EXISTING_RESOURCES,
    BothStacks,
    Stack,
    load_template,
    merged_section,
)

# ---- parameters


@each
def test_sensible_parameters_break_no_rule(given: dict[str, str]) -> None:
    assert BothStacks(given).broken_rules() == []


WRONG_DATA = [
    ({"SigningKey": "A"}, "SigningPublicKeyA"),
    ({"SigningKey": "B", "SigningPublicKeyA": PEM}, "SigningPublicKeyB"),
    ({"DomainName": "files.example.com"}, "CertificateArn"),
    (
        {"CloudFront": "no"} | {name: EVERYTHING[name] for name in ("DomainName", "CertificateArn")},
        "need CloudFront",
    ),
]
WRONG_WORKER = [
    ({"OnDemandWeight": "0", "SpotWeight": "0"}, "SpotWeight"),
    ({"SigningKeyId": "K2JCJMDEHXQW5F"}, "SigningPrivateKeySecretArn"),
]


@pytest.mark.parametrize(
    ("which", "wrong", "named"),
    [("data", *case) for case in WRONG_DATA] + [("worker", *case) for case in WRONG_WORKER],
)
def test_parameters_that_do_not_fit_together_stop_the_deployment(which: str, wrong: dict[str, str], named: str) -> None:
    (sentence,) = Stack(which, WITH_EXISTING_RESOURCES | wrong).broken_rules()

    assert named in sentence


def test_only_what_nobody_can_guess_has_to_be_given() -> None:
    required = {
        which: {name for name, told in load_template(which)["Parameters"].items() if "Default" not in told}
        for which in FILES
    }

    assert required == {"data": set(), "worker": set(WITH_EXISTING_RESOURCES), "rights": {"TaskRoleName"}}


@pytest.mark.parametrize("which", FILES)
def test_every_parameter_is_described_and_stands_in_one_group(which: str) -> None:
    parameters = load_template(which)["Parameters"]
    groups = load_template(which)["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert grouped == list(parameters), "in the order of the groups"
    assert [name for name, told in parameters.items() if len(told.get("Description", "")) < 10] == []


def test_every_default_is_allowed() -> None:
    for name, told in merged_section("Parameters").items():
        default = str(told.get("Default", ""))
        if "AllowedPattern" in told and "Default" in told:
            assert re.fullmatch(told["AllowedPattern"], default), name
        if "AllowedValues" in told:
            assert default in [str(value) for value in told["AllowedValues"]], name
        if told["Type"] == "Number":
            assert float(told.get("MinValue", default)) <= float(default) <= float(told.get("MaxValue", default)), name


@each
def test_every_value_of_these_tests_is_one_that_cloudformation_would_take(given: dict[str, str]) -> None:
    for name, value in given.items():
        told = merged_section("Parameters")[name]
        parts = value.split(",") if told["Type"] == "CommaDelimitedList" else [value]
        assert all(re.fullmatch(told.get("AllowedPattern", ".*"), part, re.DOTALL) for part in parts), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Image", "archiver; rm -rf /"),
        ("SourceBuckets", "s3://photos"),
        ("SourceBuckets", "photos/2026/"),
        ("SourceBuckets", ""),
        ("SourcePrefixes", "photos/2026"),
        ("PolicyFile", "policy.toml"),
        ("AssumeRoleArns", "arn:aws:iam::999999999999:role/*"),
        ("SourcePrefixes", "photos/*/"),
        ("SourcePrefixes", "photos/${aws:username}/"),
        ("SourceKeyArns", "arn:aws:kms:eu-west-1:123456789012:alias/mine"),
        ("CertificateArn", "arn:aws:acm:eu-west-1:123456789012:certificate/0123"),
        ("DomainName", "https://files.example.com"),
        ("SigningPublicKeyA", "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"),
        ("SigningPrivateKeySecretArn", "signing"),
        ("AlarmTopicArn", "alarms"),
        ("FilePrefix", "a/b"),
        ("RaiseAt", "at nine"),
        ("RaiseAt", "cron(0 9 * * *)"),
        ("TimeZone", "+01:00"),
    ],
)
def test_a_parameter_that_can_not_be_meant_is_refused(name: str, value: str) -> None:
    told = merged_section("Parameters")[name]

    assert not re.fullmatch(told["AllowedPattern"], value)
    assert told["ConstraintDescription"]


@pytest.mark.parametrize("which", FILES)
def test_a_template_can_be_passed_as_it_is(which: str) -> None:
    assert len(FILES[which].read_bytes()) <= 51_200, "more has to be put into a bucket first"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Image", "ghcr.io/team/archiver:1.0.0-RC1"),
        ("Image", "registry.example:5000/archiver@sha256:" + "0" * 64),
        ("SourceBuckets", " my-scans"),
        ("SigningPrivateKeySecretArn", f"{SECRET}:key::"),
        ("RolePath", "/services/archiver/"),
        ("ProducerArns", "arn:aws:iam::999999999999:root"),
    ],
)
def test_a_parameter_that_can_be_meant_is_taken(name: str, value: str) -> None:
    assert re.fullmatch(merged_section("Parameters")[name]["AllowedPattern"], value)


def test_blanks_between_buckets_are_no_part_of_their_names() -> None:
    """CloudFormation trims the members of a list."""
    (policy,) = BothStacks(REQUIRED | {"SourceBuckets": "photos, scans"}).resources["TaskRole"]["Policies"]

    read = statements(policy["PolicyDocument"])["ReadObjects"]["Resource"]
    assert read[:2] == ["arn:aws:s3:::photos/*", "arn:aws:s3:::scans/*"]


def test_a_secret_with_several_values_is_read_by_its_own_arn() -> None:
    given = REQUIRED | SIGNED | {"SigningPrivateKeySecretArn": f"{SECRET}:key::"}
    (policy,) = BothStacks(given).resources["ExecutionRole"]["Policies"]

    assert secrets(given)["CLOUDFRONT_PRIVATE_KEY"] == f"{SECRET}:key::"
    assert SECRET in statements(policy["PolicyDocument"])["ReadSecrets"]["Resource"]


def test_arns_name_their_partition_but_where_lists_are_joined() -> None:
    """What Fn::Join puts between the members of a list has to be plain text."""
    for path in FILES.values():
        lines = [line.strip() for line in path.read_text().splitlines() if "arn:aws:" in line]
        assert [
            line for line in lines if "Join" not in line and "${List}" not in line and "${Objects}" not in line
        ] == [line for line in lines if line.startswith(("Description", "Resource: !Split  #"))]


def test_log_lines_can_be_kept_for_as_long_as_cloudwatch_keeps_any() -> None:
    assert max(merged_section("Parameters")["LogDays"]["AllowedValues"]) == 3653
