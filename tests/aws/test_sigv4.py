"""The signatures, judged by botocore's own."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.utils import percent_encode
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.aws.sigv4 import Signer, SigningCredentials, SigningInput, encode_key

SIGNER = Signer()  # one for all examples: what it keeps must never leak from one to the next

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
buckets = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}[a-z0-9]", fullmatch=True)
regions = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
dates = st.datetimes(datetime(2015, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
credentials = st.builds(
    SigningCredentials,
    st.from_regex(r"AKIA[A-Z0-9]{16}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9/+]{40}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9/+=]{1,200}", fullmatch=True),
)


def by_botocore(
    subject: SigningInput, region: str, secrets: SigningCredentials, now: datetime
) -> tuple[str, dict[str, str]]:
    """The Authorization header as botocore makes it, and all headers that it signs."""
    request = AWSRequest(subject.method, f"https://{subject.host}{subject.path}", headers=dict(subject.amz))
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    auth: Any = S3SigV4Auth(Credentials(secrets.access_key, secrets.secret_key, secrets.token), "s3", region)
    auth._modify_request_before_signing(request)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))
    headers = {name.lower(): value for name, value in request.headers.items()}
    return headers.pop("authorization"), headers


def fields(lines: str) -> dict[str, str]:
    assert lines.endswith("\r\n")
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[:-2].split("\r\n"))}


@given(
    method=st.sampled_from(["GET", "HEAD"]),
    bucket=buckets,
    key=keys,
    region=regions,
    secrets=credentials,
    now=dates,
    amz=st.sampled_from([(), (("x-amz-checksum-mode", "ENABLED"),)]),
)
@example(
    "GET",
    "photos",
    "a//b/../c/./d +%2F%#?&=~'()*!;:@$,[]|\\^`{}\"<>ü🎉\n\t\0/",
    "eu-west-1",
    SigningCredentials("A", "S"),
    datetime(2024, 2, 29, tzinfo=UTC),
    (),
)
def test_signature_is_botocores(  # noqa: PLR0917
    method: str,
    bucket: str,
    key: str,
    region: str,
    secrets: SigningCredentials,
    now: datetime,
    amz: tuple[tuple[str, str], ...],
) -> None:
    subject = SigningInput(method, f"{bucket}.s3.{region}.amazonaws.com", "/" + percent_encode(key, safe="/~"), amz)
    ours = fields(SIGNER.sign(subject, region, secrets, now.timestamp()))
    authorization, signed = by_botocore(subject, region, secrets, now)
    assert ours.pop("authorization") == authorization
    assert ours.pop("host") == subject.host
    assert ours == signed


@given(key=keys)
@example("a//b/../c/./d +%2F%#?&=~'()*!;:@$,[]|\\^`{}\"<>ü🎉\n\t\0/")
def test_key_is_encoded_as_botocore_does(key: str) -> None:
    assert encode_key(key) == percent_encode(key, safe="/~")


@pytest.mark.parametrize(
    ("secret", "day", "region"),
    [("S", 1, "eu-west-1"), ("T", 1, "eu-west-1"), ("S", 2, "eu-west-1"), ("S", 1, "us-east-1")],
)
def test_derived_key_is_kept_for_its_secret_day_and_region_alone(secret: str, day: int, region: str) -> None:
    subject = SigningInput("GET", "photos.s3.amazonaws.com", "/x")
    used = Signer()
    used.sign(subject, "eu-west-1", SigningCredentials("A", "S"), now=86400)
    again = used.sign(subject, region, SigningCredentials("A", secret), now=86400 * day)
    assert again == Signer().sign(subject, region, SigningCredentials("A", secret), now=86400 * day)


def test_known_signature_stays() -> None:
    """Computed by botocore 1.40.61; holds where botocore's private names have changed."""
    subject = SigningInput("GET", "photos.s3.eu-west-1.amazonaws.com", "/a%20b.jpg")
    secrets = SigningCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    lines = Signer().sign(subject, "eu-west-1", secrets, datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp())
    assert lines.endswith("Signature=88c2dabd85355279518fc51c872c75257aa6f2a2436c66f15cc7468a02330297\r\n")


def test_secrets_are_not_shown() -> None:
    assert "SECRET" not in repr(SigningCredentials("AKIA", "SECRET", "SECRET"))
