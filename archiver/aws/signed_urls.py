"""Signed CloudFront links: they expire, and can't be guessed."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from botocore.signers import CloudFrontSigner
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from archiver.core.locations import archive_url
from archiver.core.messages import Link

log = structlog.get_logger(__name__)

MIN_KEY_BITS = 2048  # "Specifying a list of trusted signers", CloudFront developer guide: RSA keys of 2048 bits
PEM_PREFIX = "-----BEGIN"


class InvalidKeyError(Exception):
    """The key can't sign. The message has the reason and nothing of the key."""


def load_key(text: str) -> RSAPrivateKey:
    r"""
    Load the key of a setting: PEM text (line breaks may be written as `\n`), or the path of a file with it.

    Raises InvalidKeyError.
    """
    pem = text.replace("\\n", "\n") if text.lstrip().startswith(PEM_PREFIX) else _read_key_file(Path(text))
    try:
        key = load_pem_private_key(pem.strip().encode(), password=None)
    except TypeError:
        raise InvalidKeyError("is encrypted; provide it without a passphrase, from a secret store") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeyError("is not a private key in PEM format (-----BEGIN PRIVATE KEY-----)") from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidKeyError("is not an RSA key; signed links need one")
    if key.key_size < MIN_KEY_BITS:
        raise InvalidKeyError(f"has {key.key_size} bits; CloudFront requires {MIN_KEY_BITS}")
    return key


def _read_key_file(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise InvalidKeyError(f"is neither PEM text nor a readable file ({reason})") from None
    except ValueError:
        raise InvalidKeyError("is a file without PEM text") from None


@dataclass(frozen=True, slots=True)
class LinkBase:
    """The beginning of links: *url* of the distribution, and the *bucket* that it serves."""

    url: str
    bucket: str


class SignedLinks:
    """
    Links below *base* that work for *seconds*, signed with *key* (see `load_key`) for the public key *key_id*.

    A key file may be replaced at run time. If the new key is invalid, this is logged and the previous key stays in use.
    Raises InvalidKeyError if the first key is invalid.
    """

    def __init__(
        self, base: LinkBase, key_id: str, key: str, seconds: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._base = base
        self._seconds = seconds
        self._clock = clock
        self._text = key
        self._file = None if key.lstrip().startswith(PEM_PREFIX) else Path(key)
        self._loaded_version = self._file_version()
        self._key = load_key(key)
        self._signer = CloudFrontSigner(key_id, self._sign)

    async def link(self, key: str) -> Link:
        """Return the link to the archive at *key*, signed with CloudFront's canned policy (one URL, one expiry)."""
        self._reload_key()
        expires_at = datetime.fromtimestamp(int(self._clock()) + self._seconds, UTC)
        url = archive_url(self._base.url, self._base.bucket, key)
        return Link(self._signer.generate_presigned_url(url, date_less_than=expires_at), expires_at)

    def _sign(self, message: bytes) -> bytes:
        # CloudFront requires SHA-1: "Creating a signature for a signed URL that uses a canned policy".
        return self._key.sign(message, PKCS1v15(), SHA1())  # noqa: S303

    def _reload_key(self) -> None:
        version = self._file_version()
        if version == self._loaded_version:
            return
        self._loaded_version = version
        try:
            self._key = load_key(self._text)
        except InvalidKeyError as error:
            log.error("links.bad_key", file=str(self._file), reason=str(error), effect="the previous key stays in use")
        else:
            log.info("links.key_reloaded", file=str(self._file))

    def _file_version(self) -> tuple[int, int] | None:
        """Return mtime and inode of the key file; None if the key is no file or the file does not exist."""
        try:
            stat = self._file.stat() if self._file else None
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_ino) if stat else None
