"""TLS through an https proxy's TLS, and errors for refused certificates."""

import contextlib
import ssl

from archiver.errors import ConfigurationError

TLS_IN_TLS_BYTES = 64 * 1024
"""Bytes that `TlsInTls` encrypts, or receives, at once; it keeps about as many."""

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


class TlsInTls:
    """
    TLS through *outer*, the TLS of an https proxy. An `SSLSocket` cannot use another one as its socket, so the records
    go through memory. Non-blocking, with the same methods and errors as an `SSLSocket`.
    """

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, host: str) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._encrypted = memoryview(b"")  # taken from the outgoing records, not sent yet
        self._accepted = 0  # bytes of `send` that are among them
        self.fileno = outer.fileno
        self.close = outer.close

    def do_handshake(self) -> None:
        """As of `SSLSocket`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise ConnectionResetError("the proxy closed the connection") from None
            else:
                self._flush()
                return

    def pending(self) -> int:
        """Return the number of bytes received that may be read, encrypted ones included."""
        return self._tls.pending() + self._incoming.pending + self._outer.pending()

    def recv_into(self, space: memoryview, size: int) -> int:
        """As of `SSLSocket`."""
        while True:
            try:
                return self._tls.read(size, space)  # type: ignore[return-value]
            except ssl.SSLWantReadError:
                with contextlib.suppress(ssl.SSLWantWriteError):  # a peer that does not read must still be read from
                    self._flush()
                if not self._receive():
                    return 0

    def send(self, data: bytes | memoryview) -> int:
        """As of `SSLSocket`: after SSLWantWriteError, call it again with the same *data*."""
        try:
            if not self._accepted:
                self._accepted = self._tls.write(data[:TLS_IN_TLS_BYTES])
        finally:
            self._flush()
        accepted, self._accepted = self._accepted, 0
        return accepted

    def unwrap(self) -> None:
        """Send close_notify in both."""
        for operation in (self._tls.unwrap, self._flush, self._outer.unwrap):
            with contextlib.suppress(OSError):
                operation()

    def _flush(self) -> None:
        while self._encrypted or self._outgoing.pending:
            self._encrypted = self._encrypted or memoryview(self._outgoing.read())
            self._encrypted = self._encrypted[self._outer.send(self._encrypted) :]

    def _receive(self) -> bool:
        """Return False at the end of the stream."""
        data = self._outer.recv(TLS_IN_TLS_BYTES)
        self._incoming.write(data)
        return bool(data)
