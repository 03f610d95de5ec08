"""
Exceptions as error messages, with the exit code for each.

Form of a message: what failed, then ": " and the cause, then "; " and what to do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoRegionError,
    PartialCredentialsError,
)

from archiver.aws.error_mapping import (
    CREDENTIAL_ERROR_CODES,
    DENIED,
    NO_CREDENTIALS,
    CredentialsError,
    ResourceNotFound,
    error_codes,
)
from archiver.cli.console import EXIT_FAILED, EXIT_INTERNAL, EXIT_RETRY_LATER, EXIT_USAGE, CommandError
from archiver.errors import ArchiverError, ConfigurationError, Rejected, TransientError
from archiver.settings import SettingsError

_IAM_ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "RunTask": "ecs:RunTask, and iam:PassRole on the roles of the task,",
    "DescribeTasks": "ecs:DescribeTasks",
    "DescribeTaskDefinition": "ecs:DescribeTaskDefinition",
    "StopTask": "ecs:StopTask",
    "Invoke": "lambda:InvokeFunction",
    "GetLogEvents": "logs:GetLogEvents",
    "AssumeRole": "sts:AssumeRole",
}


@contextmanager
def errors_as_messages(region: str | None = None) -> Iterator[None]:
    """
    Turn every exception that leaves the block into a CommandError; unknown ones are internal errors. *region*: the one
    that was asked, None: that of the environment.
    """
    try:
        yield
    except SettingsError as error:
        raise CommandError(*error.problems, code=EXIT_USAGE) from error
    except ArchiverError as error:
        raise to_command_error(error, region) from error
    except CommandError:
        raise
    except MemoryError as error:
        raise CommandError("out of memory; try again on a machine with more", code=EXIT_RETRY_LATER) from error
    except Exception as error:
        if os.environ.get("DEBUG"):
            raise
        cause = f"{type(error).__name__}: {error}"
        raise CommandError(
            f"internal error (a bug in the archiver): {cause}; please report it with its traceback (DEBUG=1 shows it)",
            code=EXIT_INTERNAL,
        ) from error


def to_command_error(error: ArchiverError, region: str | None = None) -> CommandError:
    """Return the message and exit code for *error*. *region* as above."""
    if isinstance(error, Rejected):
        return CommandError(f"{error.code}: {error.message}", code=EXIT_FAILED)
    if isinstance(error, ResourceNotFound):
        message = f"not found: {error}; check the name and the region ({region or _region()})"
        return CommandError(message, code=EXIT_USAGE)
    if isinstance(error, CredentialsError):
        return CommandError(f"{error}; try again later", code=EXIT_RETRY_LATER)
    if isinstance(error, ConfigurationError):
        return CommandError(_with_hint(error), code=EXIT_USAGE)
    if isinstance(error, TransientError):
        return _transient_error(error)
    return CommandError(str(error), code=EXIT_FAILED)


def _with_hint(error: ConfigurationError) -> str:
    """Return the text of *error* and what to do about it."""
    cause = error.__cause__
    if str(error) == NO_CREDENTIALS or isinstance(cause, PartialCredentialsError):
        return f"{NO_CREDENTIALS} (without an AWS account: archiver local)"
    if isinstance(cause, NoRegionError):
        return "no AWS region is set; set AWS_REGION (for example eu-west-1)"
    if isinstance(cause, ClientError):
        return _credentials_message(str(error), cause)
    return str(error)


def _credentials_message(text: str, cause: ClientError) -> str:
    names = error_codes(cause)
    if names & {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}:
        return f"{text}: the credentials have expired; get new ones (for example with aws sso login)"
    if names & {"RequestTimeTooSkewed"}:
        return f"{text}: this machine's clock is wrong; set it (chrony or NTP)"
    if names & {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraintException"}:
        return f"{text}: the bucket is in another region than {_region()}; set AWS_REGION to the bucket's region"
    if names & CREDENTIAL_ERROR_CODES:
        return (
            f"{text}: AWS does not know these credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE"
        )
    if names & DENIED:
        return (
            f"{text}; allow {_iam_action(cause)} for your identity "
            "(archiver check prints the identity, archiver iam-policy the policy)"
        )
    return text


def _iam_action(cause: ClientError) -> str:
    operation = cause.operation_name
    service = "sqs" if "Queue" in operation or "Message" in operation else "s3"
    return _IAM_ACTIONS.get(operation, f"{service}:{operation}")


def _transient_error(error: TransientError) -> CommandError:
    if isinstance(error.__cause__, EndpointConnectionError):
        # The address that was tried: it follows from the region, or from a variable of the service's own.
        tried = urlsplit(str(error.__cause__.kwargs.get("endpoint_url", "")))
        where = f"{tried.scheme}://{tried.netloc.rpartition('@')[2]}"
        local = " (docker compose up -d or archiver local starts an endpoint there)" if "localhost" in where else ""
        return CommandError(
            f"no connection to {where}; check AWS_ENDPOINT_URL, the region and the network{local}",
            code=EXIT_RETRY_LATER,
        )
    return CommandError(f"{error}; try again", code=EXIT_RETRY_LATER)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "the profile's"
