"""AWS Signature Version 4 for S3: unsigned bodies, object keys encoded once, signing keys cached for their day."""

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_MAX_DERIVED_KEYS = 64


@dataclass(frozen=True, slots=True)
class SigningCredentials:
    """One set of credentials."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class SigningInput(NamedTuple):
    """
    The signed parts of a request. *path*: encoded; *host*: the Host header; *amz*: further `x-amz-*` headers (names in
    lower case); *query*: encoded and sorted by name.
    """

    method: str
    host: str
    path: str
    amz: Sequence[tuple[str, str]] = ()
    query: str = ""


def encode_key(key: str) -> str:
    """
    Percent-encode *key* once as UTF-8, for the request and the signature; `/` and dot segments are kept.

    Raises UnicodeEncodeError for a lone surrogate.
    """
    return quote(key, safe="/~")


class Signer:
    """Signs S3 requests."""

    __slots__ = ("_date", "_derived", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._date = ""
        self._derived: dict[tuple[str, str, str], bytes] = {}

    def sign(
        self, subject: SigningInput, region: str, credentials: SigningCredentials, now: float | None = None
    ) -> str:
        """
        Return the header lines that authorise *subject*, Host first, each with CRLF.

        *now*: seconds since the epoch. Range and conditions are not signed: only Host and `x-amz-*` must be, and the
        reader checks the Content-Range of each response.
        """
        date = self._amz_date(time.time() if now is None else now)
        fields = [*subject.amz, ("x-amz-content-sha256", _UNSIGNED_PAYLOAD), ("x-amz-date", date)]
        if credentials.token:
            fields.append(("x-amz-security-token", credentials.token))
        if subject.amz:
            fields.sort()
        canonical = "".join([f"{name}:{value}\n" for name, value in fields])
        signed = ";".join(["host", *[name for name, _ in fields]])
        request = (
            f"{subject.method}\n{subject.path}\n{subject.query}\n"
            f"host:{subject.host}\n{canonical}\n{signed}\n{_UNSIGNED_PAYLOAD}"
        )
        scope = f"{date[:8]}/{region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = hmac.digest(
            self._derived_key(credentials.secret_key, date[:8], region),
            f"{_ALGORITHM}\n{date}\n{scope}\n{digest}".encode(),
            "sha256",
        ).hex()
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        return (
            f"Host: {subject.host}\r\n{lines}Authorization: {_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}\r\n"
        )

    def _amz_date(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._date

    def _derived_key(self, secret: str, day: str, region: str) -> bytes:
        cache_key = (secret, day, region)
        key = self._derived.get(cache_key)
        if key is None:
            if len(self._derived) >= _MAX_DERIVED_KEYS:
                self._derived.clear()  # mostly of past days or old credentials; the others are derived in microseconds
            key = f"AWS4{secret}".encode()
            for part in (day, region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived[cache_key] = key
        return key
