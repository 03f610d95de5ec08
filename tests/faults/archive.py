"""A strict reader of zip archives: it accepts only archives that every tool reads in the same way."""

import io
import struct
import zipfile

LOCAL, END = b"PK\x03\x04", b"PK\x05\x06"
DESCRIPTOR = 0x08  # flag: sizes and checksum follow the content
UTF8 = 0x800


class BadArchiveError(ValueError):
    """The archive is incomplete or invalid; the message says why."""


def read_archive(body: bytes) -> dict[str, bytes]:
    """
    Return the contents by path, in the archive's order.

    Members must be contiguous from the first byte to the central directory. Local headers must agree with it, names
    must be unique, checksums must match, and nothing may follow the end record. Raises BadArchiveError.
    """
    if body[-22:-18] != END:
        raise BadArchiveError("it does not end with an end record")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return _members(body, archive)
    except (zipfile.BadZipFile, EOFError, struct.error, UnicodeDecodeError) as error:
        raise BadArchiveError(f"it can't be read: {error}") from error


def _members(body: bytes, archive: zipfile.ZipFile) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    at = 0
    for info in archive.infolist():
        if info.filename in found:
            raise BadArchiveError(f"{info.filename!r} is a duplicate")
        if info.header_offset != at:
            raise BadArchiveError(f"{info.filename!r} begins at {info.header_offset}, not at {at}")
        at = _end_of_member(body, info)
        found[info.filename] = archive.read(info)
    if at != archive.start_dir:
        raise BadArchiveError(f"the central directory begins at {archive.start_dir}, not at {at}")
    return found


def _end_of_member(body: bytes, info: zipfile.ZipInfo) -> int:
    head = body[info.header_offset : info.header_offset + 30]
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = struct.unpack("<4s5H3I2H", head)
    name = body[info.header_offset + 30 : info.header_offset + 30 + name_length]
    same = (flags, method, name) == (info.flag_bits, info.compress_type, info.filename.encode())
    if signature != LOCAL or not same or (not name.isascii() and not flags & UTF8):
        raise BadArchiveError(f"the local header of {info.filename!r} disagrees with the central directory")
    end: int = info.header_offset + 30 + name_length + extra_length + info.compress_size
    if flags & DESCRIPTOR:
        return _end_of_descriptor(body, end, info)
    small = info.file_size < 0xFFFFFFFF and info.compress_size < 0xFFFFFFFF
    zip64 = 0xFFFFFFFF in (packed, size)
    if crc != info.CRC or (small and not zip64 and (packed, size) != (info.compress_size, info.file_size)):
        raise BadArchiveError(f"the local header of {info.filename!r} has other sizes or another checksum")
    return end


def _end_of_descriptor(body: bytes, at: int, info: zipfile.ZipInfo) -> int:
    for form in ("<4sIII", "<4sIQQ"):
        length = struct.calcsize(form)
        wanted = struct.pack(form, b"PK\x07\x08", info.CRC, info.compress_size, info.file_size)
        if body[at : at + length] == wanted:
            return at + length
    raise BadArchiveError(f"no data descriptor follows {info.filename!r}")
