"""All names of one zip: no two that a file system may take for one, and no file where another needs a folder."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import groupby

from archiver.core.paths import MAX_COMPONENT_BYTES, NUMBER_SUFFIX_BYTES, nfc, split_extension, truncate_utf8

_KEY_SEPARATOR = (
    "\0"  # stands for `/` in keys, so that all that lies below `a` sorts directly behind `a`; paths hold no NUL
)


def find_conflicts(paths: Sequence[str]) -> list[int]:
    """
    Find the paths that must give way, as ascending indices into *paths* (NFC): each but the first of equal ones, and
    each file where another path needs a folder, wherever it stands. Paths are equal after NFC and case folding.

    It sorts once, as a set of all folders could be far larger than the request: 4 KiB can name 2,000 of them.
    """
    keys = [_casefold_key(path) for path in paths]
    groups = [list(group) for _, group in groupby(sorted(range(len(keys)), key=keys.__getitem__), keys.__getitem__)]
    losers: list[int] = []
    for place, group in enumerate(groups, 1):
        is_folder = place < len(groups) and keys[groups[place][0]].startswith(keys[group[0]] + _KEY_SEPARATOR)
        losers.extend(group if is_folder else group[1:])
    return sorted(losers)


class UniquePaths:
    """The paths of one zip; finds free ones beside them in constant time each, but for the search in a sorted list."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._taken = {_casefold_key(path) for path in paths}
        self._sorted = sorted(self._taken)
        self._next: dict[tuple[str, str], int] = {}

    def allocate(self, path: str) -> str:
        """
        Take *path* where it is free, else the first free one of `photo (2).jpg`, `photo (3).jpg`, …

        What was asked for wins over what is made up: all asked paths are taken from the start. A long name is cut to
        make room for the number, always for the largest, as then no two cut names can meet at different numbers
        and try the same ones again and again.
        """
        if self._reserve(_casefold_key(path)):
            return path
        folder, slash, part = path.rpartition("/")
        stem, extension = split_extension(part)
        head = folder + slash + truncate_utf8(stem, MAX_COMPONENT_BYTES - NUMBER_SUFFIX_BYTES - len(extension.encode()))
        # Nothing composes across the blank and the brackets: the key of the whole is that of its pieces.
        head_key, extension_key = _casefold_key(head), _casefold_key(extension)
        number = self._next.get((head_key, extension_key), 2)
        while not self._reserve(f"{head_key} ({number}){extension_key}"):
            number += 1
        self._next[head_key, extension_key] = number + 1
        return f"{head} ({number}){extension}"

    def _reserve(self, key: str) -> bool:
        """Take *key*, unless it is a file's or a folder's already."""
        if key in self._taken:
            return False
        child_prefix = key + _KEY_SEPARATOR
        place = bisect_left(self._sorted, child_prefix)
        if place < len(self._sorted) and self._sorted[place].startswith(child_prefix):
            return False
        self._taken.add(key)
        return True


def _casefold_key(path: str) -> str:
    # NFC once more, as folding may undo it: `ΰ` becomes three characters, and `Ϋ́`, its capital, two.
    folded = path.lower() if path.isascii() else nfc(path.casefold())
    return folded.replace("/", _KEY_SEPARATOR)
