"""The errors of AWS and of its libraries become ours here; nothing above `archiver.aws` sees a ClientError."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

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

NO_CREDENTIALS = "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

ErrorFactory = Callable[[str], ArchiverError]
"""Makes one of our errors from a sentence that says what happened."""

CREDENTIAL_ERROR_CODES = frozenset(
    {
        # who we are
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
        # what our clock says
        "RequestExpired",
        "RequestTimeTooSkewed",
        # where we believe to be
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
    }
)
# Of one moment, though the status is a 4xx: cut uploads and bodies damaged on the way among them.
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
"""5xx that stay: not implemented, a version not supported, no storage left."""

DENIED = frozenset({"403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled"})
NO_QUEUE = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
NO_BUCKET = frozenset({"NoSuchBucket"})
_PROXY_AUTH_REQUIRED = "407"  # of a proxy that forwards requests to an http endpoint

CREDENTIAL_PROVIDER_ERRORS = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError, SSOError)
"""What the SDK raises where a provider of credentials gives none."""


class ResourceNotFound(ConfigurationError):
    """A queue or a bucket definitely does not exist."""


class CredentialsError(ConfigurationError):
    """A provider of credentials is there, and gives none: an agent that does not listen yet, a token file to come."""


def credentials_message(error: BaseException) -> str:
    """
    What is said of *error* of a provider of credentials: its own text may hold anything; its name, or that of a file,
    may be told.
    """
    provider = getattr(error, "kwargs", {}).get("provider")
    reason = f"{provider}: {type(error).__name__}" if provider else type(error).__name__
    if isinstance(error, OSError) and error.filename:
        reason = f"{error.filename}: {error.strerror}"
    return f"credentials can't be had: {reason}"


def error_codes(error: ClientError) -> frozenset[str]:
    """
    Every name that *error* goes by: SQS has an old and a new one for each, S3 answers HEAD with bare numbers.
    The number is among them only where there is no name.
    """
    details = error.response.get("Error", {})
    names = (details.get("Code"), details.get("QueryErrorCode"))
    return frozenset(str(name).rsplit("#", 1)[-1].removeprefix("AWS.SimpleQueueService.") for name in names if name)


def is_refusal(status: int, names: AbstractSet[str]) -> bool:
    """
    Whether an answer with *status* and these codes refuses what we are, or what we ask, for good: no message's fault
    where the call is our own write, send or delete. By status, as no list of names is whole: KMS, quotas, policies,
    checksums and headers that a store does not know.
    """
    if status in _PERMANENT_SERVER_STATUSES:
        return True
    return 400 <= status < 500 and status not in _TRANSIENT_STATUSES and not is_transient(names)  # noqa: PLR2004


def is_transient(names: AbstractSet[str]) -> bool:
    """Whether one of the codes *names* says that the same may work later; all throttling does."""
    return bool(names & _TRANSIENT_CODES) or any("Throttl" in name or "SlowDown" in name for name in names)


def map_error(
    error: ClientError, operation: str, mapping: Mapping[str, ErrorFactory], on_refusal: ErrorFactory | None = None
) -> ArchiverError:
    """
    Our word for *error* of *operation*: what *mapping* says of its code; refused credentials are a ConfigurationError;
    *on_refusal* says what any other refusal is (see `is_refusal`); else TransientError.
    """
    names = error_codes(error)
    reason = error.response.get("Error", {}).get("Message") or "no reason given"
    # What refuses credentials may quote the request, signature and token included.
    text = f"{operation}: {'refused' if names & CREDENTIAL_ERROR_CODES else reason} ({', '.join(sorted(names))})"
    for name in names & mapping.keys():
        return mapping[name](text)
    if (
        _PROXY_AUTH_REQUIRED in names
        and (refusal := proxy_error_from_sdk("", int(_PROXY_AUTH_REQUIRED), "AWS")) is not None
    ):
        return refusal
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if names & CREDENTIAL_ERROR_CODES:
        return ConfigurationError(text)
    return on_refusal(text) if on_refusal is not None and is_refusal(status, names) else TransientError(text)


@contextmanager
def map_errors(
    operation: str, mapping: Mapping[str, ErrorFactory] | None = None, on_refusal: ErrorFactory | None = None
) -> Iterator[None]:
    """
    Surround one call: what it raises leaves as one of ours. *mapping* maps error codes to errors.

    Without an entry there, refused credentials, clocks, regions and certificates are a ConfigurationError, and any
    other refusal is what *on_refusal* makes of it. All else is TransientError: throttling, time-outs, lost connections,
    and what we do not know.
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
        raise _proxy_error(operation, error) from None  # behind it stands the proxy's URL, password included
    except (FileNotFoundError, PermissionError) as error:  # no file is read here but tokens and profiles
        raise CredentialsError(credentials_message(error)) from None
    except SSLError as error:
        raise _certificate_error_from_sdk(operation, error) from error
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TransientError(f"{operation}: {type(error).__name__}: {error}") from error


def partial_credentials_message(error: PartialCredentialsError) -> str:
    """Which half of a pair is missing."""
    absent = str(error.kwargs.get("cred_var", "")).upper()
    return f"{absent}: is required beside its other half ({error.kwargs.get('provider')})"


def _proxy_error(operation: str, error: ProxyConnectionError) -> ArchiverError:
    """The SDK masks which proxy it was, and does not say what it answered; aiohttp does, behind it."""
    cause = error.__context__
    request = getattr(cause, "request_info", None)
    host = request.url.host if request is not None else "AWS"
    return proxy_error_from_sdk(str(error), getattr(cause, "status", 0), host) or TransientError(
        f"{operation}: {error}"
    )


def error_map(factory: ErrorFactory, names: AbstractSet[str]) -> dict[str, ErrorFactory]:
    """All of *names*, each with *factory*: a piece of a *mapping* table."""
    return dict.fromkeys(names, factory)


def _certificate_error_from_sdk(operation: str, error: SSLError) -> ArchiverError:
    """`http.tls.certificate_error` where the SDK was told so; TransientError where TLS failed for another reason."""
    inner = error.kwargs.get("error")  # aiohttp's
    refusal = getattr(inner, "certificate_error", None)
    if isinstance(refusal, ssl.SSLCertVerificationError):
        return certificate_error(str(getattr(inner, "host", operation)), refusal)
    return TransientError(f"{operation}: {type(error).__name__}: {error}")
