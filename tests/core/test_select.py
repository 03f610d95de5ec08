"""What an entry with a prefix selects, and where it goes: by hand, and against a naive model of random selections."""

import random
import re
from datetime import timedelta
from typing import Any

import pytest
from core.draft_factory import SENT_AT, make_draft
from core.path_rules import violations

from archiver.core.draft import Draft, complete_draft
from archiver.core.entries import File, Selection, parse_size
from archiver.core.locations import parse_prefix
from archiver.core.objects import Listed, ObjectInfo
from archiver.core.patterns import Effort
from archiver.core.select import Selector
from archiver.errors import Rejected, SourceUnavailable

KEYS = ["src/", "src/a.txt", "src/b.txt.bak", "src/deep/", "src/deep/c.txt", "src/tmp_d.txt"]


def listed(key: str, size: int = 1, age: float = 100, *, archived: bool = False) -> Listed:
    return Listed(key, size, f'"{key}"', SENT_AT - timedelta(seconds=age), archived)


def selector(prefix: str = "src/", **fields: Any) -> Selector:
    selection = Selection.model_validate({"prefix": prefix, **fields})
    return Selector.of(selection, parse_prefix(prefix, "photos"), SENT_AT)


def chosen(objects: list[Listed], **fields: Any) -> list[str]:
    return [one.key for one in selector(**fields).choose(objects)]


def completed(*entries: Any, found: list[Any], **fields: Any) -> Draft:
    draft = make_draft(*entries, **fields)
    assert draft.pending is not None
    assert draft.pending.outline is not None
    return complete_draft(draft, draft.pending.outline, found)


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, ["src/a.txt", "src/b.txt.bak", "src/deep/c.txt", "src/tmp_d.txt"]),
        ({"recursive": False}, ["src/a.txt", "src/b.txt.bak", "src/tmp_d.txt"]),
        ({"regex": r".*\.txt"}, ["src/a.txt", "src/deep/c.txt", "src/tmp_d.txt"]),  # the whole path: not `.txt.bak`
        ({"regex": r"[^/]*\.txt"}, ["src/a.txt", "src/tmp_d.txt"]),
        ({"regex": "a"}, []),
        ({"regex": "(?i)A.TXT"}, ["src/a.txt"]),
    ],
)
def test_the_objects_under_a_prefix_are_selected_without_the_markers_of_folders(
    fields: dict[str, Any], keys: list[str]
) -> None:
    assert chosen([listed(key) for key in KEYS], **fields) == keys


def test_folder_markers_without_content_are_selected_with_folders() -> None:
    keys = [*KEYS, "src//", "src/./", "src/empty/", "src/empty/new/"]
    objects = [listed(key, size=0 if key.endswith("/") else 1) for key in keys] + [listed("src/full/", size=1)]
    markers = ["src/deep/", "src/empty/", "src/empty/new/"]
    assert [key for key in chosen(objects, folders=True) if key.endswith("/")] == markers
    assert chosen(objects, folders=True, regex="e.*") == markers[1:]
    assert chosen(objects, folders=True, recursive=False) == ["src/a.txt", "src/b.txt.bak", "src/tmp_d.txt"]
    assert chosen(objects, folders=True, where={"size": {"gt": 0}}) == chosen(objects)


def test_a_folder_marker_is_a_folder_whatever_it_is_renamed_to() -> None:
    def path_of(key: str, **fields: Any) -> str:
        return selector(**fields).path_of(key, Effort()).path

    assert path_of("src/a//b/") == "a/b/"
    assert path_of("src/a/", destination="x") == "x/a/"
    assert path_of("src/a/", rename={"pattern": "a/", "sub": "b"}) == "b/"
    assert path_of("src/a", rename={"pattern": "a", "sub": "b/"}) == "b"


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ({"gt": 0}, [1, 1024, 1025]),
        ({"lt": 1}, [0]),
        ({"gt": 0, "lt": "1KiB"}, [1]),
        ({"gt": "1kB"}, [1024, 1025]),
        ({"gt": "1 KiB"}, [1025]),
        ({"lt": 0}, []),
    ],
)
def test_bounds_of_sizes_are_exclusive_and_zero_is_a_bound(size: dict[str, Any], sizes: list[int]) -> None:
    objects = [listed(f"src/{number}", size=number) for number in (0, 1, 1024, 1025)]
    assert [f"src/{number}" for number in sizes] == chosen(objects, where={"size": size})


