"""Errors as sentences that a person can act on, and the exit code that goes with each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoRegionError,
    PartialCredentialsError,
)

from archiver.aws.error_mapping import DENIED, NO_CREDENTIALS, REFUSED, CredentialsFault, NotThere, codes
from archiver.cli.console import DEFECT, LATER, NO, USAGE, Problem
from archiver.errors import ArchiverError, ConfigurationFault, Rejected, Temporary
from archiver.settings import SettingsError

_ACTIONS = {"ListObjectsV2": "s3:ListBucket", "HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}


@contextmanager
def told() -> Iterator[None]:
    """Errors that leave the block become a Problem: ours in their own words, all others as defects."""
    try:
        yield
    except SettingsError as error:
        raise Problem(*error.problems, code=USAGE) from error
    except ArchiverError as error:
        raise problem_of(error) from error
    except Problem:
        raise
    except MemoryError as error:
        raise Problem(
            "this machine has not enough memory left for it: try again where there is more", code=LATER
        ) from error
    except Exception as error:
        if os.environ.get("DEBUG"):
            raise
        kind = f"{type(error).__name__}: {error}"
        raise Problem(
            f"a defect of the archiver: {kind} (DEBUG=1 shows the traceback: please report it)", code=DEFECT
        ) from error


def problem_of(error: ArchiverError) -> Problem:
    """What to say of *error*."""
    if isinstance(error, Rejected):
        return Problem(f"{error.code}: {error.message}", code=NO)
    if isinstance(error, NotThere):
        return Problem(f"there is no such thing: {error}; check the name, and the region ({_region()})", code=USAGE)
    if isinstance(error, CredentialsFault):
        return Problem(f"{error}: try again once they can", code=LATER)
    if isinstance(error, ConfigurationFault):
        return Problem(_mended(error), code=USAGE)
    if isinstance(error, Temporary):
        return _temporary(error)
    return Problem(str(error), code=NO)


def _mended(error: ConfigurationFault) -> str:
    """What *error* says, and what to do about it."""
    cause = error.__cause__
    if str(error) == NO_CREDENTIALS or isinstance(cause, PartialCredentialsError):
        return f"{NO_CREDENTIALS} (without an AWS account: archiver local)"
    if isinstance(cause, NoRegionError):
        return "no AWS region is set: set AWS_REGION, eu-west-1 say"
    if isinstance(cause, ClientError):
        return _refused(str(error), cause)
    return str(error)


def _refused(text: str, cause: ClientError) -> str:
    names = codes(cause)
    if names & {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}:
        return f"{text}: the credentials have expired: get new ones (aws sso login, say)"
    if names & {"RequestTimeTooSkewed"}:
        return f"{text}: this machine's clock is wrong: set it"
    if names & {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException"}:
        return f"{text}: this bucket is in another region than {_region()}: set AWS_REGION to its own"
    if names & REFUSED:
        return (
            f"{text}: AWS does not know these credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE"
        )
    if names & DENIED:
        return f"{text}: allow {_action(cause)} to who you are (archiver check says who, and archiver iam-policy what)"
    return text


def _action(cause: ClientError) -> str:
    operation = cause.operation_name
    service = "sqs" if "Queue" in operation or "Message" in operation else "s3"
    return _ACTIONS.get(operation, f"{service}:{operation}")


def _temporary(error: Temporary) -> Problem:
    if isinstance(error.__cause__, EndpointConnectionError):
        where = os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        local = " (docker compose up -d, or archiver local, starts one there)" if "localhost" in where else ""
        return Problem(f"nothing answers at {where}: check AWS_ENDPOINT_URL and the network{local}", code=LATER)
    return Problem(f"{error}: try again", code=LATER)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "the profile's"
