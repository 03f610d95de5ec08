"""The contract's rules for paths, written a second time and from other tables than the code's: what a path breaks."""

import unicodedata
from collections.abc import Sequence

WINDOWS_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}


def violations(path: str) -> list[str]:
    """Name every rule that *path* breaks; an empty list for a good one."""
    broken = [] if unicodedata.is_normalized("NFC", path) else ["is not NFC"]
    if len(path.encode(errors="surrogatepass")) > 4096:
        broken.append("is too long")
    for part in path.split("/"):
        broken += _component_violations(part)
    return broken


def _component_violations(part: str) -> list[str]:
    rules = {
        "empty or dots": part in {"", ".", ".."},
        "more than 255 bytes": len(part.encode(errors="surrogatepass")) > 255,
        "white space at an end": part != part.strip(),
        "a dot at the end": part.endswith("."),
        "reserved": part.partition(".")[0].rstrip().lower() in WINDOWS_RESERVED,
        "a forbidden character": any(is_forbidden(char) for char in part),
    }
    return [rule for rule, is_broken in rules.items() if is_broken]


def is_forbidden(char: str) -> bool:
    """Tell whether no path may hold *char*."""
    if char in '\\:<>"|?*/':
        return True
    if ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF:  # noncharacters
        return True
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in "\u200c\u200d"


def conflicts(paths: Sequence[str]) -> list[str]:
    """Name the paths that a file system may take for one, and the files where another path needs a folder."""
    keys = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    folders = {key[:place] for key in keys for place, char in enumerate(key) if char == "/"}
    return [path for path, key in zip(paths, keys, strict=True) if keys.count(key) > 1 or key in folders]
