"""What TLS in memory must not lose, and must not keep."""

from mutations import Mutant

TLS = (
    Mutant(
        "what arrived with the end of the handshake waits until the kernel has more",
        "archiver/http/socket.py",
        "        if tls.has_unread:",
        "        if not tls:",
        ("tests/http_client/test_tls_records.py",),
    ),
    Mutant(
        "a record that was received with another one waits until the kernel has more",
        "archiver/http/socket.py",
        "                if count < len(space) and not tls.failed:\n                    break\n",
        "                break\n",
        ("tests/http_client/test_tls_records.py",),
    ),
    Mutant(
        "an error that follows decrypted bytes is not told",
        "archiver/http/socket.py",
        "if count < len(space) and not tls.failed:",
        "if count < len(space):",
        ("tests/http_client/test_tls_ends.py",),
    ),
    Mutant(
        "a write that waits for the peer's data is repeated at every turn of the loop",
        "archiver/http/socket.py",
        "not self.all_sent and not (self._write_wants_read and not self._encrypted)",
        "not self.all_sent",
        ("tests/http_client/test_socket.py",),
    ),
    Mutant(
        "what a read has to answer waits for the next request",
        "archiver/http/socket.py",
        "self._write_wants_read or tls.has_outgoing",
        "self._write_wants_read",
        ("tests/http_client/test_socket.py",),
    ),
    Mutant(
        "a socket that is closed again takes its number from whoever has it now",
        "archiver/http/socket.py",
        "        if self.closed:\n            return\n        self.closed = True\n",
        "        self.closed = True\n",
        ("tests/http_client/test_socket.py",),
    ),
    Mutant(
        "a handshake that is cancelled leaves its socket open",
        "archiver/http/stream.py",
        "    except BaseException:\n        stream.close()\n        raise\n    return secured\n",
        "    except OSError:\n        stream.close()\n        raise\n    return secured\n",
        ("tests/http_client/test_cancelled.py",),
    ),
    Mutant(
        "of what goes through an https proxy, only the first bytes are sent",
        "archiver/http/tls.py",
        "            self._unwrapped = self._unwrapped[outer.encrypt(self._unwrapped) :]\n",
        '            outer.encrypt(self._unwrapped)\n            self._unwrapped = memoryview(b"")\n',
        ("tests/http_client/test_uploads.py",),
    ),
    Mutant(
        "close_notify is not answered",
        "archiver/http/socket.py",
        "            self._tls.end()  #",
        "            pass  #",
        ("tests/http_client/test_tls_records.py",),
    ),
    Mutant(
        "what came before a record that is refused is lost",
        "archiver/http/tls.py",
        "            if not filled:\n                raise\n",
        "            raise\n",
        ("tests/http_client/test_tls_ends.py",),
    ),
    Mutant(
        "the end of the proxy's TLS is not noticed before its connection ends",
        "archiver/http/tls.py",
        "        self.ended = self.ended or self._outer.ended\n",
        "",
        ("tests/http_client/test_tls_ends.py",),
    ),
    Mutant(
        "OpenSSL keeps memory for all that one system call received, for each connection",
        "archiver/http/socket.py",
        "min(start + AT_ONCE, count)]",
        "count]",
        ("tests/http_client/test_tls_ends.py",),
    ),
)