@pytest.mark.parametrize(
    ("age", "ages"), [({"gt": 0}, [0.5, 60, 61]), ({"gt": 60}, [61]), ({"lt": 60}, [-5, 0, 0.5]), ({"lt": 0}, [-5])]
)
def test_ages_count_from_when_the_request_was_sent(age: dict[str, int], ages: list[float]) -> None:
    """An object that was written while the message waited is younger than nothing: a redelivery finds the same ages."""
    objects = [listed(f"src/{number}", age=number) for number in (-5, 0, 0.5, 60, 61)]
    assert [f"src/{number}" for number in ages] == chosen(objects, where={"age": age})


@pytest.mark.parametrize(
    ("count", "is_empty"),
    [({"min": 2}, False), ({"min": 3}, True), ({"max": 2}, False), ({"max": 1}, True), ({"min": 0, "max": 2}, False)],
)
def test_a_count_outside_of_its_bounds_which_are_inclusive_empties_the_selection(
    count: dict[str, int], is_empty: bool
) -> None:
    reason = selector(where={"count": count}).empty_reason(2)
    assert (reason is not None) == is_empty
    assert reason is None or "selects 2 objects; `where.count` allows" in reason


def test_paths_are_those_below_the_prefix_s_last_slash_in_the_destination_which_is_a_folder() -> None:
    assert selector("src/po").path_of("src/poly/a.shp", Effort()).path == "poly/a.shp"
    assert selector("s3://bbb").path_of("x/y.txt", Effort()).path == "x/y.txt"
    assert selector("src/", destination="v1.2").path_of("src/a.txt", Effort()).path == "v1.2/a.txt"
    assert selector("src/", directory="My Album/").path_of("src/d/a.txt", Effort()).requested == "My Album/d/a.txt"


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("a//b", "a/b"),
        ("/a", "a"),
        ("./a", "a"),
        ("../../x", "_/_/x"),
        ("C:/x", "C_/x"),
        (r"a\b", "a_b"),
        ("con/ a.txt.", "con_/a.txt"),
        ("\x01\u202e", "__"),
    ],
)
def test_what_comes_from_a_key_is_repaired_and_told(rest: str, path: str) -> None:
    made = selector("src/").path_of(f"src/{rest}", Effort())
    assert (made.path, made.requested) == (path, rest)
    assert violations(made.path) == []


@pytest.mark.parametrize(
    ("rename", "path"),
    [
        ({"pattern": "^tmp_", "sub": ""}, "a b.txt"),
        ({"pattern": " ", "sub": "_"}, "tmp_a_b.txt"),
        ({"pattern": r"(\w+)\.(\w+)$", "sub": r"\2/\1"}, "tmp_a txt/b"),
        ({"pattern": "^.*$", "sub": r"\0\\é.x"}, "tmp_a b.txt_é.x"),
        ({"pattern": "^.*$", "sub": "../../etc/passwd"}, "_/_/etc/passwd"),
    ],
)
def test_a_rename_changes_the_path_before_it_is_made_lawful(rename: dict[str, str], path: str) -> None:
    made = selector("src/", rename=rename).path_of("src/tmp_a b.txt", Effort())
    assert made.path == path
    assert violations(made.path) == []


@pytest.mark.parametrize(
    ("rename", "reason"),
    [
        ({"pattern": "^.*$", "sub": ""}, "the path is empty"),
        ({"pattern": "^.*$", "sub": r"\0" * 128}, "characters"),
        ({"pattern": "a", "sub": "x"}, "matches more than 64 times"),
        ({"pattern": "$", "sub": "x" * 256}, None),
    ],
)
def test_a_rename_that_leaves_nothing_or_far_too_much_is_unsafe(rename: dict[str, str], reason: str | None) -> None:
    one = selector("src/", rename=rename)
    if reason is None:
        one.path_of("src/a.txt", Effort())
        return
    with pytest.raises(Rejected, match=reason) as caught:
        one.path_of("src/" + "a" * 200, Effort())
    assert caught.value.code == "name_unsafe"


