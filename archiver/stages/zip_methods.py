"""How each member is written by stream-zip, so that every unzipper can read it."""

from isal import isal_zlib
from stream_zip import NO_COMPRESSION_32, NO_COMPRESSION_64, ZIP_AUTO, Method

from archiver.core.plan import Member
from archiver.stages.checksums import crc32

LEVEL = 1  # of isal: text 20 times as fast as zlib's level 6, for 6 % more bytes


class _ZipMethodByOffset(Method):
    """
    *zip32* while the archive is under 4 GiB, *zip64* after it. stream-zip chooses so for compressed members alone
    (ZIP_AUTO), and with its own zlib; the version is pinned to the one whose `_get` this is.
    """

    def __init__(self, zip32: Method, zip64: Method, *, isal: bool) -> None:
        self._zip32, self._zip64, self._isal = zip32, zip64, isal

    def _get(self, offset, default_get_compressobj):  # type: ignore[no-untyped-def]
        method = self._zip32 if offset <= 0xFFFFFFFF else self._zip64  # noqa: PLR2004
        kind, upgrade, compress, size, crc = method._get(offset, default_get_compressobj)  # noqa: SLF001
        if self._isal:
            return kind, upgrade, _isal, size, crc
        return kind, upgrade, compress, size, crc


def _isal() -> isal_zlib.Compress:
    return isal_zlib.compressobj(level=LEVEL, wbits=-15)


def zip_method(member: Member, body: memoryview | None) -> Method:
    """
    How stream-zip writes *member*: compressed; or stored, by known size and CRC-32 where the *body* body is at hand.
    """
    if member.deflate:
        max_size = member.size + (
            member.size >> 10
        )  # isal's worst case is a little over zlib's, which ZIP_AUTO reckons with
        return _ZipMethodByOffset(ZIP_AUTO(max_size), ZIP_AUTO(max_size), isal=True)
    if body is not None:
        crc = crc32(body)
        return _ZipMethodByOffset(NO_COMPRESSION_32(member.size, crc), NO_COMPRESSION_64(member.size, crc), isal=False)
    # A stored member whose CRC comes after it breaks streaming readers; level 0 deflate says where it ends.
    return ZIP_AUTO(member.size, level=0)
