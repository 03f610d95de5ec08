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

from archiver.errors import ArchiverError, ConfigurationFault, Temporary
from archiver.http.proxy import of_sdk
from archiver.http.tls import refused

NO_CREDENTIALS = "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

Make = Callable[[str], ArchiverError]
"""Makes one of our errors from a sentence that says what happened."""

REFUSED = frozenset(
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
_PASSING = frozenset(
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
_PASSING_STATUS = frozenset({408, 409, 412, 425, 429})
_NOT_OURS_TO_DO = frozenset({501, 505, 507})
"""5xx that stay: not implemented, a version not supported, no storage left."""

DENIED = frozenset({"403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled"})
NO_QUEUE = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
NO_BUCKET = frozenset({"NoSuchBucket"})
_PROXY_ASKS = "407"  # of a proxy that forwards requests to an http endpoint

CREDENTIALS = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError, SSOError)
"""What the SDK raises where a provider of credentials gives none."""


class NotThere(ConfigurationFault):
    """A queue or a bucket definitely does not exist."""


class CredentialsFault(ConfigurationFault):
    """A provider of credentials is there, and gives none: an agent that does not listen yet, a token file to come."""


def credentials_told(error: BaseException) -> str:
    """
    What is said of *error* of a provider of credentials: its own text may hold anything; its name, or that of a file,
    may be told.
    """
    provider = getattr(error, "kwargs", {}).get("provider")
    told = f"{provider}: {type(error).__name__}" if provider else type(error).__name__
    if isinstance(error, OSError) and error.filename:
        told = f"{error.filename}: {error.strerror}"
    return f"credentials can't be had: {told}"


def codes(error: ClientError) -> frozenset[str]:
    """
    Every name that *error* goes by: SQS has an old and a new one for each, S3 answers HEAD with bare numbers.
    The number is among them only where there is no name.
    """
    told = error.response.get("Error", {})
    names = (told.get("Code"), told.get("QueryErrorCode"))
    return frozenset(str(name).rsplit("#", 1)[-1].removeprefix("AWS.SimpleQueueService.") for name in names if name)


def refuses(status: int, names: AbstractSet[str]) -> bool:
    """
    Whether an answer with *status* and these codes refuses what we are, or what we ask, for good: no message's fault
    where the call is our own write, send or delete. By status, as no list of names is whole: KMS, quotas, policies,
    checksums and headers that a store does not know.
    """
    if status in _NOT_OURS_TO_DO:
        return True
    return 400 <= status < 500 and status not in _PASSING_STATUS and not passing(names)  # noqa: PLR2004


def passing(names: AbstractSet[str]) -> bool:
    """Whether one of the codes *names* says that the same may work later; all throttling does."""
    return bool(names & _PASSING) or any("Throttl" in name or "SlowDown" in name for name in names)


def meaning(
    error: ClientError, operation: str, special: Mapping[str, Make], refused: Make | None = None
) -> ArchiverError:
    """
    Our word for *error* of *operation*: what *special* says of its code; refused credentials are a ConfigurationFault;
    *refused* says what any other refusal is (see `refuses`); else Temporary.
    """
    names = codes(error)
    reason = error.response.get("Error", {}).get("Message") or "no reason given"
    # What refuses credentials may quote the request, signature and token included.
    text = f"{operation}: {'refused' if names & REFUSED else reason} ({', '.join(sorted(names))})"
    for name in names & special.keys():
        return special[name](text)
    if _PROXY_ASKS in names and (refusal := of_sdk("", int(_PROXY_ASKS), "AWS")) is not None:
        return refusal
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if names & REFUSED:
        return ConfigurationFault(text)
    return refused(text) if refused is not None and refuses(status, names) else Temporary(text)


@contextmanager
def translated(
    operation: str, special: Mapping[str, Make] | None = None, refused: Make | None = None
) -> Iterator[None]:
    """
    Surround one call: what it raises leaves as one of ours. *special* maps error codes to errors.

    Without an entry there, refused credentials, clocks, regions and certificates are a ConfigurationFault, and any
    other refusal is what *refused* makes of it. All else is Temporary: throttling, time-outs, lost connections, and
    what we do not know.
    """
    try:
        yield
    except ClientError as error:
        raise meaning(error, operation, special or {}, refused) from error
    except NoCredentialsError as error:
        raise ConfigurationFault(NO_CREDENTIALS) from error
    except NoRegionError as error:
        raise ConfigurationFault(f"{operation}: {error}") from error
    except PartialCredentialsError as error:
        raise ConfigurationFault(partial_told(error)) from error
    except CREDENTIALS as error:
        raise CredentialsFault(credentials_told(error)) from None
    except ProxyConnectionError as error:
        raise _proxy_fault(operation, error) from None  # behind it stands the proxy's URL, password included
    except (FileNotFoundError, PermissionError) as error:  # no file is read here but tokens and profiles
        raise CredentialsFault(credentials_told(error)) from None
    except SSLError as error:
        raise _refused_by_sdk(operation, error) from error
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Temporary(f"{operation}: {type(error).__name__}: {error}") from error


def partial_told(error: PartialCredentialsError) -> str:
    """Which half of a pair is missing."""
    absent = str(error.kwargs.get("cred_var", "")).upper()
    return f"{absent}: is required beside its other half ({error.kwargs.get('provider')})"


def _proxy_fault(operation: str, error: ProxyConnectionError) -> ArchiverError:
    """The SDK masks which proxy it was, and does not say what it answered; aiohttp does, behind it."""
    cause = error.__context__
    request = getattr(cause, "request_info", None)
    host = request.url.host if request is not None else "AWS"
    return of_sdk(str(error), getattr(cause, "status", 0), host) or Temporary(f"{operation}: {error}")


def table(make: Make, names: AbstractSet[str]) -> dict[str, Make]:
    """All of *names*, each with *make*: a piece of a *special* table."""
    return dict.fromkeys(names, make)


def _refused_by_sdk(operation: str, error: SSLError) -> ArchiverError:
    """`http.tls.refused` where the SDK was told so; Temporary where TLS failed for another reason."""
    inner = error.kwargs.get("error")  # aiohttp's
    refusal = getattr(inner, "certificate_error", None)
    if isinstance(refusal, ssl.SSLCertVerificationError):
        return refused(str(getattr(inner, "host", operation)), refusal)
    return Temporary(f"{operation}: {type(error).__name__}: {error}")
