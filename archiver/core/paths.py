"""Paths in the zip: turn a requested name, or a key, into a path that every operating system can extract."""

import posixpath
import re
import unicodedata
from typing import NamedTuple

from archiver.errors import Rejected

MAX_COMPONENT_BYTES = 255
"""Maximum bytes of UTF-8 in one part of a path: the limit of file systems, and of unzip, 7z, bsdtar and zipfile."""

MAX_PATH_BYTES = 4096
"""Maximum bytes of UTF-8 in a path: Linux's PATH_MAX."""

NUMBER_SUFFIX_BYTES = 10
"""Bytes reserved for a suffix like ` (65536)`, which makes equal paths unique."""

MAX_EXTENSION_BYTES = 32
"""Maximum bytes of an extension. Truncation does not keep a longer one."""

MAX_COMBINING_MARKS = 30
"""Maximum combining marks in a row. No language needs more (Stream-Safe Text Format, UAX 15). Sorting is quadratic."""

# Explicit ranges, so that paths do not depend on the Unicode version of the interpreter.
_CONTROL = "\x00-\x1f\x7f-\x9f"
_FORMAT = (  # category Cf without ZWNJ and ZWJ (U+200C, U+200D); includes the bidirectional controls
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

# Most parts are plain ASCII without anything to repair: one match replaces six steps.
_PLAIN = re.compile(f"(?! )[^\x00-\x1f\x7f-\U0010ffff{_SEPARATOR}{_WINDOWS}]{{1,{MAX_COMPONENT_BYTES}}}(?<![ .])")

# Most paths need no repair either. Devices do, in every part and with any extension.
_PLAIN_PART = rf"(?!(?i:con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d) *(?:[./]|\Z)){_PLAIN.pattern}"
_PLAIN_PATH = re.compile(f"{_PLAIN_PART}(?:/{_PLAIN_PART})*", re.ASCII)

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
_TIBETAN_VOWELS = "\u0f73\u0f75\u0f81"  # combining class 0, but two marks when decomposed
_EXCESS_MARKS = re.compile(rb"[^\0]{%d}([^\0]+)" % MAX_COMBINING_MARKS)
_LONE_SURROGATE = re.compile(f"[{_SURROGATE}]")


class ArchivePath(NamedTuple):
    """
    The path of one file. *requested*: the explicit name as written; or the destination as written, a `/` if it lacks
    one, and the last part of the key. *path*: the sanitized path. If the two differ in any way, the file counts as
    renamed: `/abs/x.jpg` is a rename, `album/` is not.
    """

    requested: str
    path: str


def resolve_path(key: str, destination: str | None, name: str | None) -> ArchivePath | None:
    """
    Return one file's path in the zip. An empty *destination* or *name* counts as absent.

    A folder marker is a *key* that ends in `/`: a folder, whose path ends in `/`, if its *name* does, and None if
    neither argument names a file. Raises Rejected `name_unsafe`
    for a *destination* or *name* with path traversal, or that extractors interpret differently.
    """
    file = key.rpartition("/")[2]
    plain = name or (destination + file if destination and file and destination.endswith("/") else "")
    return ArchivePath(plain, plain) if _is_plain_path(plain) else _repair_path(file, destination, name)


def _repair_path(file: str, destination: str | None, name: str | None) -> ArchivePath | None:
    """As `resolve_path`, for the *file* name of a key, for any text."""
    if name:
        parts = _split_path(name)
        if not file and _ends_as_folder(name):
            return _as_folder(_sanitize_path(name, parts)) if parts else None
        return _sanitize_path(name, parts or ["_"])
    parts = _split_path(destination) if destination else []
    if destination and parts and not _ends_as_folder(destination) and posixpath.splitext(_trim(parts[-1]))[1]:
        return _sanitize_path(destination, parts)
    if not file:
        return None
    if not destination:
        return ArchivePath(file, sanitize_component(file))
    return _sanitize_path(destination + ("" if destination.endswith(("/", "\\")) else "/") + file, [*parts, file])


def _is_plain_path(text: str) -> bool:
    """Return whether *text* is a path of a file that needs no repair, and is written in ASCII."""
    return len(text) <= MAX_PATH_BYTES - NUMBER_SUFFIX_BYTES and _PLAIN_PATH.fullmatch(text) is not None


class Folder:
    """A *destination* that is a folder even if it has an extension; None or "": the archive's root."""

    def __init__(self, destination: str | None) -> None:
        """Raises Rejected `name_unsafe`, as `resolve_path` does."""
        self._parts = _split_path(destination) if destination else []
        self._requested = destination or ""
        if self._requested and not self._requested.endswith(("/", "\\")):
            self._requested += "/"

    def path_of(self, rest: str, *, folder: bool = False) -> ArchivePath:
        """
        Return the path of a file of the folder, or of a *folder* in it, which ends in `/`. *rest*: its path there, from
        a key: `/` separates folders, everything else is repaired, and parts that are empty or `.` are dropped.

        Raises Rejected `name_unsafe` if nothing is left, or too much.
        """
        parts = split_rest(rest)
        if not parts:
            raise Rejected("name_unsafe", "the path is empty")
        path = _sanitize_path(self._requested + rest, [*self._parts, *parts])
        return _as_folder(path) if folder else path


def split_rest(rest: str) -> list[str]:
    """Return the parts of *rest*, which is from a key, without those that are empty or `.`."""
    return [part for part in rest.split("/") if part not in {"", "."}]


def is_folder(path: str) -> bool:
    """Return whether *path* is that of a folder, which has no content."""
    return path.endswith("/")


def _as_folder(path: ArchivePath) -> ArchivePath:
    return ArchivePath(path.requested if path.requested.endswith("/") else path.requested + "/", path.path + "/")


def _sanitize_path(requested: str, parts: list[str]) -> ArchivePath:
    path = "/".join(map(sanitize_component, parts))
    if len(path.encode()) > MAX_PATH_BYTES - NUMBER_SUFFIX_BYTES:
        raise Rejected("name_unsafe", f"the path has more than {MAX_PATH_BYTES - NUMBER_SUFFIX_BYTES} bytes")
    return ArchivePath(requested, requested if path == requested else path)  # one text of 100,000 files, not two


def _split_path(text: str) -> list[str]:
    r"""
    Split an explicit path at `/` and `\`. Trim white space from each part, and drop parts that are empty or `.`.

    Raises Rejected `name_unsafe`.
    """
    if "\0" in text:
        raise Rejected("name_unsafe", "the path contains a NUL")
    if _LONE_SURROGATE.search(text):
        raise Rejected("name_unsafe", "the path contains half of a surrogate pair")
    if _NETWORK_OR_DEVICE.match(text):
        raise Rejected("name_unsafe", "the path starts like a network or device path of Windows")
    parts = [part.strip() for part in _SPLIT.split(nfc(text))]
    parts = [part for part in parts if part not in {"", "."}]
    if ".." in parts:
        raise Rejected("name_unsafe", "the path contains a part `..`")
    # `a:b` at the beginning is a path on drive A. Later parts are drives only if they are exactly a letter and a colon.
    if any(_DRIVE.fullmatch(part) for part in parts) or (parts and _DRIVE.match(parts[0])):
        raise Rejected("name_unsafe", "the path names a drive")
    return parts


def _ends_as_folder(destination: str) -> bool:
    return _SPLIT.split(destination)[-1].strip() in {"", "."}


def sanitize_component(text: str) -> str:
    """
    Repair one part of a path, for any *text*. Idempotent; a valid part is returned unchanged.

    NFC; ends trimmed; `_` for each forbidden character, after the name of a device, and for an empty part; truncated
    to `MAX_COMPONENT_BYTES`, keeping the extension.
    """
    if _PLAIN.fullmatch(text) and not _is_reserved(text):
        return text
    # Normal forms are closed under substrings (UAX 15), and nothing composes with `_`: the following steps keep NFC.
    part = nfc(text)
    while True:  # terminates: each step shortens the part, or adds the one `_` after a device's name
        repaired = _truncate_component(_escape_reserved(_FORBIDDEN.sub("_", _trim(part)) or "_"))
        if repaired == part:
            return part
        part = repaired


def split_extension(part: str) -> tuple[str, str]:
    """Split *part* into stem and extension. The extension, which numbering and truncation keep, may be empty."""
    extension = posixpath.splitext(part)[1]
    if len(extension.encode()) > MAX_EXTENSION_BYTES:
        extension = ""
    return part.removesuffix(extension), extension


def truncate_utf8(text: str, size: int) -> str:
    """Truncate *text* to *size* bytes of UTF-8, at a character boundary."""
    return text.encode()[:size].decode(errors="ignore")


def nfc(text: str) -> str:
    """
    Return the NFC of *text*, in linear time: marks beyond `MAX_COMBINING_MARKS` in a row are dropped. Idempotent.
    """
    if text.isascii():
        return text
    while True:  # at most twice: normalization may turn one mark into two
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
    """Return the combining class of each character: 0 for characters that are not marks."""
    for vowel in _TIBETAN_VOWELS:
        text = text.replace(vowel, "\u0f71")
    return bytes(map(unicodedata.combining, text))


def _trim(part: str) -> str:
    """Strip white space, and trailing dots: Windows drops these, so that two names could become equal."""
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
