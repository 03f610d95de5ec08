"""Settings: read once, checked together, and every problem told by the name of its variable."""

import re
from typing import Literal, get_args, get_origin

import pytest
from pydantic import SecretStr

from archiver.app import archive_rules
from archiver.core.setting_errors import Expected, _types, describe_invalid
from archiver.settings import Environment, SettingsError, _variable_names, load_settings

LEAST = {"SQS_SOURCE_QUEUE": "requests", "S3_DESTINATION_BUCKET": "archives"}


def problems(**environ: str) -> list[str]:
    """What is wrong with the least environment and *environ*."""
    with pytest.raises(SettingsError) as caught:
        load_settings(LEAST | environ)
    return caught.value.problems


def test_two_settings_are_required_and_all_others_have_the_documented_defaults() -> None:
    settings = load_settings(LEAST)

    assert settings.model_dump() == {
        "source_queue": "requests",
        "destination_queue": None,
        "failure_queue": None,
        "progress_queue": None,
        "notify_sns_topic": None,
        "notify_event_bus": None,
        "notify_lambda": None,
        "notify_lambda_type": "Event",
        "notify_webhook_url": None,
        "notify_webhook_secret": None,
        "source_bucket": None,
        "allowed_sources": None,
        "policy_file": None,
        "destination_bucket": "archives",
        "file_prefix": "download",
        "key_secret": None,
        "compression": "store",
        "strategy": None,
        "archive_sse": None,
        "archive_kms_key": None,
        "archive_bucket_key": False,
        "archive_acl": None,
        "archive_storage_class": None,
        "archive_tags": None,
        "cancellation": False,
        "request_payer": None,
        "bucket_owner": None,
        "source_owner": None,
        "max_files": 100_000,
        "max_archive_bytes": None,
        "max_concurrent_jobs": 4,
        "max_parked_jobs": 100,
        "wait_limit": 3600,
        "restore_tiers": None,
        "restore_max_days": 1,
        "restore_wait_limit": 6 * 3600,
        "memory_budget_mib": 64,
        "wait_seconds": 5,
        "grace_seconds": 90,
        "base_url": None,
        "cloudfront_key_id": None,
        "cloudfront_private_key": None,
        "links": None,
        "link_expires_in": 7 * 24 * 3600,
        "heartbeat_file": None,
        "metrics": None,
        "service_name": "archiver",
        "health_port": None,
        "health_host": "127.0.0.1",
        "ecs_agent_uri": None,
        "debug": False,
        "dev_mode": False,
        "resume_from_mib": 256,
        "ecs_cluster": None,
        "ecs_task": None,
        "ecs_container": None,
        "ecs_subnets": None,
        "ecs_security_groups": None,
        "ecs_public_ip": False,
        "ecs_dsn": None,
        "traces_endpoint": None,
        "traces_sampled": 0.01,
        "source_orders": None,
        "describe": False,
        "profiles_credentials": None,
        "work_dir": None,
        "work_disk_mib": 4096,
        "amqp_queue": None,
        "amqp_hostname": "127.0.0.1",
        "amqp_port": None,
        "amqp_username": "guest",
        "amqp_password": SecretStr("guest"),
        "amqp_vhost": "/",
        "amqp_tls": None,
        "amqp_ca_file": None,
        "amqp_cert_file": None,
        "amqp_key_file": None,
        "amqp_ack_timeout": 1800,
        "amqp_max_receives": 5,
        "amqp_dead_letter_queue": None,
        "amqp_declare": True,
        "orders_prefix": None,
        "event_request": None,
        "lambda_runs": "here",
    }
    assert settings.memory_budget == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RESTORE_TIERS", "standard", "Standard, Bulk or Expedited, or several of them, comma-separated"),
        ("RESTORE_TIERS", "Standard,,Bulk", "Standard, Bulk or Expedited, or several of them, comma-separated"),
        ("RESTORE_MAX_DAYS", "0", "a whole number from 1 to 365"),
        ("RESTORE_WAIT_LIMIT", "36001", "a whole number from 1 to 36,000"),
        ("WAIT_LIMIT", "-1", "a whole number from 0 to 36,000"),
        ("WAIT_LIMIT", "nan", "a whole number from 0 to 36,000"),
        ("MAX_PARKED_JOBS", "many", "a whole number from 0 to 10,000"),
    ],
)
def test_settings_of_waiting_have_limits(name: str, value: str, expected: str) -> None:
    assert problems(**{name: value}) == [f"{name}: {value!r} should be {expected}"]