def test_objects_are_named_as_the_request_would_name_them() -> None:
    assert selector("src/a").source_of("src/abc") == "src/abc"
    for prefix, source in (("S3://bbb/x", "S3://bbb/xyz"), ("s3://bbb/", "s3://bbb/xyz"), ("s3://bbb", "s3://bbb/xyz")):
        assert selector(prefix).source_of("xyz") == source


def test_the_order_is_the_request_s_and_in_each_entry_that_of_the_keys() -> None:
    draft = completed(
        "z.jpg",
        {"prefix": "b/"},
        {"inline": "Made for ACME\n", "name": "README.txt"},
        {"prefix": "a/"},
        found=[[listed("b/2"), listed("b/1")], [listed("a/ü"), listed("a/z")]],
    )
    assert [file.path for file in draft.files] == ["z.jpg", "1", "2", "README.txt", "z", "ü"]
    infos = [draft.known.get(file.location) for file in draft.files]
    assert [one.size for one in infos if isinstance(one, ObjectInfo)] == [1, 1, 14, 1, 1]


def test_names_are_made_unique_on_the_whole_set() -> None:
    entries = ["c/a.txt", {"prefix": "a/"}, {"prefix": "b/", "rename": {"pattern": "^x", "sub": "a"}}]
    found = [[listed("a/a.txt")], [listed("b/x.txt")]]
    assert [file.path for file in completed(*entries, found=found).files] == ["a.txt", "a (2).txt", "a (3).txt"]
    skipping = completed(*entries, found=found, on_duplicate="skip")
    assert [one.source for one in skipping.skipped] == ["a/a.txt", "b/x.txt"]
    with pytest.raises(Rejected, match=r"name_conflict.*files\[1\] has the path a.txt"):
        completed(*entries, found=found, on_duplicate="fail")


def test_a_prefix_that_is_spelled_like_an_object_is_not_that_object() -> None:
    denied = SourceUnavailable("source_denied", "no")
    draft = completed("src/a", {"prefix": "src/a"}, found=[denied], on_missing="skip")
    assert [file.source for file in draft.files] == ["src/a"]
    assert [(one.source, one.code) for one in draft.unlisted] == [("src/a", "source_denied")]


def test_nothing_is_left_to_archive_where_all_prefixes_are_empty_and_only_text_is_there() -> None:
    def is_blank(*entries: Any, found: list[Any]) -> bool:
        return completed(*entries, found=found, on_empty="skip").is_blank

    readme = {"inline": "x", "name": "x.txt"}
    assert is_blank({"prefix": "a/"}, found=[[]])
    assert is_blank({"prefix": "a/"}, readme, found=[[]])
    assert not is_blank({"prefix": "a/"}, "b.jpg", found=[[]])
    assert not is_blank({"prefix": "a/"}, {"prefix": "b/"}, found=[[], [listed("b/1")]])
    assert not is_blank({"prefix": "a/"}, found=[SourceUnavailable("source_denied", "no")])
    assert not make_draft(readme, on_empty="skip").is_blank


PATTERNS = (".*", r".*\.txt", "[^/]*", "a.*", "(a|b)+/.*", r"\w+", "", "x?.{3}", ".*(a|/).*")


