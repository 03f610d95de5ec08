"""
Webhooks: the URLs that answers can be posted to, and how they are signed.

Signatures follow Standard Webhooks (https://www.standardwebhooks.com, specification 1.0): HMAC-SHA-256 of
`id.timestamp.body`, in base64, after `v1,`.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from archiver.errors import Rejected

MAX_URL_LENGTH = 2048
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64  # of Standard Webhooks
SECRET_PREFIX = "whsec_"  # noqa: S105 - the beginning of every secret

_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TARGET = r"(?P<target>[/?][!$-;=?-Z_a-z~%&'()*+,\[\]@:-]*)?"  # no #, no \, no quotes, no spaces: printable ASCII
_URL = re.compile(rf"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:(?P<port>[0-9]{{1,5}}))?{_TARGET}")
_MAX_PORT = 65_535


class WebhookUrl(NamedTuple):
    """Where to post to. *target*: path and query."""

    tls: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CallbackRules:
    """What requests may name as `callback_url`. *hosts*: names, in lower case."""

    hosts: frozenset[str] = frozenset()

    def check(self, text: str) -> WebhookUrl:
        """Return the URL *text*. Raises Rejected: `option_not_allowed`, or `invalid_request` if it is no such URL."""
        if not self.hosts:
            raise Rejected(
                "option_not_allowed",
                "callback_url: this worker posts answers to no URL of a request; its operator can list hosts in "
                "[callbacks] of POLICY_FILE",
            )
        url = parse_url(text)
        if url is None or not url.tls or url.port != 443:  # noqa: PLR2004 - of https
            raise Rejected(
                "invalid_request",
                "callback_url: should be an https URL of port 443 without user, password and #, like "
                "https://hooks.example.com/archives",
            )
        if url.host not in self.hosts:
            raise Rejected(
                "option_not_allowed", f"callback_url: the host {url.host} is not in [callbacks] of POLICY_FILE"
            )
        return url


NO_CALLBACKS = CallbackRules()


def parse_url(text: str) -> WebhookUrl | None:
    """Return the URL *text* (http or https, without user, password and fragment); None if it is none."""
    scheme, separator, rest = text.partition("://")
    host, slash, path = re.split(r"([/?]|$)", rest, maxsplit=1) if separator else ("", "", "")
    found = _URL.fullmatch(f"{scheme.lower()}://{host.lower()}{slash}{path}")
    if found is None or len(text) > MAX_URL_LENGTH:
        return None
    tls = found["scheme"] == "https"
    port = int(found["port"] or (443 if tls else 80))
    if not 0 < port <= _MAX_PORT:
        return None
    target = found["target"] or "/"
    return WebhookUrl(tls, found["host"].strip("[]"), port, target if target.startswith("/") else f"/{target}")


def is_host_name(text: str) -> bool:
    """Whether *text* is the name of a host, in lower case: no address, no port."""
    return _HOST_NAME.fullmatch(text) is not None


def decode_secret(text: str) -> bytes:
    """Return the key of the secret `whsec_…`. Raises ValueError."""
    if not text.startswith(SECRET_PREFIX):
        raise ValueError("no prefix")
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError("wrong length")
    return key


def webhook_headers(notification_id: str, timestamp: int, body: bytes, key: bytes | None) -> Mapping[str, str]:
    """Return the headers of Standard Webhooks. *timestamp*: seconds since the epoch; *key* None: no signature."""
    headers = {"webhook-id": notification_id, "webhook-timestamp": str(timestamp)}
    if key is not None:
        signed = hmac.new(key, f"{notification_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return headers
