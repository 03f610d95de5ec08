"""Errors of the client and of the broker become ours; each says what to do."""

import asyncio
import ssl

import pytest
from aio_pika.exceptions import (
    AMQPConnectionError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource, InvalidFrameError

from archiver.amqp.faults import AccessRefused, EntityMissing, Mismatch, connecting_error, lease_errors, map_errors
from archiver.errors import ConfigurationError, LeaseLost, TransientError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ChannelNotFoundEntity("NOT_FOUND"), EntityMissing),
        (ChannelPreconditionFailed("PRECONDITION_FAILED"), Mismatch),
        (ChannelAccessRefused("ACCESS_REFUSED"), AccessRefused),
        (ChannelLockedResource("RESOURCE_LOCKED"), ConfigurationError),
        (AMQPConnectionError("closed"), TransientError),
        (ChannelInvalidStateError("closed"), TransientError),
        (RuntimeError("<Connection> closed"), TransientError),
        (ConnectionResetError(), TransientError),
        (TimeoutError(), TransientError),
    ],
)
def test_each_error_has_a_kind(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^basic\.get"), map_errors("basic.get"):
        raise error


def test_our_own_errors_and_others_defects_pass() -> None:
    with pytest.raises(LeaseLost, match=r"^gone$"), map_errors("basic.get"):
        raise LeaseLost("gone")
    with pytest.raises(ZeroDivisionError), map_errors("basic.get"):
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [ChannelPreconditionFailed("unknown tag"), AMQPConnectionError("closed")])
def test_whatever_closes_a_messages_channel_is_a_lost_lease(error: Exception) -> None:
    with pytest.raises(LeaseLost, match="the broker redelivers"), lease_errors("basic.ack"):
        raise error


def test_errors_that_cause_each_other_are_looked_at_once() -> None:
    """The client makes such a ring where a server ends the connection at once; the worker would hang in it."""
    first, second = AMQPConnectionError("closed"), ConnectionResetError()
    first.__cause__, second.__context__ = second, first
    assert "can't be connected to: closed" in str(connecting_error(first, "broker:5672", "user", "v"))


async def test_a_connection_that_cancels_its_calls_cancels_no_job() -> None:
    """The client does so where it ends a connection that has become silent."""
    with pytest.raises(TransientError, match="the connection was closed"), map_errors("basic.get"):
        raise asyncio.CancelledError
    waiting = asyncio.create_task(_wait(), name="cancelled by us")
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _wait() -> None:
    with map_errors("basic.get"):
        await asyncio.sleep(10)


def caused_by(cause: Exception) -> AMQPConnectionError:
    error = AMQPConnectionError(str(cause))
    error.__cause__ = cause
    return error


def unverified(message: str = "self-signed certificate", code: int = 18) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_message, error.verify_code = message, code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (ProbableAuthenticationError("ACCESS_REFUSED"), ConfigurationError, "AMQP_USERNAME and AMQP_PASSWORD"),
        (InvalidFrameError("got Connection.Close"), ConfigurationError, "virtual host v: it does not exist"),
        (IncompatibleProtocolError("HTTP/1.1"), ConfigurationError, "does not speak AMQP 0-9-1"),
        (caused_by(unverified()), ConfigurationError, "self-signed certificate: set AMQP_CA_FILE"),
        (caused_by(unverified("Hostname mismatch", 62)), ConfigurationError, "mismatch: set AMQP_HOSTNAME to a name"),
        (caused_by(unverified("IP address mismatch", 64)), ConfigurationError, "mismatch: set AMQP_HOSTNAME to a name"),
        (caused_by(unverified("has expired", 10)), ConfigurationError, "expired: renew the broker's certificate"),
        (caused_by(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x")), ConfigurationError, "set AMQP_TLS=0"),
        (caused_by(ssl.SSLError(1, "CERTIFICATE_REQUIRED")), ConfigurationError, "check AMQP_CERT_FILE"),
        (TimeoutError(), TransientError, "no response in time"),
        (UnicodeError("label too long"), ConfigurationError, "one of them is no valid text"),
        (caused_by(ConnectionRefusedError("refused")), TransientError, "can't be connected to: refused"),
    ],
)
def test_a_connection_that_can_not_be_opened_says_what_to_look_at(
    error: Exception, kind: type[Exception], told: str
) -> None:
    found = connecting_error(error, "broker:5672", "user", "v")
    assert type(found) is kind
    assert told in str(found)
