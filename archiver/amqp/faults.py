"""Errors of the AMQP client and of the broker, mapped to what the worker does about them."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelLockedResource,
    ConnectionNotAllowed,
    InvalidFrameError,
    PublishError,
)

from archiver.errors import ArchiverError, ConfigurationError, LeaseLost, TransientError

LOST = "the channel that brought the message is closed: the broker redelivers the message"

_OTHER_NAME = "set AMQP_HOSTNAME to a name in the broker's certificate, or give the broker one for this name"
_CERTIFICATE_ADVICE = {  # by X509_V_ERR_* of OpenSSL's x509_vfy.h
    9: "check the clock of this machine",  # not yet valid
    10: "renew the broker's certificate, or check the clock of this machine",  # expired
    62: _OTHER_NAME,
    64: _OTHER_NAME,  # an address
}
_UNKNOWN_ISSUER = "set AMQP_CA_FILE to the CA of its certificate"

_LIBRARY_ERRORS = (AMQPError, ChannelInvalidStateError, OSError, RuntimeError)


class EntityMissing(ConfigurationError):
    """A queue or exchange that does not exist."""


class Mismatch(ConfigurationError):
    """A queue or exchange exists with other arguments, or another type."""


class Unrouted(ConfigurationError):
    """No queue takes a message."""


class AccessRefused(ConfigurationError):
    """The user may not do this on this queue or exchange."""


ErrorFactory = Callable[[str], ArchiverError]
_REFUSALS: dict[type[Exception], ErrorFactory] = {
    ChannelNotFoundEntity: EntityMissing,
    ChannelPreconditionFailed: Mismatch,
    ChannelAccessRefused: AccessRefused,
    ChannelLockedResource: ConfigurationError,
    ConnectionNotAllowed: ConfigurationError,
}


@contextmanager
def map_errors(operation: str, on_loss: ErrorFactory = TransientError) -> Iterator[None]:
    """
    Map the errors of the client. *operation* begins the reason. *on_loss*: what a closed channel or connection is.

    Raises ConfigurationError (EntityMissing, Mismatch, AccessRefused), TransientError, or what *on_loss* makes.
    """
    try:
        yield
    except ArchiverError:
        raise
    except asyncio.CancelledError as error:
        # A connection that ends cancels its calls. A cancellation of this task, or a timeout around it, is counted.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise on_loss(f"{operation}: the connection was closed") from error
    except TimeoutError as error:
        raise TransientError(f"{operation}: no response in time") from error
    except (ChannelInvalidStateError, RuntimeError) as error:
        raise on_loss(f"{operation}: {_text(error)}") from error
    except _LIBRARY_ERRORS as error:
        raise _mapped(error, operation, on_loss) from error


@contextmanager
def lease_errors(operation: str) -> Iterator[None]:
    """Map the errors of a call about one message: whatever closes its channel is a lost lease."""
    try:
        with map_errors(operation, lambda _: LeaseLost(LOST)):
            yield
    except ConfigurationError as error:
        raise LeaseLost(f"{LOST} ({error})") from error


def _mapped(error: Exception, operation: str, on_loss: ErrorFactory) -> ArchiverError:
    reason = f"{operation}: {_text(error)}"
    if isinstance(error, PublishError):
        return Unrouted(f"{operation}: no queue takes it: bind one to the exchange with this routing key")
    if isinstance(error, DeliveryError):
        return TransientError(f"{operation}: the broker refuses it at present (its queue may be full)")
    kind = next((kind for known, kind in _REFUSALS.items() if isinstance(error, known)), None)
    return on_loss(reason) if kind is None else kind(reason)


def connecting_error(error: Exception, where: str, user: str, vhost: str) -> ArchiverError:
    """
    Return the error of a connection to *where* (host and port) that could not be opened, with what to do about it.
    """
    tls = next((one for one in _chain(error) if isinstance(one, ssl.SSLError)), None)
    if tls is not None:
        return ConfigurationError(f"TLS to {where} failed: {_tls_advice(tls)}")
    if isinstance(error, ProbableAuthenticationError | AuthenticationError):
        return ConfigurationError(
            f"{where} refuses the user {user}: check AMQP_USERNAME and AMQP_PASSWORD ({_text(error)})"
        )
    if isinstance(error, IncompatibleProtocolError):
        return ConfigurationError(f"{where} does not speak AMQP 0-9-1: check AMQP_PORT and AMQP_TLS")
    if isinstance(error, InvalidFrameError | ConnectionNotAllowed):
        # The client drops the broker's sentence.
        return ConfigurationError(
            f"{where} refuses the virtual host {vhost}: it does not exist, or {user} may not use it: check AMQP_VHOST"
        )
    if isinstance(error, ValueError):
        names = "AMQP_HOSTNAME, AMQP_USERNAME, AMQP_PASSWORD and AMQP_VHOST"
        return ConfigurationError(f"{where} can't be asked: check {names}: one of them is no valid text")
    reason = "no response in time" if isinstance(error, TimeoutError) else _text(error)
    names = "AMQP_HOSTNAME, AMQP_PORT and AMQP_TLS"
    if any(isinstance(one, ConnectionResetError) for one in _chain(error)):
        names += ", and AMQP_CERT_FILE if it asks for a certificate"  # its alert may be lost with the connection
    return TransientError(f"{where} can't be connected to: {reason}: check {names}")


def _tls_advice(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message}: {_CERTIFICATE_ADVICE.get(error.verify_code, _UNKNOWN_ISSUER)}"
    reason = getattr(error, "reason", None) or str(error)
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason:
        return "no TLS is spoken at that port: check AMQP_PORT, or set AMQP_TLS=0"
    return f"{reason}: check AMQP_CERT_FILE and AMQP_KEY_FILE if it asks for the client's certificate"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The client raises one error object in several tasks, so that a chain of causes may be a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
