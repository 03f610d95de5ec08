"""What the objects of AWS events stand for: order files, whose content is a request, or objects to archive."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from archiver.core import strict_json
from archiver.core.dialects.native import parse_request
from archiver.core.events import EventMessage, Ignored, NewObject
from archiver.core.locations import Location, is_bucket_name, split_bucket
from archiver.errors import Rejected

_SAMPLE = "s3://a-bucket/a-key.jpg"
_UNIQUE = ("files", "manifest", "job_id", "cancel", "test")  # fields that a template can't have


@dataclass(frozen=True, slots=True)
class OrderFile:
    """An object whose content is the body of *message*."""

    location: Location
    size: int | None
    message: EventMessage


@dataclass(frozen=True, slots=True)
class EventRules:
    """
    *orders*: the bucket and the prefix of order files. *template*: the request that is made for other objects. None: no
    object stands for that. Objects in *destination_bucket* are archives: they stand for nothing, else each would make
    the next.
    """

    destination_bucket: str
    orders: tuple[str, str] | None = None
    template: str | None = None

    def judge(self, new: NewObject) -> OrderFile | EventMessage | Ignored:
        """Return what *new* stands for. Where no object stands for anything, its event is the request: a mistake."""
        if self.orders is None and self.template is None:
            return new.message
        message = replace(new.message, id=_id(new))
        if (reason := self._reason_to_ignore(new)) is not None:
            return Ignored(reason, message)
        if self._is_order(new):
            return OrderFile(Location(new.bucket, new.key), new.size, message)
        files = [{"source": f"s3://{new.bucket}/{new.key}"}]
        return replace(message, body=strict_json.dump({**strict_json.load(self.template or "{}"), "files": files}))

    def _is_order(self, new: NewObject) -> bool:
        return self.orders is not None and new.bucket == self.orders[0] and new.key.startswith(self.orders[1])

    def _reason_to_ignore(self, new: NewObject) -> str | None:
        if new.bucket == self.destination_bucket:
            return "the object is in S3_DESTINATION_BUCKET"
        if new.key.endswith("/"):
            return "the object stands for a folder"
        if self._is_order(new):
            is_named = new.key.lower().endswith(".json")
            return None if is_named else "the object is under ORDERS_PREFIX, and its name does not end in .json"
        if self.template is None:
            return "the object is not under ORDERS_PREFIX, and EVENT_REQUEST is not set"
        return None


def _id(new: NewObject) -> str:
    """Return what identifies this version of the object: the same when the event comes again."""
    return hashlib.sha256(f"{new.bucket}\n{new.key}\n{new.etag}".encode(errors="surrogatepass")).hexdigest()[:32]


def parse_orders_prefix(text: str) -> tuple[str, str]:
    """Parse the setting ORDERS_PREFIX: `bucket/` or `bucket/prefix/`. Raises ValueError."""
    bucket, prefix = split_bucket(text)
    if not is_bucket_name(bucket) or not text.endswith("/"):
        raise ValueError("no bucket and prefix")
    return bucket, prefix


def check_template(text: str) -> str:
    """Return *text*, the setting EVENT_REQUEST: a request without files. Raises ValueError that says why it is none."""
    try:
        data: Any = strict_json.load(text)
        if not isinstance(data, dict) or any(name in data for name in _UNIQUE):
            raise ValueError(f"it should be a JSON object without {', '.join(_UNIQUE)}")
        parse_request(strict_json.dump({**data, "files": [{"source": _SAMPLE}]}))
    except Rejected as rejected:
        raise ValueError(rejected.message) from None
    return text
