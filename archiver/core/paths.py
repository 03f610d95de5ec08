"""One name in the zip: what was asked for, or the key, becomes a path that every system can extract."""

import posixpath
import re
import unicodedata
from dataclasses import dataclass

from archiver.errors import Rejected

MAX_COMPONENT_BYTES = 255
"""Bytes of UTF-8 in one part of a path: what file systems hold, and what unzip, 7z, bsdtar and zipfile can extract."""

MAX_PATH_BYTES = 4096
"""Bytes of UTF-8 in a whole path: Linux's PATH_MAX."""

NUMBER_SUFFIX_BYTES = 10
"""Bytes kept free for a ` (65536)` that tells equal paths apart."""

MAX_EXTENSION_BYTES = 32
"""Bytes. What follows a dot for longer is no extension that shortening must keep."""

MAX_COMBINING_MARKS = 30
"""Combining marks in a row. No language needs more (Stream-Safe Text Format, UAX 15), and sorting them is quadratic."""

# An explicit range for each kind, so that a path does not depend on the Unicode version of the interpreter.
_CONTROL = "\x00-\x1f\x7f-\x9f"
_FORMAT = (  # category Cf but for ZWNJ and ZWJ (U+200C, U+200D); bidirectional controls are among them
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2028\u2029\u3164\uffa0"  # fillers, joiners and separators outside Cf
_SURROGATE = "\ud800-\udfff"
_NONCHARACTER = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_SEPARATOR = r"\\/"
_WINDOWS = ':<>"|?*'

_FORBIDDEN = re.compile(f"[{_CONTROL}{_FORMAT}{_INVISIBLE}{_SURROGATE}{_NONCHARACTER}{_SEPARATOR}{_WINDOWS}]")

# Most parts are plain ASCII with nothing to repair: one match instead of six steps.
_PLAIN = re.compile(f"(?! )[^\x00-\x1f\x7f-\U0010ffff{_SEPARATOR}{_WINDOWS}]{{1,{MAX_COMPONENT_BYTES}}}(?<![ .])")

# "Naming Files, Paths, and Namespaces", Microsoft; with or without extension, and the superscripts ¹²³ count as digits.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {port + digit for port in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"}
)

_SPLIT = re.compile(r"[\\/]")
_NETWORK_OR_DEVICE = re.compile(r"\s*[\\/](?:[\\/]|\?\?[\\/])")  # \\server, //server, \\?\, \\.\ and \??\
_DRIVE = re.compile("[A-Za-z]:")
_WHITESPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_TIBETAN_VOWELS = "\u0f73\u0f75\u0f81"  # of Tibetan: no marks by class, and two of them when decomposed
_EXCESS_MARKS = re.compile(rb"[^\0]{%d}([^\0]+)" % MAX_COMBINING_MARKS)
_LONE_SURROGATE = re.compile(f"[{_SURROGATE}]")


@dataclass(frozen=True, slots=True)
class ArchivePath:
    """
    Where one file goes. *requested* is the plain joining: the destination as written, a `/` where it lacks one, and the
    last part of the key; or the explicit name as written. *path* is what it became; where the two differ, be it by a
    character or by a doubled `/`, the file was renamed. (So `album/` is no rename, and `/abs/x.jpg` is one.)
    """

    requested: str
    path: str


def resolve_path(key: str, destination: str | None, name: str | None) -> ArchivePath | None:
    """
    Settle one file's path in the zip; an empty *destination* or *name* is none.

    None for a key that ends in `/` where neither names a file: it is a folder's marker. Raises Rejected `name_unsafe`
    for a *destination* or *name* that tries to leave its folder or to confuse an extractor.
    """
    file = key.rpartition("/")[2]
    if name:
        parts = _split_path(name) or ["_"]
        return None if not file and _ends_as_folder(name) else _sanitize_path(name, parts)
    parts = _split_path(destination) if destination else []
    if destination and parts and not _ends_as_folder(destination) and posixpath.splitext(_trim(parts[-1]))[1]:
        return _sanitize_path(destination, parts)
    if not file:
        return None
    if not destination:
        return ArchivePath(file, sanitize_component(file))
    return _sanitize_path(destination + ("" if destination.endswith(("/", "\\")) else "/") + file, [*parts, file])


def _sanitize_path(requested: str, parts: list[str]) -> ArchivePath:
    path = "/".join(map(sanitize_component, parts))
    if len(path.encode()) > MAX_PATH_BYTES - NUMBER_SUFFIX_BYTES:
        raise Rejected("name_unsafe", f"the path has more than {MAX_PATH_BYTES - NUMBER_SUFFIX_BYTES} bytes")
    return ArchivePath(requested, path)


