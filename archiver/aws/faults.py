"""The errors of AWS and of its libraries become ours here; nothing above `archiver.aws` sees a ClientError."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from archiver.errors import ArchiverError, ConfigurationFault, Temporary

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
DENIED = frozenset({"403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled"})
NO_QUEUE = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
NO_BUCKET = frozenset({"NoSuchBucket"})

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
    NoRegionError,
)


class NotThere(ConfigurationFault):
    """A queue or a bucket definitely does not exist."""


def codes(error: ClientError) -> frozenset[str]:
    """
    Every name that *error* goes by: SQS has an old and a new one for each, S3 answers HEAD with bare numbers.
    The number is among them only where there is no name.
    """
    told = error.response.get("Error", {})
    names = (told.get("Code"), told.get("QueryErrorCode"))
    return frozenset(str(name).rsplit("#", 1)[-1].removeprefix("AWS.SimpleQueueService.") for name in names if name)


def meaning(error: ClientError, operation: str, special: Mapping[str, Make]) -> ArchiverError:
    """Our word for *error* of *operation*: what *special* says of its code, refused credentials, else Temporary."""
    names = codes(error)
    reason = error.response.get("Error", {}).get("Message") or "no reason given"
    # What refuses credentials may quote the request, signature and token included.
    text = f"{operation}: {'refused' if names & REFUSED else reason} ({', '.join(sorted(names))})"
    for name in names & special.keys():
        return special[name](text)
    return ConfigurationFault(text) if names & REFUSED else Temporary(text)


@contextmanager
def translated(operation: str, special: Mapping[str, Make] | None = None) -> Iterator[None]:
    """
    Surround one call: what it raises leaves as one of ours. *special* maps error codes to errors.

    Without an entry there, refused credentials, clocks and regions are a ConfigurationFault; all else is Temporary:
    throttling, time-outs, lost connections, and what we do not know.
    """
    try:
        yield
    except ClientError as error:
        raise meaning(error, operation, special or {}) from error
    except NoCredentialsError as error:
        raise ConfigurationFault(NO_CREDENTIALS) from error
    except NoRegionError as error:
        raise ConfigurationFault(f"{operation}: {error}") from error
    except _NO_CREDENTIALS as error:  # a provider's text may hold anything
        raise ConfigurationFault(f"{operation}: credentials can't be had: {type(error).__name__}") from None
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Temporary(f"{operation}: {type(error).__name__}: {error}") from error


def table(make: Make, names: AbstractSet[str]) -> dict[str, Make]:
    """All of *names*, each with *make*: a piece of a *special* table."""
    return dict.fromkeys(names, make)
