"""Unique paths in one zip: no two that a file system treats as equal, and no file where another path needs a folder."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from archiver.core.paths import MAX_COMPONENT_BYTES, NUMBER_SUFFIX_BYTES, nfc, split_extension, truncate_utf8

# Replaces `/` in keys, so that all paths below `a` sort directly after `a`; paths contain no NUL.
_KEY_SEPARATOR = "\0"


def find_conflicts(paths: Sequence[str]) -> list[int]:
    """
    Return the ascending indices of conflicting *paths* (NFC): all but the first of equal paths of files, and each file
    where another path, at any position, needs or is a folder. Paths are compared after NFC and case folding.

    Uses one sort. A set of all folders could be far larger than the request: a path of 4 KiB has up to 2,000 folders.
    """
    keys = [_casefold_key(path) for path in paths]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    losers: list[int] = []
    for place, index in enumerate(order):
        key = keys[index]
        if key.endswith(_KEY_SEPARATOR):  # folders get along with each other, and with what is in them
            continue
        if place and keys[order[place - 1]] == key:
            losers.append(index)
            continue
        end = place + 1
        while end < len(order) and keys[order[end]] == key:
            end += 1
        if end < len(order) and keys[order[end]].startswith(key + _KEY_SEPARATOR):
            losers.append(index)
    return sorted(losers)


class UniquePaths:
    """The paths of one zip. Allocates further ones in constant time each, plus a binary search."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._taken = {_casefold_key(path) for path in paths}
        self._sorted = sorted(self._taken)
        self._next: dict[tuple[str, str], int] = {}

    def allocate(self, path: str) -> str:
        """
        Reserve and return *path* if it is free, else the first free one of `photo (2).jpg`, `photo (3).jpg`, …

        All requested paths are reserved from the start, so that a numbered path never displaces a requested one. A long
        name is truncated by the length of the largest number. So two truncated names with different numbers can't
        collide, and no number is tried twice.
        """
        if self._reserve(_casefold_key(path)):
            return path
        folder, slash, part = path.rpartition("/")
        stem, extension = split_extension(part)
        head = folder + slash + truncate_utf8(stem, MAX_COMPONENT_BYTES - NUMBER_SUFFIX_BYTES - len(extension.encode()))
        # No character composes across the space and the parentheses: the key of the path is the keys of its pieces.
        head_key, extension_key = _casefold_key(head), _casefold_key(extension)
        number = self._next.get((head_key, extension_key), 2)
        while not self._reserve(f"{head_key} ({number}){extension_key}"):
            number += 1
        self._next[head_key, extension_key] = number + 1
        return f"{head} ({number}){extension}"

    def _reserve(self, key: str) -> bool:
        """Reserve *key*. Return False if a file or a folder has it already."""
        if key in self._taken:
            return False
        child_prefix = key + _KEY_SEPARATOR
        place = bisect_left(self._sorted, child_prefix)
        if place < len(self._sorted) and self._sorted[place].startswith(child_prefix):
            return False
        self._taken.add(key)
        return True


def _casefold_key(path: str) -> str:
    # NFC again, because case folding may undo it: `ΰ` becomes three characters, and `Ϋ́`, its capital, two.
    folded = path.lower() if path.isascii() else nfc(path.casefold())
    return folded.replace("/", _KEY_SEPARATOR)
