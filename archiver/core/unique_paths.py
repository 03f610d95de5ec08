"""All names of one zip: no two that a file system may take for one, and no file where another needs a folder."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import groupby

from archiver.core.paths import MAX_PART, NUMBER_ROOM, cut_text, nfc, split_extension

_BELOW = "\0"  # stands for `/` in keys, so that all that lies below `a` sorts directly behind `a`; paths hold no NUL


def find_conflicts(paths: Sequence[str]) -> list[int]:
    """
    Find the paths that must give way, as ascending indices into *paths* (NFC): each but the first of equal ones, and
    each file where another path needs a folder, wherever it stands. Paths are equal after NFC and case folding.

    It sorts once, as a set of all folders could be far larger than the request: 4 KiB can name 2,000 of them.
    """
    keys = [_fold(path) for path in paths]
    groups = [list(group) for _, group in groupby(sorted(range(len(keys)), key=keys.__getitem__), keys.__getitem__)]
    losers: list[int] = []
    for place, group in enumerate(groups, 1):
        is_folder = place < len(groups) and keys[groups[place][0]].startswith(keys[group[0]] + _BELOW)
        losers.extend(group if is_folder else group[1:])
    return sorted(losers)


class TakenPaths:
    """The paths of one zip; finds free ones beside them in constant time each, but for the search in a sorted list."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._taken = {_fold(path) for path in paths}
        self._sorted = sorted(self._taken)
        self._next: dict[tuple[str, str], int] = {}

    def claim(self, path: str) -> str:
        """
        Take *path* where it is free, else the first free one of `photo (2).jpg`, `photo (3).jpg`, …

        What was asked for wins over what is made up: all asked paths are taken from the start. A long name is cut to
        make room for the number, always for the largest, as then no two cut names can meet at different numbers
        and try the same ones again and again.
        """
        if self._take(_fold(path)):
            return path
        folder, slash, part = path.rpartition("/")
        stem, extension = split_extension(part)
        head = folder + slash + cut_text(stem, MAX_PART - NUMBER_ROOM - len(extension.encode()))
        # Nothing composes across the blank and the brackets: the key of the whole is that of its pieces.
        head_key, extension_key = _fold(head), _fold(extension)
        number = self._next.get((head_key, extension_key), 2)
        while not self._take(f"{head_key} ({number}){extension_key}"):
            number += 1
        self._next[head_key, extension_key] = number + 1
        return f"{head} ({number}){extension}"

    def _take(self, key: str) -> bool:
        """Take *key*, unless it is a file's or a folder's already."""
        if key in self._taken:
            return False
        below = key + _BELOW
        place = bisect_left(self._sorted, below)
        if place < len(self._sorted) and self._sorted[place].startswith(below):
            return False
        self._taken.add(key)
        return True


def _fold(path: str) -> str:
    # NFC once more, as folding may undo it: `ΰ` becomes three characters, and `Ϋ́`, its capital, two.
    folded = path.lower() if path.isascii() else nfc(path.casefold())
    return folded.replace("/", _BELOW)
