"""What UploadPartCopy copies, as headers, and what its failures mean. No I/O."""

from urllib.parse import quote

from archiver.aws.error_mapping import is_transient
from archiver.aws.s3_errors import error_names
from archiver.aws.s3_responses import error_code, server_error
from archiver.aws.sigv4 import encode_key
from archiver.core.locations import Location, access_point
from archiver.errors import ArchiveExists, ArchiverError, CopyRefused, SourceChanged, TransferInterrupted
from archiver.http.exchange import HttpResponse

NO_CRC32 = "the store returns no CRC-32 of a copied part"
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})


def copy_source(at: Location, etag: str, version: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return the headers that name what is copied, all signed. *version*: its id; None: the current one."""
    key = encode_key(at.key)
    name = f"{at.bucket}/object/{key}" if access_point(at.bucket) is not None else f"/{at.bucket}/{key}"
    if version is not None:
        name += f"?versionId={quote(version, safe='-_.~')}"
    return (("x-amz-copy-source", name), ("x-amz-copy-source-if-match", etag))


def is_denied(response: HttpResponse) -> bool:
    """Whether the store denies the copy, perhaps of this version alone: that takes s3:GetObjectVersion."""
    return response.head.status == 403  # noqa: PLR2004


def copy_error(response: HttpResponse, source: Location) -> ArchiverError:
    """
    Return the error of a failed UploadPartCopy of *source*. An error in the body of a 200 is transient, unless it is
    about the object or the upload; every other refusal, of whatever reason, means that nothing is copied.
    """
    names, code, status = error_names(response), error_code(response), response.head.status
    text = f"UploadPartCopy of {source}: S3 returned {status} {code}".rstrip()
    if "NoSuchUpload" in names:
        return ArchiveExists(text)
    if names & {"412", "PreconditionFailed"}:
        return SourceChanged(text)
    if names & _GONE:
        return SourceChanged(text, gone=True)
    if status == 501 or code == "NotImplemented":  # noqa: PLR2004
        return CopyRefused(text, source)
    may_pass = status < 300 or status == 408 or is_transient({code})  # noqa: PLR2004
    otherwise = TransferInterrupted(text) if may_pass else CopyRefused(text, source)
    return server_error(response, code, text) or otherwise
