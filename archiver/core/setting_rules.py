"""The rules between settings. They read the raw environment, so that they work even if single settings are invalid."""

from collections.abc import Mapping

from archiver.core.amqp_rules import find_amqp_problems
from archiver.core.locations import AllowList

SOURCES = ("SQS_SOURCE_QUEUE", "SQS_SOURCE", "SOURCE_ORDERS", "AMQP_QUEUE")
"""Variables that name where messages come from. A worker has one source."""

_FALSE_TEXTS = ("", "0", "false", "no", "off", "f", "n")
_MAX_PRESIGNED_SECONDS = 7 * 24 * 3600
_ENCRYPTION_VARIABLES = (
    "S3_ARCHIVE_SSE",
    "S3_ARCHIVE_KMS_KEY_ID",
    "S3_ARCHIVE_BUCKET_KEY",
    "S3_EXPECTED_SOURCE_OWNER",
    "S3_SOURCE_BUCKET",
)


def find_contradictions(environ: Mapping[str, str]) -> list[str]:
    """Return one line for each setting that contradicts another one or needs one that is not set."""
    return (
        _door_problems(environ)
        + _source_problems(environ)
        + _signing_problems(environ)
        + _link_problems(environ)
        + _encryption_problems(environ)
        + _way_out_problems(environ)
        + _profile_problems(environ)
        + find_amqp_problems(environ)
        + _order_problems(environ)
    )


def _door_problems(environ: Mapping[str, str]) -> list[str]:
    """A worker has one source of messages. The two names of the SQS queue are one."""
    given = [name for name in SOURCES if environ.get(name, "").strip()]
    others = [name for name in given[1:] if (given[0], name) != ("SQS_SOURCE_QUEUE", "SQS_SOURCE")]
    return [
        f"{name}: contradicts {given[0]}: a worker has one source of messages: unset one of them" for name in others
    ]


def _profile_problems(environ: Mapping[str, str]) -> list[str]:
    """All credentials of AWS_PROFILES_CREDENTIALS can be used, or the worker does not start."""
    text = environ.get("AWS_PROFILES_CREDENTIALS", "").strip()
    if not text:
        return []
    from archiver.core.profiles import find_profile_problems  # noqa: PLC0415 - nothing of it where it is off

    return [f"AWS_PROFILES_CREDENTIALS: {problem}" for problem in find_profile_problems(text)]


def _encryption_problems(environ: Mapping[str, str]) -> list[str]:
    """A KMS key requires encryption with KMS; an expected owner requires the bucket's name."""
    given = {name: environ.get(name, "").strip() for name in _ENCRYPTION_VARIABLES}
    problems = []
    if not given["S3_ARCHIVE_SSE"].startswith("aws:kms"):
        problems = [
            f"{name}: has an effect only with S3_ARCHIVE_SSE=aws:kms: set that, or unset this"
            for name in ("S3_ARCHIVE_KMS_KEY_ID", "S3_ARCHIVE_BUCKET_KEY")
            if given[name].lower() not in _FALSE_TEXTS
        ]
    if given["S3_EXPECTED_SOURCE_OWNER"] and not given["S3_SOURCE_BUCKET"]:
        problems.append("S3_EXPECTED_SOURCE_OWNER: is the owner of S3_SOURCE_BUCKET, which is not set")
    return problems


def _way_out_problems(environ: Mapping[str, str]) -> list[str]:
    """How a function is invoked says nothing without the function."""
    if environ.get("NOTIFY_LAMBDA_TYPE", "").strip() and not environ.get("NOTIFY_LAMBDA", "").strip():
        return ["NOTIFY_LAMBDA_TYPE: has an effect only with NOTIFY_LAMBDA: set that, or unset this"]
    return []


def _order_problems(environ: Mapping[str, str]) -> list[str]:
    """Archives and receipts are written to the destination: no order may be looked for there."""
    destination, orders = (environ.get(name, "").strip() for name in ("S3_DESTINATION_BUCKET", "ORDERS_PREFIX"))
    if destination and orders.startswith(f"{destination}/"):
        return ["ORDERS_PREFIX: is in S3_DESTINATION_BUCKET, where archives are written: use another bucket for orders"]
    return []


def _signing_problems(environ: Mapping[str, str]) -> list[str]:
    """Signed links need both key settings and a base URL."""
    key_id, key, base = (
        environ.get(name, "").strip() for name in ("CLOUDFRONT_KEY_ID", "CLOUDFRONT_PRIVATE_KEY", "ARCHIVE_BASE_URL")
    )
    if bool(key_id) != bool(key):
        absent, given = ("CLOUDFRONT_PRIVATE_KEY", "CLOUDFRONT_KEY_ID")[:: 1 if key_id else -1]
        return [f"{absent}: is required if {given} is set: links are signed with both"]
    if key_id and not base:
        return ["ARCHIVE_BASE_URL: is required if links are signed: it is the distribution's address"]
    return []


def _link_problems(environ: Mapping[str, str]) -> list[str]:
    """Presigned links are S3 URLs that work for at most seven days ("Sharing objects with presigned URLs")."""
    if environ.get("LINKS", "").strip() != "presigned":
        return []
    problems = [
        f"{name}: contradicts LINKS=presigned, whose links lead to S3 itself: unset one of the two"
        for name in ("ARCHIVE_BASE_URL", "CLOUDFRONT_KEY_ID")
        if environ.get(name, "").strip()
    ]
    seconds = environ.get("LINK_EXPIRES_IN", "").strip()
    if seconds.isdecimal() and int(seconds[:12]) > _MAX_PRESIGNED_SECONDS:
        problems.append(
            f"LINK_EXPIRES_IN: {seconds} is too long for presigned links: at most {_MAX_PRESIGNED_SECONDS} (7 days)"
        )
    return problems


def _source_problems(environ: Mapping[str, str]) -> list[str]:
    """The rules between S3_ALLOWED_SOURCES and the two buckets."""
    source, destination, allowed = (
        environ.get(name, "").strip() for name in ("S3_SOURCE_BUCKET", "S3_DESTINATION_BUCKET", "S3_ALLOWED_SOURCES")
    )
    if not allowed:
        if source and source == destination:
            problem = (
                "S3_ALLOWED_SOURCES: is required if S3_SOURCE_BUCKET and S3_DESTINATION_BUCKET are the same bucket: "
                "list the prefixes that requests may name"
            )
            return [problem]
        return []
    try:
        entries = AllowList.parse(allowed, destination)
    except ValueError as error:
        return [f"S3_ALLOWED_SOURCES: {error}"]
    if source and not entries.allows_any_in(source):
        return [f"S3_ALLOWED_SOURCES: no entry covers any of S3_SOURCE_BUCKET ({source}): add it, or a prefix in it"]
    return []