def test_every_setting_is_read_from_its_variable() -> None:
    settings = load_settings(
        LEAST
        | {
            "SQS_DESTINATION_QUEUE": "answers",
            "SQS_FAILURE_QUEUE": "failures",
            "S3_SOURCE_BUCKET": "photos",
            "S3_ALLOWED_SOURCES": "photos, others/public/",
            "S3_FILE_PREFIX": "my photos",
            "ARCHIVE_KEY_SECRET": "hush",
            "S3_COMPRESSION": "auto",
            "MAX_FILES": "5000",
            "MAX_ARCHIVE_BYTES": "107374182400",
            "MAX_CONCURRENT_JOBS": "9",
            "MEMORY_BUDGET_MIB": "15",
            "SQS_WAIT_SECONDS": "20",
            "SHUTDOWN_GRACE_SECONDS": "2.5",
            "ARCHIVE_BASE_URL": "https://cdn.example/zips/",
            "DEBUG": "yes",
            "DEV_MODE": "on",
        }
    )

    assert (settings.destination_queue, settings.failure_queue) == ("answers", "failures")
    assert (settings.source_bucket, settings.allowed_sources) == ("photos", "photos, others/public/")
    assert (settings.file_prefix, settings.compression) == ("my photos", "auto")
    assert settings.key_secret is not None and settings.key_secret.get_secret_value() == "hush"
    assert (settings.max_concurrent_jobs, settings.memory_budget_mib, settings.wait_seconds) == (9, 15, 20)
    assert (settings.max_files, settings.max_archive_bytes) == (5000, 100 << 30)
    assert (archive_rules(settings).max_files, archive_rules(settings).max_bytes) == (5000, 100 << 30)
    assert (settings.grace_seconds, settings.base_url) == (2.5, "https://cdn.example/zips/")
    assert settings.debug and settings.dev_mode


def test_secret_does_not_show_in_the_settings_text() -> None:
    assert "hush" not in repr(load_settings(LEAST | {"ARCHIVE_KEY_SECRET": "hush"}))


@pytest.mark.parametrize(
    ("old", "field"),
    [("SQS_SOURCE", "source_queue"), ("SQS_DESTINATION", "destination_queue"), ("APP_DEBUG", "debug")],
)
def test_older_names_are_read_too_and_the_newer_one_wins(old: str, field: str) -> None:
    new = {"SQS_SOURCE": "SQS_SOURCE_QUEUE", "SQS_DESTINATION": "SQS_DESTINATION_QUEUE", "APP_DEBUG": "DEBUG"}[old]
    environ = {"S3_DESTINATION_BUCKET": "archives", "SQS_SOURCE_QUEUE": "", "SQS_SOURCE": "requests", old: "1"}

    assert str(getattr(load_settings(environ), field)) in {"1", "True"}
    assert str(getattr(load_settings(environ | {new: "0"}), field)) in {"0", "False"}


def test_empty_and_blank_variables_count_as_unset() -> None:
    blank = dict.fromkeys(("S3_SOURCE_BUCKET", "MAX_CONCURRENT_JOBS", "DEBUG", "ARCHIVE_BASE_URL", "SQS_SOURCE"), "")

    assert load_settings(LEAST | blank).model_dump() == load_settings(LEAST).model_dump()
    assert load_settings(LEAST | dict.fromkeys(blank, "  ")).model_dump() == load_settings(LEAST).model_dump()
    (problem,) = problems(S3_DESTINATION_BUCKET=" ")
    assert problem.startswith("S3_DESTINATION_BUCKET: is required")


def test_spaces_around_a_value_are_no_part_of_it() -> None:
    assert load_settings(LEAST | {"S3_SOURCE_BUCKET": " photos "}).source_bucket == "photos"


def test_names_in_other_case_are_not_settings() -> None:
    assert load_settings(LEAST | {"s3_source_bucket": "photos"}).source_bucket is None


