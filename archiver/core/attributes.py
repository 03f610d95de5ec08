"""What an archive has beside its content: ACL, storage class and tags."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self, get_args
from urllib.parse import quote

from archiver.errors import Rejected

Acl = Literal[
    "private", "public-read", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control"
]
StorageClass = Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
"""Those whose objects can be downloaded at any time."""

ACLS: tuple[str, ...] = get_args(Acl)
EXPIRY_TAG = "archiver-expires-in"
"""Key of the tag that lifecycle rules expire archives by; its value is a number of days, such as `7d`."""

MAX_TAGS = 10
"""Tags of an object ("Categorizing your storage using tags", S3 user guide)."""

DAYS = re.compile(r"[1-9][0-9]{0,3}d")
_KEY = re.compile(r"[\w +\-=.:/@]{1,128}")
_VALUE = re.compile(r"[\w +\-=.:/@]{0,256}")


def tag_problem(key: str, value: str) -> str | None:
    """Return why S3 would refuse the tag; None if it would not."""
    if not _KEY.fullmatch(key) or key.lower().startswith("aws:"):
        return "a key should have 1 to 128 letters, digits, spaces and + - = . _ : / @, and not begin with aws:"
    if not _VALUE.fullmatch(value):
        return "a value should have at most 256 letters, digits, spaces and + - = . _ : / @"
    return None


@dataclass(frozen=True, slots=True)
class Attributes:
    """*acl*, *storage_class*: None for the store's default."""

    acl: str | None = None
    storage_class: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_receipt(self) -> Self:
        """Those of the archive's receipt: it has the same owner and expires with it, and is too small for a class."""
        return self if self.storage_class is None else replace(self, storage_class=None)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of PutObject and CreateMultipartUpload, which must be signed."""
        tagging = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in self.tags.items())
        named = (("x-amz-acl", self.acl), ("x-amz-storage-class", self.storage_class), ("x-amz-tagging", tagging))
        return tuple((name, value) for name, value in named if value)


NO_ATTRIBUTES = Attributes()


def parse_tags(text: str) -> dict[str, str]:
    """Parse the setting: `key=value`, comma-separated and trimmed. Raises ValueError."""
    tags = {}
    for entry in (part.strip() for part in text.split(",")):
        key, equals, value = entry.partition("=")
        if not equals or tag_problem(key, value) is not None or key in tags or key == EXPIRY_TAG:
            raise ValueError(entry)
        tags[key] = value
    if len(tags) > MAX_TAGS:
        raise ValueError(f"{len(tags)} tags")
    return tags


@dataclass(frozen=True, slots=True)
class AttributeRules:
    """
    What requests may say of their archives, as the operator lists it. *acl*: ACLs; *tags*: keys of tags; *expires_in*:
    numbers of days, such as `7d`, that a lifecycle rule of the bucket expires by.
    """

    acl: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    expires_in: tuple[str, ...] = ()


NO_ATTRIBUTE_RULES = AttributeRules()


class AttributeRequest(Protocol):
    """What a request says of its archive; None: nothing."""

    @property
    def acl(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str] | None: ...
    @property
    def expires_in(self) -> str | None: ...


def attributes_of(request: AttributeRequest, base: Attributes, rules: AttributeRules) -> Attributes:
    """
    Return the attributes of the archive of *request*: *base*, from the settings, and what the request adds. Its tags
    replace the settings' ones with the same key.

    Raises Rejected: `option_not_allowed` if *rules* do not list it, `invalid_request` for too many tags.
    """
    tags = request.tags or {}
    problems = [
        f"$.{name} {given!r:.140} is not allowed; {_listed(name, allowed)}"
        for name, given, allowed in (
            ("acl", request.acl, rules.acl),
            *(("tags", key, rules.tags) for key in tags),
            ("expires_in", request.expires_in, rules.expires_in),
        )
        if given is not None and given not in allowed
    ]
    if problems:
        raise Rejected("option_not_allowed", "; ".join(problems))
    expiry = {} if request.expires_in is None else {EXPIRY_TAG: request.expires_in}
    every = {**base.tags, **tags, **expiry}
    if len(every) > MAX_TAGS:
        raise Rejected(
            "invalid_request", f"$.tags makes {len(every)} tags with those of the settings; at most {MAX_TAGS}"
        )
    return replace(base, acl=request.acl or base.acl, tags=every)


def expiring(base: Attributes, expires_in: str | None, rules: AttributeRules) -> Attributes:
    """
    Return *base* with the tag of *expires_in*, for what is stored beside the archive of a request that says so. It may
    be invalid: what *rules* do not list is left out.
    """
    if expires_in not in rules.expires_in or len({*base.tags, EXPIRY_TAG}) > MAX_TAGS:
        return base
    return replace(base, tags={**base.tags, EXPIRY_TAG: expires_in})


def _listed(name: str, allowed: tuple[str, ...]) -> str:
    if not allowed:
        return f"[archives] of the worker's POLICY_FILE lists no {name}"
    return f"the worker's POLICY_FILE lists {', '.join(allowed)}"
