"""Sorts the failed S3 calls that are no reads of sources: control calls and writes. No I/O."""

import re
from collections.abc import Mapping
from html import unescape

from archiver.aws.error_mapping import ErrorFactory, Failure, error_map, is_server_failure, is_transient
from archiver.aws.s3_responses import error_code, server_error
from archiver.errors import ArchiveExists, ArchiverError, ConfigurationError, RequestRefused, TransientError
from archiver.http.exchange import HttpResponse

_ERROR = re.compile(rb"\s*(?:<\?xml[^<>]{0,200}\?>)?\s*<(?:Error|\w{1,20}:Error)[\s>]")
_MESSAGE = re.compile(rb"<Message>([^<]{1,500})")


class AclNotSupported(ConfigurationError):
    """The bucket's owner owns all of its objects ("Object Ownership"), and the write names an ACL: it had no effect."""


WRITE_ERRORS: dict[str, ErrorFactory] = (
    # Another worker finished this job and aborted this upload; the pipeline checks the key with HEAD.
    error_map(ArchiveExists, {"412", "PreconditionFailed", "NoSuchUpload"})
    # Errors of the body of one write; other writes may succeed.
    | error_map(RequestRefused, {"EntityTooLarge", "EntityTooSmall"})
    | error_map(AclNotSupported, {"AccessControlListNotSupported"})
)


def call_error(
    operation: str,
    response: HttpResponse,
    mapping: Mapping[str, ErrorFactory] | None = None,
    on_refusal: ErrorFactory | None = None,
) -> ArchiverError:
    """
    Return the error of a failed call that is no read of a source, as `error_mapping.map_errors` does for the SDK.

    A response without a code (to HEAD, or from a proxy) counts as its status.
    """
    status, code = response.head.status, error_code(response)
    if status < 300:  # noqa: PLR2004 - an error in the body of a 200
        status = 500
    failure = Failure(operation, error_names(response), status, _reason(response))
    return (
        failure.mapped(mapping or {}, on_refusal)
        or server_error(response, code, str(failure))
        or TransientError(str(failure))
    )


def error_names(response: HttpResponse) -> frozenset[str]:
    """Return S3's error code, or the status if there is none. A failed condition always counts as `412`, too."""
    code, status = error_code(response), str(response.head.status)
    return frozenset({code or status, status}) if status == "412" else frozenset({code or status})


def write_error(
    operation: str, response: HttpResponse, mapping: Mapping[str, ErrorFactory] = WRITE_ERRORS
) -> ArchiverError:
    """
    Return the error of a failed write. A permanent refusal, whatever its code, needs the operator (ConfigurationError);
    errors of this body, transient errors and server errors are transient.
    """
    return call_error(operation, response, mapping, ConfigurationError)


def is_failure(response: HttpResponse) -> bool:
    """Return whether the call failed. S3 also sends errors with a 200, after it has begun to respond."""
    return response.head.status >= 300 or _ERROR.match(response.body) is not None  # noqa: PLR2004


def may_pass(response: HttpResponse) -> bool:
    """Return whether a repetition of the same call may succeed in a moment: throttling and errors of the server."""
    status = response.head.status
    if status < 300:  # noqa: PLR2004
        return False
    return is_transient({error_code(response)}) or status in (408, 425, 429) or is_server_failure(status)


def _reason(response: HttpResponse) -> str:
    match = _MESSAGE.search(response.body)
    if match is None:
        return ""
    text = unescape(match[1].decode(errors="replace"))
    return "".join(char if char.isprintable() else " " for char in text)
