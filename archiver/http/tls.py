"""TLS of a client in memory, and errors for refused certificates."""

import contextlib
import ssl

from archiver.errors import ConfigurationError

AT_ONCE = 64 * 1024
"""
Most bytes that `TlsRecords` is fed, or encrypts, at once. OpenSSL keeps memory for as many, and some more, in each
direction in which there were so many, as long as the connection is open.
"""

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_ADVICE = {
    9: "check the clock of this machine",  # not yet valid
    10: "renew it, or check the clock of this machine",  # expired
    62: "check AWS_ENDPOINT_URL: the certificate names other hosts",
    64: "check AWS_ENDPOINT_URL: the certificate names other addresses",
}
_UNKNOWN_ISSUER = "set AWS_CA_BUNDLE to a file (PEM) with the certificate of its issuer"


def certificate_error(host: str, error: ssl.SSLCertVerificationError) -> ConfigurationError:
    """Return the error for the certificate of *host*: why it was refused, and what to change."""
    advice = _ADVICE.get(error.verify_code, _UNKNOWN_ISSUER)
    return ConfigurationError(f"no connection to {host}: certificate refused: {error.verify_message}; {advice}")


def error_name(error: Exception) -> str:
    """Return what *error* is: its class, and OpenSSL's reason, as SSLV3_ALERT_HANDSHAKE_FAILURE, if there is one."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return f"{type(error).__name__} ({reason})" if reason else type(error).__name__


class TlsRecords:
    """
    TLS to *host*, inside *outer*, the TLS of an https proxy, if there is one. It does no I/O: received bytes are given
    to `feed`, and what `take_outgoing` returns is to be sent.

    OpenSSL itself would read each record from the socket by two system calls, and send it by one. Of a large body that
    costs a sixth of all CPU time, most of it in the kernel, which acknowledges what was read and transmits.
    """

    def __init__(self, context: ssl.SSLContext, host: str, outer: "TlsRecords | None" = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._outer = outer
        self._unwrapped = memoryview(b"")  # to be sent, and not encrypted for the proxy yet
        self._error: ssl.SSLError | None = None  # of what follows the bytes that were decrypted last
        self.ended = False
        """Whether the peer, or the proxy, said that nothing follows."""

    def handshake(self) -> bool:
        """Go on with the handshake; return whether it is done. Raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, received: memoryview) -> None:
        """Add at most `AT_ONCE` bytes that were *received*; then read all that can be read. Raises ssl.SSLError."""
        if self._outer is None:
            self._incoming.write(received)
            return
        self._outer.feed(received)
        while data := self._outer.read():
            self._incoming.write(data)
        self.ended = self.ended or self._outer.ended

    def read_into(self, space: memoryview) -> int:
        """Decrypt whole records into *space*, as far as both go. Return the number of bytes. Raises ssl.SSLError."""
        if self._error is not None:
            raise self._error
        filled, size = 0, len(space)
        try:
            while filled < size and (self._incoming.pending or self._tls.pending()):
                count = self._tls.read(size - filled, space[filled:])
                if not count:
                    self.ended = True
                    break
                filled += count  # type: ignore[operator]
        except ssl.SSLWantReadError:
            pass  # the rest of a record has not arrived
        except ssl.SSLError as error:
            if not filled:
                raise
            self._error = error  # first, the caller gets what came before
        return filled

    def read(self) -> bytes:
        """Return decrypted bytes; b"": no whole record is left. Raises ssl.SSLError."""
        space = bytearray(2 * AT_ONCE)
        return bytes(space[: self.read_into(memoryview(space))])

    def encrypt(self, data: bytes | memoryview) -> int:
        """
        Encrypt the first bytes of *data*; return how many. Raises SSLWantReadError where something must be received
        before (a renegotiation), ssl.SSLError.
        """
        return self._tls.write(data[:AT_ONCE])

    def take_outgoing(self) -> bytes:
        """Return what is to be sent: records, and answers to what was read."""
        if self._outer is None:
            return self._outgoing.read()
        with contextlib.suppress(ssl.SSLWantReadError):  # a renegotiation of the proxy's: the rest waits
            self._wrap(self._outer)
        return self._outer.take_outgoing()

    def _wrap(self, outer: "TlsRecords") -> None:
        """Encrypt what is to be sent for the proxy."""
        while self._unwrapped or self._outgoing.pending:
            self._unwrapped = self._unwrapped or memoryview(self._outgoing.read())
            self._unwrapped = self._unwrapped[outer.encrypt(self._unwrapped) :]

    @property
    def has_outgoing(self) -> bool:
        """Whether `take_outgoing` has something."""
        if self._outgoing.pending or self._unwrapped:
            return True
        return self._outer is not None and self._outer.has_outgoing

    @property
    def failed(self) -> bool:
        """Whether the next `read_into` raises an error."""
        return self._error is not None

    @property
    def has_unread(self) -> bool:
        """Whether bytes were received that `read_into` was not asked for."""
        return self._incoming.pending > 0

    def end(self) -> None:
        """Say that nothing follows (close_notify)."""
        with contextlib.suppress(ssl.SSLError):  # the peer need not say so, too
            self._tls.unwrap()
        if self._outer is not None:
            with contextlib.suppress(ssl.SSLError):
                self._wrap(self._outer)
            self._outer.end()
