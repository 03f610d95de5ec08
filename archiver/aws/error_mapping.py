"""Maps errors of AWS and its libraries to `archiver.errors`; no code outside `archiver.aws` sees a ClientError."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)

from archiver.errors import ArchiverError, ConfigurationError, TransientError
from archiver.http.proxy import proxy_error_from_sdk
from archiver.http.tls import certificate_error

NO_CREDENTIALS = "no AWS credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

ErrorFactory = Callable[[str], ArchiverError]
"""Creates an error from its message."""

CREDENTIAL_ERROR_CODES = frozenset(
    {
        # identity
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
        # clock
        "RequestExpired",
        "RequestTimeTooSkewed",
        # region
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
    }
)
# Transient, although the status is a 4xx; for example interrupted uploads and bodies damaged in transit.
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",
        "BandwidthLimitExceeded",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InvalidDigest",
        "OperationAborted",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "TooManyRequests",
        "TooManyRequestsException",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_TRANSIENT_STATUSES = frozenset({408, 409, 412, 425, 429})
_PERMANENT_SERVER_STATUSES = frozenset({501, 505, 507})
"""5xx that a retry does not fix: not implemented, version not supported, no storage left."""

DENIED = frozenset({"403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled"})
NO_QUEUE = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
NO_BUCKET = frozenset({"NoSuchBucket"})
_PROXY_AUTH_REQUIRED = "407"  # from a proxy that forwards requests to an http endpoint

CREDENTIAL_PROVIDER_ERRORS = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError, SSOError)
"""Errors that the SDK raises if a credentials provider fails."""


class ResourceNotFound(ConfigurationError):
    """A queue or a bucket definitely does not exist."""


class CredentialsError(ConfigurationError):
    """A configured credentials provider fails: for example an agent that does not listen yet, a missing token file."""


def credentials_message(error: BaseException) -> str:
    """
    Return the message for the *error* of a credentials provider: only the names of provider, exception and file.

    The text of the error may contain secrets.
    """
    provider = getattr(error, "kwargs", {}).get("provider")
    reason = f"{provider}: {type(error).__name__}" if provider else type(error).__name__
    if isinstance(error, OSError) and error.filename:
        reason = f"{error.filename}: {error.strerror}"
    return f"no credentials available: {reason}"


def error_codes(error: ClientError) -> frozenset[str]:
    """
    Return all codes of *error*. SQS has an old and a new code for each error; S3 responds to HEAD with the status only,
    which is then the code.
    """
    details = error.response.get("Error", {})
    names = (details.get("Code"), details.get("QueryErrorCode"))
    return frozenset(str(name).rsplit("#", 1)[-1].removeprefix("AWS.SimpleQueueService.") for name in names if name)


def is_refusal(status: int, names: AbstractSet[str]) -> bool:
    """
    Return whether a response with *status* and the codes *names* is a permanent refusal of the caller or the call.

    If the call is the worker's own write, send or delete, no message is the cause. Decided by status, because no list
    of codes is complete: KMS, quotas, policies, unsupported checksums and headers.
    """
    if status in _PERMANENT_SERVER_STATUSES:
        return True
    return 400 <= status < 500 and status not in _TRANSIENT_STATUSES and not is_transient(names)  # noqa: PLR2004


def is_server_failure(status: int) -> bool:
    """Return whether *status* is a 5xx that a retry may fix."""
    return status >= 500 and status not in _PERMANENT_SERVER_STATUSES  # noqa: PLR2004


def is_transient(names: AbstractSet[str]) -> bool:
    """Return whether one of the codes *names* is transient; all throttling codes are."""
    return bool(names & _TRANSIENT_CODES) or any("Throttl" in name or "SlowDown" in name for name in names)


class Failure(NamedTuple):
    """A failed call: its *operation*, S3's or SQS's *codes*, the HTTP *status*, and the server's *reason*, or empty."""

    operation: str
    codes: frozenset[str]
    status: int
    reason: str

    def __str__(self) -> str:
        # The text of a credentials error may quote the request with its signature and token.
        reason = "refused" if self.codes & CREDENTIAL_ERROR_CODES else self.reason or "no reason given"
        return f"{self.operation}: {reason} ({', '.join(sorted(self.codes))})"

    def mapped(self, mapping: Mapping[str, ErrorFactory], on_refusal: ErrorFactory | None) -> ArchiverError | None:
        """
        Return the error of a failure that has a cause: by code with *mapping*; refused credentials:
        ConfigurationError; any other permanent refusal (see `is_refusal`): with *on_refusal*. None: it may pass.
        """
        for code in self.codes & mapping.keys():
            return mapping[code](str(self))
        if self.codes & CREDENTIAL_ERROR_CODES:
            return ConfigurationError(str(self))
        if on_refusal is not None and is_refusal(self.status, self.codes):
            return on_refusal(str(self))
        return None