def naive(objects: list[Listed], prefix: str, fields: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the key and the unrepaired path of each selected object, as a page of Python would."""
    kept = []
    where, base = fields.get("where", {}), prefix[: prefix.rfind("/") + 1]
    for key, size, _, modified, *_ in sorted(objects):
        rest, age = key[len(base) :], (SENT_AT - modified).total_seconds()
        is_folder = fields.get("folders") and size == 0 and any(part not in ("", ".") for part in rest.split("/"))
        if not key.startswith(prefix) or (key.endswith("/") and not is_folder):
            continue
        keep = fields.get("recursive", True) or "/" not in rest
        for name, value in (("size", size), ("age", age)):
            if (low := where.get(name, {}).get("gt")) is not None:
                keep = keep and value > parse_size(low)
            if (high := where.get(name, {}).get("lt")) is not None:
                keep = keep and value < parse_size(high)
        if fields.get("regex"):
            keep = keep and re.fullmatch(fields["regex"], rest) is not None
        if keep:
            rename = fields.get("rename")
            rest = re.sub(rename["pattern"], rename["sub"], rest) if rename else rest
            kept.append((key, rest + "/" if key.endswith("/") and not rest.endswith("/") else rest))
    count = where.get("count", {})
    return kept if count.get("min", 0) <= len(kept) <= count.get("max", len(kept)) else []


def random_selection(dice: random.Random) -> dict[str, Any]:
    def bounds(low: str, high: str, *values: Any) -> dict[str, Any]:
        pair = sorted(dice.sample(values, 2), key=parse_size)
        return {name: value for name, value in zip((low, high), pair, strict=True) if dice.random() < 0.7}

    where = {
        "size": bounds("gt", "lt", 0, 1, 5, 9, "1KiB"),
        "age": bounds("gt", "lt", 0, 10, 20, 30),
        "count": bounds("min", "max", 0, 1, 2, 5, 10),
    }
    where = {name: one for name, one in where.items() if one and dice.random() < 0.4}
    fields: dict[str, Any] = {"where": where} if where else {}
    if dice.random() < 0.3:
        fields["recursive"] = dice.random() < 0.5
    if dice.random() < 0.3:
        fields["folders"] = True
    if dice.random() < 0.5 and (pattern := dice.choice(PATTERNS)):
        fields["regex"] = pattern
    if dice.random() < 0.3:
        fields["rename"] = {"pattern": dice.choice(("a", "^.", "/", r"\.txt$")), "sub": dice.choice(("q", "", "z/z"))}
    return fields


def check_random_selections(first: int, last: int) -> None:
    for seed in range(first, last):
        dice = random.Random(seed)
        keys = {"".join(dice.choices("ab/ x", k=dice.randint(1, 6))) + dice.choice(("", ".txt")) for _ in range(12)}
        keys |= {f"{key}/" for key in list(keys)[:3]}
        objects = [listed(key, max(0, dice.randint(-5, 10)), dice.randint(-5, 35)) for key in keys]
        prefix, fields = "".join(dice.choices("ab/", k=dice.randint(1, 2))), random_selection(dice)
        one = selector(prefix, **fields)
        found = one.choose(each for each in objects if each.key.startswith(prefix))
        kept = sorted(found) if one.empty_reason(len(found)) is None else []
        expected = naive(objects, prefix, fields)

        assert [each.key for each in kept] == [key for key, _ in expected], (seed, prefix, fields)
        for key, rest in expected:
            try:
                path = one.path_of(key, Effort())
                assert path.requested == rest, (seed, prefix, fields)
                assert path.path.endswith("/") == key.endswith("/")
            except Rejected:
                assert not rest.strip("/"), (seed, prefix, fields)


def test_a_thousand_random_selections_are_those_of_a_naive_model() -> None:
    check_random_selections(0, 1000)


@pytest.mark.slow
def test_ten_thousand_random_selections_are_those_of_a_naive_model() -> None:
    check_random_selections(1000, 11_000)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"where": {"size": {"gt": True}}}, "bytes"),
        ({"where": {"size": {"gt": 1.5}}}, "bytes"),
        ({"where": {"size": {"gt": -1}}}, "should be from 0 to"),
        ({"where": {}}, "should have size or age or count"),
        ({"where": {"age": {}}}, "should have gt or lt"),
    ],
)
def test_bounds_that_are_none_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Selection.model_validate({"prefix": "src/", **fields})


@pytest.mark.parametrize("field", ["regex", "where"])
def test_a_field_of_prefixes_beside_a_source_is_refused_unless_it_is_null(field: str) -> None:
    assert File.model_validate({"source": "a", field: None}).source == "a"
    with pytest.raises(ValueError, match="goes with prefix"):
        File.model_validate({"source": "a", field: "x"})
