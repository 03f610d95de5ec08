"""Choose stream-zip's method for each member, so that every unzipper can read the archive."""

from isal import isal_zlib
from stream_zip import NO_COMPRESSION_32, NO_COMPRESSION_64, ZIP_AUTO, Method

from archiver.core.plan import Member
from archiver.stages.checksums import crc32

LEVEL = 1  # of ISA-L: for text 20 times as fast as zlib's level 6, with 6 % more bytes


class _ZipMethodByOffset(Method):
    """
    *zip32* for members that start below 4 GiB, *zip64* above. stream-zip makes this choice only for compressed members
    (ZIP_AUTO), and only with zlib. `_get` is private, so stream-zip is pinned to the version it was written for.
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
    Return the method for *member*: compressed if `deflate` is set; stored if the whole *body* is given, since then size
    and CRC-32 are known; else deflate at level 0.
    """
    if member.deflate:
        # ZIP_AUTO assumes zlib's worst case; ISA-L's is slightly larger.
        max_size = member.size + (member.size >> 10)
        return _ZipMethodByOffset(ZIP_AUTO(max_size), ZIP_AUTO(max_size), isal=True)
    if body is not None:
        crc = crc32(body)
        return _ZipMethodByOffset(NO_COMPRESSION_32(member.size, crc), NO_COMPRESSION_64(member.size, crc), isal=False)
    # Streaming readers can't find the end of a stored member whose CRC follows it; deflate at level 0 marks its end.
    return ZIP_AUTO(member.size, level=0)