def map_error(
    error: ClientError, operation: str, mapping: Mapping[str, ErrorFactory], on_refusal: ErrorFactory | None = None
) -> ArchiverError:
    """Map *error* of *operation*: see `Failure.mapped`; what may pass becomes TransientError."""
    codes = error_codes(error)
    if (
        _PROXY_AUTH_REQUIRED in codes - mapping.keys()
        and (refusal := proxy_error_from_sdk("", int(_PROXY_AUTH_REQUIRED), "AWS")) is not None
    ):
        return refusal
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    failure = Failure(operation, codes, status, error.response.get("Error", {}).get("Message") or "")
    return failure.mapped(mapping, on_refusal) or TransientError(str(failure))


@contextmanager
def map_errors(
    operation: str, mapping: Mapping[str, ErrorFactory] | None = None, on_refusal: ErrorFactory | None = None
) -> Iterator[None]:
    """
    Map the errors of the call in the block. *mapping* maps error codes to errors.

    Without an entry there, refused credentials, clocks, regions and certificates become ConfigurationError, and any
    other permanent refusal is mapped with *on_refusal*. All else becomes TransientError: throttling, timeouts, lost
    connections, and unknown errors.
    """
    try:
        yield
    except ClientError as error:
        raise map_error(error, operation, mapping or {}, on_refusal) from error
    except NoCredentialsError as error:
        raise ConfigurationError(NO_CREDENTIALS) from error
    except NoRegionError as error:
        raise ConfigurationError(f"{operation}: {error}") from error
    except PartialCredentialsError as error:
        raise ConfigurationError(partial_credentials_message(error)) from error
    except CREDENTIAL_PROVIDER_ERRORS as error:
        raise CredentialsError(credentials_message(error)) from None
    except ProxyConnectionError as error:
        raise _proxy_error(operation, error) from None  # the cause contains the proxy's URL and password
    except (FileNotFoundError, PermissionError) as error:  # the only files read here are tokens and profiles
        raise CredentialsError(credentials_message(error)) from None
    except SSLError as error:
        raise _certificate_error_from_sdk(operation, error) from error
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TransientError(f"{operation}: {type(error).__name__}: {error}") from error


def partial_credentials_message(error: PartialCredentialsError) -> str:
    """Return the message that names the missing half of a key pair."""
    missing = str(error.kwargs.get("cred_var", "")).upper()
    return f"{missing}: is required with the other half of the key pair ({error.kwargs.get('provider')})"


def _proxy_error(operation: str, error: ProxyConnectionError) -> ArchiverError:
    """Map a proxy's error. The SDK hides the proxy and its status; they are taken from aiohttp's error, its context."""
    cause = error.__context__
    request = getattr(cause, "request_info", None)
    host = request.url.host if request is not None else "AWS"
    return proxy_error_from_sdk(str(error), getattr(cause, "status", 0), host) or TransientError(
        f"{operation}: {error}"
    )


def error_map(factory: ErrorFactory, names: AbstractSet[str]) -> dict[str, ErrorFactory]:
    """Return a *mapping* of all codes *names* to *factory*."""
    return dict.fromkeys(names, factory)


def _certificate_error_from_sdk(operation: str, error: SSLError) -> ArchiverError:
    """Return `http.tls.certificate_error` for a failed verification; TransientError for other TLS failures."""
    inner = error.kwargs.get("error")  # aiohttp's
    verification_error = getattr(inner, "certificate_error", None)
    if isinstance(verification_error, ssl.SSLCertVerificationError):
        return certificate_error(str(getattr(inner, "host", operation)), verification_error)
    return TransientError(f"{operation}: {type(error).__name__}: {error}")