@pytest.mark.parametrize(("text", "truth"), [(t, True) for t in ("1", "true", "YES", "on")] + [("0", False)])
@pytest.mark.parametrize("text_of_no", ["false", "No", "off"])
def test_truth_is_written_in_four_ways(text: str, truth: bool, text_of_no: str) -> None:
    settings = load_settings(LEAST | {"DEBUG": text, "DEV_MODE": text_of_no})

    assert settings.debug is truth
    assert settings.dev_mode is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_FILES", "0"),
        ("MAX_FILES", "5k"),
        ("MAX_ARCHIVE_BYTES", "0"),
        ("MAX_ARCHIVE_BYTES", "-1"),
        ("MAX_CONCURRENT_JOBS", "0"),
        ("MAX_CONCURRENT_JOBS", "1001"),
        ("MAX_CONCURRENT_JOBS", "many"),
        ("MAX_CONCURRENT_JOBS", "1.5"),
        ("MEMORY_BUDGET_MIB", "14"),
        ("MEMORY_BUDGET_MIB", "-64"),
        ("SQS_WAIT_SECONDS", "0"),
        ("SQS_WAIT_SECONDS", "21"),
        ("SHUTDOWN_GRACE_SECONDS", "-1"),
        ("SHUTDOWN_GRACE_SECONDS", "nan"),
        ("SHUTDOWN_GRACE_SECONDS", "soon"),
        ("S3_COMPRESSION", "zstd"),
        ("S3_FILE_PREFIX", "a/b"),
        ("S3_FILE_PREFIX", "a\\b"),
        ("S3_FILE_PREFIX", ".."),
        ("S3_FILE_PREFIX", "a\nb"),
        ("S3_FILE_PREFIX", "p" * 129),
        ("ARCHIVE_BASE_URL", "cdn.example/zips"),
        ("ARCHIVE_BASE_URL", "https://cdn example"),
        ("DEBUG", "perhaps"),
        ("APP_DEBUG", "perhaps"),
        ("DEV_MODE", "2"),
        ("S3_ALLOWED_SOURCES", "photos/2024"),
        ("S3_ALLOWED_SOURCES", "/photos"),
        ("S3_ALLOWED_SOURCES", ","),
    ],
)
def test_bad_value_is_one_problem_on_one_line_that_begins_with_its_variable(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})

    assert problem.startswith(f"{name}: ")
    assert "\n" not in problem


NAMES_IN_AMQP = ("AMQP_QUEUE", "AMQP_USERNAME", "AMQP_VHOST", "AMQP_DEAD_LETTER_QUEUE")
SECRETS = ("NOTIFY_WEBHOOK_URL", "NOTIFY_WEBHOOK_SECRET", "ARCHIVER_ECS_DSN")


def test_a_worker_has_one_source() -> None:
    assert problems(AMQP_QUEUE="jobs") == [
        "AMQP_QUEUE: contradicts SQS_SOURCE_QUEUE: a worker has one source of messages: unset one of them"
    ]
    assert problems(SOURCE_ORDERS="a.json") == [
        "SOURCE_ORDERS: contradicts SQS_SOURCE_QUEUE: a worker has one source of messages: unset one of them"
    ]
    assert problems(SOURCE_ORDERS="", SQS_SOURCE_QUEUE="") == [
        "SQS_SOURCE_QUEUE: is required (queue to read: a name, URL or ARN)"
    ]


def test_order_files_of_the_command_line_replace_any_source_and_may_have_any_name() -> None:
    settings = load_settings(LEAST | {"SOURCE_ORDERS": "x"}, ["a:b.json", ":"])

    assert (settings.source_queue, settings.source_orders) == (None, ("a:b.json", ":"))


def test_credentials_of_profiles_are_checked_at_the_start_and_never_shown() -> None:
    given = "one;hush;hush;eu-west-1#two;hush;hush"

    assert problems(AWS_PROFILES_CREDENTIALS=given) == [
        "AWS_PROFILES_CREDENTIALS: profile 2 has 3 values instead of name;key;secret;region"
    ]
    settings = load_settings(LEAST | {"AWS_PROFILES_CREDENTIALS": given.partition("#")[0]})
    assert "hush" not in repr(settings)


