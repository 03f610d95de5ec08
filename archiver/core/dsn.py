"""
DSNs: `key=value` pairs, separated by spaces, that say in which region and with which credentials AWS is called.

The grammar is that of the go-whosonfirst-aws seed, and of its successors go-aws-session and go-aws-auth:

    region=eu-west-1 credentials=iam:

    credentials          from
    iam:                 the SDK's own chain: a role of the task, function or machine, environment, profile
    env:                 the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
    PROFILE              that profile of the SDK's files
    PATH:PROFILE         that profile of the file PATH
    sts:ARN              a role that is assumed with the SDK's own chain
    static:ID:KEY        the text itself; :TOKEN behind it for temporary ones
    anon:                none: requests are not signed
"""

import re
from dataclasses import dataclass, field
from typing import Literal

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+", re.ASCII)
_KEYS = ("region", "credentials")

Kind = Literal["chain", "environment", "profile", "role", "static", "anonymous"]


class DsnError(ValueError):
    """What is wrong with a DSN, and what to write. The text of a DSN is never repeated: it may have a key."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Where credentials come from. *name*: of the profile, or the role's ARN. *file*: of the profile, "" for the SDK's
    own. *key_id*, *secret* and *token*: static ones.
    """

    kind: Kind
    name: str = ""
    file: str = ""
    key_id: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Dsn:
    region: str
    credentials: Credentials


def parse_dsn(text: str) -> Dsn:
    """Parse *text*. Raises DsnError."""
    pairs: dict[str, str] = {}
    for pair in text.split():
        key, equals, value = pair.partition("=")
        if not equals or key not in _KEYS:
            raise DsnError(f"should be key=value pairs of {' and '.join(_KEYS)}, separated by spaces")
        if key in pairs:
            raise DsnError(f"{key} is given twice: name one")
        pairs[key] = value
    for key in _KEYS:
        if key not in pairs:
            raise DsnError(f"{key} is missing: write region=eu-west-1 credentials=iam:")
    if not _REGION.fullmatch(pairs["region"]):
        raise DsnError("region should be one of AWS, like eu-west-1")
    return Dsn(pairs["region"], _parse_credentials(pairs["credentials"]))


def _parse_credentials(text: str) -> Credentials:
    kind, colon, rest = text.partition(":")
    simple: dict[str, Kind] = {"iam": "chain", "env": "environment", "anon": "anonymous"}
    if not text:
        return Credentials("environment")
    if colon and kind in simple:
        if rest:
            raise DsnError(f"credentials={kind}: stands alone: nothing follows its colon")
        return Credentials(simple[kind])
    if colon and kind == "static":
        return _parse_static(rest)
    if colon and kind == "sts":
        if not _ROLE.fullmatch(rest):
            raise DsnError("credentials=sts: should be followed by the ARN of a role")
        return Credentials("role", rest)
    file, colon, profile = text.rpartition(":")  # a path may have colons
    if not profile or (colon and not file):
        raise DsnError("credentials should be PROFILE or PATH:PROFILE, or iam:, env:, anon:, sts:ARN or static:ID:KEY")
    return Credentials("profile", profile, file)


def _parse_static(text: str) -> Credentials:
    key_id, _, rest = text.partition(":")
    secret, _, token = rest.partition(":")
    if not key_id or not secret:
        raise DsnError("credentials=static: should be followed by ID:KEY or ID:KEY:TOKEN")
    return Credentials("static", key_id=key_id, secret=secret, token=token)
