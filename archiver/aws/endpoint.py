"""Resolves the address of a bucket: by virtual host and region on AWS, by path elsewhere."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from archiver.aws.sigv4 import encode_key
from archiver.core.locations import Location, access_point
from archiver.http.pool import Origin

_AWS = re.compile(
    r"s3(?P<fips>-fips)?(?P<dual>\.dualstack)?(?:\.(?P<region>[a-z0-9-]+))?\.(?P<suffix>amazonaws\.(?:com(?:\.cn)?|eu))"
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# Old bucket names with capitals or underscores are not valid host names.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_HOST_LABELS = re.compile(r"(?=.{3,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_REGION = re.compile(r"[a-z0-9-]{2,40}")
_PORTS = {"http": 80, "https": 443}
_MAX_CACHED = 4096

Style = Literal["auto", "path", "virtual"]


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """The address of one bucket. *host* is the Host header; the encoded key is appended to *path*."""

    origin: Origin
    host: str
    path: str
    region: str


class UnusableNameError(ValueError):
    """The bucket or key name is invalid."""


class Endpoint:
    """
    The S3 endpoint.

    *url* and *region* come from the SDK (`client.meta.endpoint_url`, `client.meta.region_name`), which applies its
    rules for environment, profile, FIPS and dual stack. *style* is the SDK's `addressing_style`: `path` forces paths on
    AWS, `virtual` puts bucket names in the host elsewhere, too.
    """

    def __init__(self, url: str, region: str | None, *, style: Style = "auto") -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError(f"{url} begins with neither http:// nor https://")
        port = parts.port or _PORTS[parts.scheme]
        self._tls = parts.scheme == "https"
        self._hostname = parts.hostname or ""
        self._port = port
        self._base = parts.path.rstrip("/")
        self._aws = _AWS.fullmatch(self._hostname)
        self._path_style = _uses_path_style(style, self._hostname, aws=self._aws is not None)
        # A wildcard certificate covers one label, so bucket names with dots work over http only.
        allows_dots = self._aws is None and not self._tls
        self._label_pattern = _HOST_LABELS if allows_dots else _HOST_LABEL
        self._region = _signing_region((self._aws and self._aws["region"]) or region)
        self._regions: dict[str, str] = {}  # of buckets in other regions
        self._bucket_endpoints: dict[str, BucketEndpoint] = {}

    def resolve(self, bucket: str) -> BucketEndpoint:
        """Return the address of *bucket*, in the region known so far. Raises UnusableNameError."""
        endpoint = self._bucket_endpoints.get(bucket)
        if endpoint is None:
            endpoint = self._build_endpoint(bucket)
            if len(self._bucket_endpoints) >= _MAX_CACHED:  # names come from requests: bounded
                self._bucket_endpoints.clear()
            self._bucket_endpoints[bucket] = endpoint
        return endpoint

    def record_region(self, bucket: str, region: str, requested: BucketEndpoint) -> bool:
        """
        Record that, in response to a request to *requested*, S3 reported *region* as the region of *bucket*.

        Returns whether the request should be repeated there. That is so even if *region* is already recorded: several
        concurrent requests may get the same redirect.
        """
        if self._aws is None or not _REGION.fullmatch(region) or region == requested.region:
            return False
        if region != self.resolve(bucket).region:
            if len(self._regions) >= _MAX_CACHED:
                self._regions.clear()
            self._regions[bucket] = region
            self._bucket_endpoints.pop(bucket, None)
        return True

    def _build_endpoint(self, bucket: str) -> BucketEndpoint:
        if (point := access_point(bucket)) is not None:
            return self._access_point_endpoint(point)
        if not _BUCKET.fullmatch(bucket):  # the name becomes part of a host name and of a header
            raise UnusableNameError("the bucket name is invalid")
        region = self._regions.get(bucket, self._region)
        host = self._hostname
        if self._aws is not None:
            host = f"s3{self._aws['fips'] or ''}{self._aws['dual'] or ''}.{region}.{self._aws['suffix']}"
        path = f"{self._base}/"
        if self._path_style or not self._label_pattern.fullmatch(bucket):
            path += f"{bucket}/"
        else:
            host = f"{bucket}.{host}"
        host_header = f"[{host}]" if ":" in host else host
        if self._port != _PORTS["https" if self._tls else "http"]:
            host_header += f":{self._port}"
        return BucketEndpoint(Origin(self._tls, host, self._port), host_header, path, region)

    def _access_point_endpoint(self, point: re.Match[str]) -> BucketEndpoint:
        """Return the address of an access point, in the region of its ARN."""
        if self._aws is None:
            raise UnusableNameError("this endpoint does not support access point ARNs; use the access point's alias")
        name, region = f"{point['name']}-{point['account']}", point["region"]
        if (point["partition"] == "aws-cn") != self._aws["suffix"].endswith(".cn"):
            raise UnusableNameError(
                f"the access point is in {point['partition']}, another AWS partition than this endpoint"
            )
        variant = f"s3-accesspoint{self._aws['fips'] or ''}{self._aws['dual'] or ''}"
        host = f"{name}.{variant}.{region}.{self._aws['suffix']}"
        return BucketEndpoint(Origin(self._tls, host, self._port), host, "/", region)


def encoded_path(endpoint: BucketEndpoint, location: Location) -> str:
    """Return the request target of *location*. Raises UnusableNameError."""
    try:
        return endpoint.path + encode_key(location.key)
    except UnicodeEncodeError as error:
        raise UnusableNameError("the key is not valid Unicode") from error


def _uses_path_style(style: Style, hostname: str, *, aws: bool) -> bool:
    """
    Return whether bucket names go into the path.

    These are the SDK's rules (`botocore.args`, and `aws.isVirtualHostableS3Bucket`).
    """
    if style == "auto":
        return not aws
    return style == "path" or _is_ip(hostname)


def _is_ip(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return True


def _signing_region(region: str | None) -> str:
    return "us-east-1" if region in (None, "", "aws-global") else str(region)