def bad_values() -> list[tuple[str, str, str]]:
    """For every setting that can be misread: its variable, a value that it does not take, and what to say."""
    found = []
    for field in Environment.model_fields.values():
        name, kinds = _variable_names(field.validation_alias)[0], list(_types(field.annotation))
        least = next((one.ge for one in field.metadata if hasattr(one, "ge")), None)
        most = next((one.le for one in field.metadata if hasattr(one, "le")), None)
        if bool in kinds:
            found += [(name, "maybe", "1 or 0")]
        elif int in kinds or float in kinds:
            number = "a whole number" if int in kinds else "a number"
            values = ["four", "nan", "inf", "4 MiB", *(["1.5"] if int in kinds else [])]
            values += [str(least - 1)] if least is not None else []
            values += [str(most + 1), "9" * 5000] if most is not None else []
            found += [(name, value, number) for value in values]
        elif literals := [one for one in kinds if get_origin(one) is Literal]:
            found += [(name, "other", choice) for choice in get_args(literals[0])]
        elif name in NAMES_IN_AMQP:
            found += [(name, "é" * 128, "255 bytes")]
        elif name == "SOURCE_ORDERS":  # a file may have nearly any name
            found += [(name, " : :", "should be")]
        elif any(isinstance(one, Expected) for one in kinds):
            found += [(name, "../ x/", "should be"), (name, "x\n/" * 500, "should be")]
    return found


@pytest.mark.parametrize(("name", "value", "told"), bad_values())
def test_a_bad_value_is_told_with_what_was_given_and_what_would_do_and_no_librarys_words(
    name: str, value: str, told: str
) -> None:
    problem = next(problem for problem in problems(**{name: value}) if " should be " in problem)

    shown = "the text given (a secret)" if name in SECRETS else f"{value.strip()[:20]!r}"[:-1]
    assert problem.startswith(f"{name}: {shown}")
    assert told in problem
    assert problem.isprintable()
    assert len(problem) < 250
    assert not re.search(r"(?i)input|string|integer|valid|pattern|\^|boolean|parse|literal", problem)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MAX_CONCURRENT_JOBS", "four", "'four' should be a whole number from 1 to 1,000"),
        ("MEMORY_BUDGET_MIB", "1", "'1' should be a whole number, at least 15"),
        ("S3_COMPRESSION", "zip", "'zip' should be store, deflate or auto"),
        ("S3_STRATEGY", "fast", "'fast' should be auto, stream or copy"),
        ("METRICS", "statsd", "'statsd' should be emf (or unset)"),
        ("DEBUG", "perhaps", "'perhaps' should be 1 or 0 (or true/false, yes/no, on/off)"),
        ("ARCHIVE_BASE_URL", "cdn", "'cdn' should be a URL without spaces, like https://d111.cloudfront.net"),
        ("AMQP_USERNAME", "u" * 256, f"'{'u' * 60}…' should be at most 255 bytes"),
    ],
)
def test_sentences_of_settings(name: str, value: str, sentence: str) -> None:
    assert problems(**{name: value}) == [f"{name}: {sentence}"]


