"""AWS Signature Version 4 for S3: unsigned bodies, object keys encoded once, signing keys cached for their day."""

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_SHA256 = hashlib.sha256()
_MAX_DERIVED_KEYS = 64
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch  # most keys need no encoding


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
    return key if _PLAIN_KEY(key) else quote(key, safe="/~")


class RequestTemplate:
    """
    What all requests of one *method* to one *host* with the same headers have in common, within one second. Range and
    conditions are not signed: only Host and `x-amz-*` must be, and the reader checks each response.
    """

    __slots__ = ("_canonical_end", "_lines", "_mac", "_method")

    def __init__(self, subject: SigningInput, scope: "_Scope") -> None:
        fields = [*subject.amz, ("x-amz-content-sha256", _UNSIGNED_PAYLOAD), ("x-amz-date", scope.date)]
        if scope.token:
            fields.append(("x-amz-security-token", scope.token))
        if subject.amz:
            fields.sort()
        canonical = "".join([f"{name}:{value}\n" for name, value in fields])
        signed = ";".join(["host", *[name for name, _ in fields]])
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        self._method = subject.method
        self._mac = hmac.new(scope.key, f"{_ALGORITHM}\n{scope.date}\n{scope.text}\n".encode(), "sha256")
        self._canonical_end = f"\nhost:{subject.host}\n{canonical}\n{signed}\n{_UNSIGNED_PAYLOAD}"
        self._lines = (
            f"Host: {subject.host}\r\n{lines}Authorization: {_ALGORITHM} "
            f"Credential={scope.access_key}/{scope.text}, SignedHeaders={signed}, Signature="
        )

    def sign(self, path: str, query: str = "") -> str:
        """Return the header lines that authorise a request for *path* and *query*, Host first, each with CRLF."""
        canonical = f"{self._method}\n{path}\n{query}{self._canonical_end}"
        digest = _SHA256.copy()  # copies are cheaper than new ones: of the hash, and of the one with the key
        digest.update(canonical.encode())
        mac = self._mac.copy()
        mac.update(digest.hexdigest().encode())
        return f"{self._lines}{mac.hexdigest()}\r\n"


class _Scope(NamedTuple):
    """Who signs, when and where. *text*: the credential scope; *key*: derived for it."""

    date: str
    text: str
    key: bytes
    access_key: str
    token: str | None


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
        Return the header lines that authorise *subject*, Host first, each with CRLF. *now*: seconds since the epoch.
        """
        return self.template(subject, region, credentials, now).sign(subject.path, subject.query)

    def template(
        self, subject: SigningInput, region: str, credentials: SigningCredentials, now: float | None = None
    ) -> RequestTemplate:
        """Return the template of requests like *subject*; its path and query do not matter."""
        date = self._amz_date(time.time() if now is None else now)
        text = f"{date[:8]}/{region}/s3/aws4_request"
        key = self._derived_key(credentials.secret_key, date[:8], region)
        return RequestTemplate(subject, _Scope(date, text, key, credentials.access_key, credentials.token))

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
