"""No two files of one zip end up as one, and none where another needs a folder."""

from itertools import islice

import pytest
from core.path_rules import conflicts, violations
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.paths import resolve_path
from archiver.core.unique_paths import UniquePaths, find_conflicts
from archiver.errors import Rejected

PARTS = st.sampled_from(
    ["a", "A", "b", "a (2)", "a (3)", "é", "e\u0301", "ß", "ss", "SS", "ſs", "a.jpg", "A.JPG", "a (2).jpg", "İ", "i̇"]
)


def path_of(asked: str) -> str:
    name = resolve_path("", None, asked)
    assert name is not None
    return name.path


PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join).map(path_of))


def resolved(paths: list[str]) -> list[str]:
    taken, final = UniquePaths(paths), list(paths)
    for index in find_conflicts(paths):
        final[index] = taken.allocate(paths[index])
    return final


@pytest.mark.parametrize(
    ("asked", "final"),
    [
        (["photo.jpg", "photo.jpg", "photo.jpg"], ["photo.jpg", "photo (2).jpg", "photo (3).jpg"]),
        (["album/photo.jpg", "album/PHOTO.jpg"], ["album/photo.jpg", "album/PHOTO (2).jpg"]),
        (["Album/photo.jpg", "album/photo.jpg"], ["Album/photo.jpg", "album/photo (2).jpg"]),
        (["straße", "STRASSE"], ["straße", "STRASSE (2)"]),
        (["\u03b0", "\u03ab\u0301"], ["\u03b0", "\u03ab\u0301 (2)"]),
        (["a", "a/b"], ["a (2)", "a/b"]),
        (["a/b", "a"], ["a/b", "a (2)"]),
        (["A/b/c", "a/b", "a"], ["A/b/c", "a/b (2)", "a (2)"]),
        (["a", "a", "a/b"], ["a (2)", "a (3)", "a/b"]),
        (["a", "a/b", "a (2)/c"], ["a (3)", "a/b", "a (2)/c"]),
        (["a.jpg", "a.jpg", "a (2).jpg"], ["a.jpg", "a (3).jpg", "a (2).jpg"]),
        (["archive.tar.gz", "archive.tar.gz"], ["archive.tar.gz", "archive.tar (2).gz"]),
        ([".hidden", ".hidden"], [".hidden", ".hidden (2)"]),
        (["a", "a-b/c", "a.b/c"], ["a", "a-b/c", "a.b/c"]),
    ],
)
def test_the_later_of_equal_paths_and_the_file_where_a_folder_is_needed_are_numbered(
    asked: list[str], final: list[str]
) -> None:
    assert resolved(asked) == final


@given(PATHS)
def test_no_clash_is_left_in_any_set_and_every_path_stays_lawful(paths: list[str]) -> None:
    final = resolved(paths)
    assert conflicts(final) == []
    assert [broken for path in final for broken in violations(path)] == []
    assert resolved(paths) == final
    assert resolved(final) == final


@given(PATHS)
def test_only_paths_that_clash_are_changed_and_leaving_those_out_is_enough(paths: list[str]) -> None:
    losers = set(find_conflicts(paths))
    kept = [path for index, path in enumerate(paths) if index not in losers]
    assert conflicts(kept) == []
    assert {paths[index] for index in losers} <= set(conflicts(paths))
    assert bool(losers) == bool(conflicts(paths))


@pytest.mark.parametrize("part", ["x" * 255, "x" * 251 + ".jpg", "é" * 127, "日" * 83 + ".tiff"])
def test_a_number_fits_into_a_part_of_full_length(part: str) -> None:
    first, second = resolved([f"album/{part}"] * 2)
    assert first == f"album/{part}"
    assert " (2)" in second
    assert violations(second) == []


def test_a_number_fits_into_a_path_of_full_length() -> None:
    folder = "/".join(["d" * 239] * 17)
    longest = f"{folder}/{'x' * (4086 - len(folder) - 1)}"
    assert path_of(longest) == longest
    assert len(resolved([longest] * 2)[1].encode()) <= 4096
    with pytest.raises(Rejected):
        resolve_path("", None, longest + "x")


def test_as_many_equal_names_as_a_message_can_hold_get_their_numbers_in_order() -> None:
    final = resolved(["album/photo.jpg"] * 65_536)
    assert final[:2] + final[-1:] == ["album/photo.jpg", "album/photo (2).jpg", "album/photo (65536).jpg"]


def test_long_names_that_are_equal_once_cut_do_not_try_the_same_numbers_again_and_again() -> None:
    """Counted, not timed: with a counter for each uncut name, the k-th pair would try k names."""
    stems = [f"{'x' * 246}{number:05}" for number in range(3_000)]
    paths = [f"{stem}.jpg" for stem in stems for _ in range(2)]
    taken, tries = UniquePaths(paths), 0

    class Counting(set[str]):
        def __contains__(self, key: object) -> bool:
            nonlocal tries
            tries += 1
            return super().__contains__(key)

    taken._taken = Counting(taken._taken)
    final = [taken.allocate(path) for path in islice(paths, 1, None, 2)]
    assert len(set(final)) == 3_000
    assert tries == 6_000


def test_a_free_path_is_taken_as_it_is_and_only_once() -> None:
    taken = UniquePaths(["a.jpg", "_missing.txt/x"])
    assert taken.allocate("b.jpg") == "b.jpg"
    assert taken.allocate("B.jpg") == "B (2).jpg"
    assert taken.allocate("_MISSING.txt") == "_MISSING (2).txt"