def test_a_secret_is_never_repeated() -> None:
    assert "hush" not in describe_invalid(Environment.model_fields["key_secret"], "hush")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(
            {
                "S3_SOURCE_BUCKET": "photos",
                "S3_ALLOWED_SOURCES": "photos/a",
                "SQS_WAIT_SECONDS": "60",
                "APP_DEBUG": "?",
                "MEMORY_BUDGET_MIB": "x",
            }
        )

    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert sorted(names) == [
        "APP_DEBUG",
        "MEMORY_BUDGET_MIB",
        "S3_ALLOWED_SOURCES",
        "S3_DESTINATION_BUCKET",
        "SQS_SOURCE_QUEUE",
        "SQS_WAIT_SECONDS",
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_allow_list_must_cover_some_of_the_source_bucket() -> None:
    (problem,) = problems(S3_SOURCE_BUCKET="photos", S3_ALLOWED_SOURCES="videos")
    assert problem.startswith("S3_ALLOWED_SOURCES: ") and "photos" in problem

    for allowed in ("photos", "photos/", "photos/2024/", "videos, photos/2024/"):
        load_settings(LEAST | {"S3_SOURCE_BUCKET": "photos", "S3_ALLOWED_SOURCES": allowed})


def test_one_bucket_for_sources_and_archives_needs_an_allow_list() -> None:
    (problem,) = problems(S3_SOURCE_BUCKET="archives")
    assert problem.startswith("S3_ALLOWED_SOURCES: is required")

    settings = load_settings(LEAST | {"S3_SOURCE_BUCKET": "archives", "S3_ALLOWED_SOURCES": "archives/incoming/"})
    assert settings.allowed_sources == "archives/incoming/"


def test_other_peoples_variables_are_no_business_of_ours() -> None:
    others = {"SOURCE_QUEUE": "x", "PATH": "/bin", "source_queue": "y"}

    assert load_settings(LEAST | others).model_dump() == load_settings(LEAST).model_dump()


@pytest.mark.parametrize("name", ["S3_SOURCE_BUCKET", "S3_DESTINATION_BUCKET"])
@pytest.mark.parametrize("value", ["s3://images", "images/", "im ages", "ab"])
def test_a_bucket_that_no_bucket_can_be_called_stops_the_start(name: str, value: str) -> None:
    """Else every message would be rejected for it, one after the other."""
    assert [problem.split(":")[0] for problem in problems(**{name: value})] == [name]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"S3_ARCHIVE_SSE": "kms"}, "S3_ARCHIVE_SSE: "),
        (
            {"S3_ARCHIVE_KMS_KEY_ID": "alias/zips"},
            "S3_ARCHIVE_KMS_KEY_ID: has an effect only with S3_ARCHIVE_SSE=aws:kms",
        ),
        ({"S3_ARCHIVE_SSE": "AES256", "S3_ARCHIVE_BUCKET_KEY": "1"}, "S3_ARCHIVE_BUCKET_KEY: has an effect only with"),
        ({"S3_REQUEST_PAYER": "me"}, "S3_REQUEST_PAYER: "),
        ({"LINKS": "signed"}, "LINKS: 'signed' should be presigned"),
        ({"LINKS": "presigned", "ARCHIVE_BASE_URL": "https://a"}, "ARCHIVE_BASE_URL: contradicts LINKS=presigned"),
        (
            {"LINKS": "presigned", "LINK_EXPIRES_IN": "604801"},
            "LINK_EXPIRES_IN: 604801 is too long for presigned links",
        ),
        ({"S3_EXPECTED_BUCKET_OWNER": "me"}, "S3_EXPECTED_BUCKET_OWNER: "),
        ({"S3_EXPECTED_SOURCE_OWNER": "123456789012"}, "S3_EXPECTED_SOURCE_OWNER: is the owner of S3_SOURCE_BUCKET"),
        ({"S3_SOURCE_BUCKET": "a/b"}, "S3_SOURCE_BUCKET: 'a/b' should be a bucket's name alone"),
    ],
)
def test_settings_for_s3_that_are_of_no_use_are_told(environ: dict[str, str], told: str) -> None:
    (problem,) = problems(**environ)
    assert problem.startswith(told)


def test_settings_for_s3_are_read() -> None:
    point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/photos"
    given = {
        "S3_ARCHIVE_SSE": "aws:kms",
        "S3_ARCHIVE_KMS_KEY_ID": "alias/zips",
        "S3_ARCHIVE_BUCKET_KEY": "yes",
        "S3_REQUEST_PAYER": "requester",
        "S3_EXPECTED_BUCKET_OWNER": "123456789012",
        "S3_EXPECTED_SOURCE_OWNER": "210987654321",
        "S3_SOURCE_BUCKET": point,
        "S3_ALLOWED_SOURCES": f"{point}/2024/",
    }
    settings = load_settings(LEAST | given)

    assert (settings.archive_sse, settings.archive_kms_key, settings.archive_bucket_key) == (
        "aws:kms",
        "alias/zips",
        True,
    )
    assert (settings.request_payer, settings.bucket_owner) == ("requester", "123456789012")
    assert (settings.source_owner, settings.source_bucket) == ("210987654321", point)
