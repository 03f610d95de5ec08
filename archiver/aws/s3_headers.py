"""Headers that settings add to S3 requests: encryption of archives, requester pays, expected bucket owners."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from archiver.settings import Environment

Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]


@dataclass(frozen=True, slots=True)
class S3Headers:
    """
    *encryption* of created objects, with *kms_key* (None: the bucket's key) and *bucket_key*; *requester_pays*: for
    reads; *owners*: expected account id by bucket name; *archives*: the bucket of archives, None: any.
    """

    encryption: Encryption | None = None
    kms_key: str | None = None
    bucket_key: bool = False
    requester_pays: bool = False
    owners: Mapping[str, str] = field(default_factory=dict)
    archives: str | None = None

    def lines(self, method: str, bucket: str, query: str) -> list[tuple[str, str]]:
        """Return the headers of a request; all must be signed. *query* identifies parts and other calls."""
        lines = []
        if self.requester_pays and (method in ("GET", "HEAD") or query == "restore="):
            lines.append(("x-amz-request-payer", "requester"))
        if bucket in self.owners:
            lines.append(("x-amz-expected-bucket-owner", self.owners[bucket]))
        if bucket == (self.archives or bucket) and (method, query.rstrip("=")) in (("PUT", ""), ("POST", "uploads")):
            lines += [(f"x-amz-server-side-encryption{name}", value) for name, value in self._encryption().items()]
        return lines

    def copy_lines(self, bucket: str) -> list[tuple[str, str]]:
        """Return the further headers of a copy from *bucket*; all must be signed."""
        lines = [("x-amz-request-payer", "requester")] if self.requester_pays else []
        if bucket in self.owners:
            lines.append(("x-amz-source-expected-bucket-owner", self.owners[bucket]))
        return lines

    def _encryption(self) -> dict[str, str]:
        if self.encryption is None:
            return {}
        values = {"": str(self.encryption)}
        if self.kms_key is not None:
            values["-aws-kms-key-id"] = self.kms_key
        if self.bucket_key:
            values["-bucket-key-enabled"] = "true"
        return values


def request_headers(settings: Environment) -> S3Headers:
    """What the settings add to requests to S3."""
    named = ((settings.source_bucket, settings.source_owner), (settings.destination_bucket, settings.bucket_owner))
    return S3Headers(
        encryption=settings.archive_sse,
        kms_key=settings.archive_kms_key,
        bucket_key=settings.archive_bucket_key,
        requester_pays=settings.request_payer is not None,
        owners={bucket: owner for bucket, owner in named if bucket and owner},
        archives=settings.destination_bucket,
    )
