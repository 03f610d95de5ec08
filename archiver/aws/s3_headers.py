"""Headers that settings add to S3 requests: encryption of archives, requester pays, expected bucket owners."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

Encryption = Literal["AES256", "aws:kms", "aws:kms:dsse"]

_REQUESTER_PAYS_OPERATIONS = frozenset({"GetObject", "HeadObject", "ListObjectsV2"})
_CREATE_OPERATIONS = frozenset({"PutObject", "CreateMultipartUpload"})


@dataclass(frozen=True, slots=True)
class S3Headers:
    """
    *encryption* of created objects, with *kms_key* (None: the bucket's key) and *bucket_key*; *requester_pays*: for
    reads; *owners*: expected account id by bucket name.
    """

    encryption: Encryption | None = None
    kms_key: str | None = None
    bucket_key: bool = False
    requester_pays: bool = False
    owners: Mapping[str, str] = field(default_factory=dict)

    def lines(self, method: str, bucket: str, query: str) -> list[tuple[str, str]]:
        """Return the headers of a request of the own HTTP client; all must be signed. *query* identifies parts."""
        lines = []
        if self.requester_pays and (method in ("GET", "HEAD") or query == "restore="):
            lines.append(("x-amz-request-payer", "requester"))
        if bucket in self.owners:
            lines.append(("x-amz-expected-bucket-owner", self.owners[bucket]))
        if (method, query.rstrip("=")) in (("PUT", ""), ("POST", "uploads")):
            lines += [(f"x-amz-server-side-encryption{name}", value) for name, value in self._encryption().items()]
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

    def add_to_client(self, client: Any) -> None:
        """Add the same parameters to every call of the SDK's S3 *client*."""
        client.meta.events.register("before-parameter-build.s3", self._add_parameters)

    def _add_parameters(self, params: MutableMapping[str, Any], model: Any, **_: Any) -> None:
        if self.requester_pays and model.name in _REQUESTER_PAYS_OPERATIONS:
            params.setdefault("RequestPayer", "requester")
        owner = self.owners.get(params.get("Bucket", ""))
        if owner is not None and "ExpectedBucketOwner" in model.input_shape.members:
            params.setdefault("ExpectedBucketOwner", owner)
        if self.encryption is not None and model.name in _CREATE_OPERATIONS:
            params["ServerSideEncryption"] = self.encryption
            if self.kms_key is not None:
                params["SSEKMSKeyId"] = self.kms_key
            if self.bucket_key:
                params["BucketKeyEnabled"] = True