def _split_path(text: str) -> list[str]:
    r"""
    Split an explicit path at `/` and `\`, each part free of white space at its ends; parts that are empty or `.`
    say nothing and are dropped. Raises Rejected `name_unsafe`.
    """
    if "\0" in text:
        raise Rejected("name_unsafe", "the path holds a NUL")
    if _LONE_SURROGATE.search(text):
        raise Rejected("name_unsafe", "the path holds half of a surrogate pair")
    if _NETWORK_OR_DEVICE.match(text):
        raise Rejected("name_unsafe", "the path begins like a network or device path of Windows")
    parts = [part.strip() for part in _SPLIT.split(nfc(text))]
    parts = [part for part in parts if part not in {"", "."}]
    if ".." in parts:
        raise Rejected("name_unsafe", "the path holds a part `..`")
    # `a:b` at the beginning is a path on drive A; further on, only a part that is nothing else is taken for a drive.
    if any(_DRIVE.fullmatch(part) for part in parts) or (parts and _DRIVE.match(parts[0])):
        raise Rejected("name_unsafe", "the path names a drive")
    return parts


def _ends_as_folder(destination: str) -> bool:
    return _SPLIT.split(destination)[-1].strip() in {"", "."}


def sanitize_component(text: str) -> str:
    """
    Repair one part of a path, whatever *text* is; idempotent, and the text itself where nothing is wrong with it.

    NFC; ends trimmed; `_` for each forbidden character, after the name of a device, and for a part of which nothing is
    left; cut to `MAX_COMPONENT_BYTES` bytes, keeping the extension.
    """
    if _PLAIN.fullmatch(text) and not _is_reserved(text):
        return text
    # Normal forms are closed under substrings (UAX 15), and nothing composes with `_`: what follows keeps NFC.
    part = nfc(text)
    while True:  # ends: a step shortens the part, or has put the one `_` after a device's name
        repaired = _truncate_component(_escape_reserved(_FORBIDDEN.sub("_", _trim(part)) or "_"))
        if repaired == part:
            return part
        part = repaired


def split_extension(part: str) -> tuple[str, str]:
    """Split *part* before the extension that numbering and shortening must keep; it may be empty."""
    extension = posixpath.splitext(part)[1]
    if len(extension.encode()) > MAX_EXTENSION_BYTES:
        extension = ""
    return part.removesuffix(extension), extension


def truncate_utf8(text: str, size: int) -> str:
    """Cut *text* to *size* bytes of UTF-8, between characters."""
    return text.encode()[:size].decode(errors="ignore")


def nfc(text: str) -> str:
    """
    NFC of *text*, in time linear in its length: marks beyond `MAX_COMBINING_MARKS` in a row are dropped. Idempotent.
    """
    if text.isascii():
        return text
    while True:  # twice: a mark may have become two
        text = unicodedata.normalize("NFC", _drop_excess_marks(text))
        if len(text) <= MAX_COMBINING_MARKS or not _EXCESS_MARKS.search(_combining_classes(text)):
            return text


def _drop_excess_marks(text: str) -> str:
    if len(text) <= MAX_COMBINING_MARKS:
        return text
    result, begin = "", 0
    for run in _EXCESS_MARKS.finditer(_combining_classes(text)):
        result, begin = result + text[begin : run.start(1)], run.end()
    return result + text[begin:]


def _combining_classes(text: str) -> bytes:
    """The combining class of each character: 0 for what is no mark."""
    for vowel in _TIBETAN_VOWELS:
        text = text.replace(vowel, "\u0f71")
    return bytes(map(unicodedata.combining, text))


def _trim(part: str) -> str:
    """Take white space off both ends and dots off the end: Windows drops them, and then two names are one."""
    return part.lstrip(_WHITESPACE).rstrip(_WHITESPACE + ".")


def _is_reserved(part: str) -> bool:
    return part.partition(".")[0].rstrip().casefold() in _RESERVED


def _escape_reserved(part: str) -> str:
    if not _is_reserved(part):
        return part
    stem, dot, rest = part.partition(".")
    return f"{stem}_{dot}{rest}"


def _truncate_component(part: str) -> str:
    if len(part.encode()) <= MAX_COMPONENT_BYTES:
        return part
    stem, extension = split_extension(part)
    return truncate_utf8(stem, MAX_COMPONENT_BYTES - len(extension.encode())) + extension
