"""The request alone decides which objects go into an archive, and under which names."""

import hashlib
import re
from typing import Any

import pytest
from core.draft_factory import RULES, make_draft
from core.path_rules import conflicts, violations
from hypothesis import given
from hypothesis import strategies as st

from archiver.core.archive_rules import ArchiveRules
from archiver.core.dialects.native import parse_request
from archiver.core.draft import Draft
from archiver.core.locations import AllowList, Location
from archiver.core.messages import Renamed
from archiver.core.request_hash import request_hash
from archiver.errors import Rejected, SourceProblem


def refused(*files: str | dict[str, Any], rules: ArchiveRules = RULES, **fields: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        make_draft(*files, rules=rules, **fields)
    return caught.value


def paths(draft: Draft) -> list[str]:
    return [file.path for file in draft.files]


def test_a_draft_holds_each_file_in_the_order_of_the_request() -> None:
    draft = make_draft(
        {"source": "p/b.jpg", "destination": "album"}, "s3://other/a.jpg", {"source": "c", "name": "d/e"}
    )
    assert [(file.source, file.location, file.path) for file in draft.files] == [
        ("p/b.jpg", Location("photos", "p/b.jpg"), "album/b.jpg"),
        ("s3://other/a.jpg", Location("other", "a.jpg"), "a.jpg"),
        ("c", Location("photos", "c"), "d/e"),
    ]
    assert (draft.renamed, draft.skipped) == ((), ())


def test_all_files_with_an_invalid_source_are_reported_at_once() -> None:
    rejected = refused("a", "s3://b", "s3://b/", "c", {"source": "é" * 600})
    assert rejected.code == "invalid_request"
    assert rejected.message == (
        "$.files[1].source has no key; $.files[2].source has no key; "
        "$.files[4].source has a key of 1200 bytes; S3 allows at most 1024"
    )
    assert [problem.source for problem in rejected.sources] == ["s3://b", "s3://b/", "é" * 600]


def test_a_key_that_ends_in_a_slash_is_an_invalid_request_even_beside_an_unsafe_name() -> None:
    rejected = refused({"source": "a", "name": "../x"}, "p/", {"source": "b", "name": "C:/x"})
    assert rejected.code == "invalid_request"
    assert rejected.message == (
        "$.files[1] names a folder: its key ends in /. "
        "For the objects under it, write `prefix` instead of `source`; for an empty folder, end `name` in /; "
        "or give the path of a file in `name`"
    )


@pytest.mark.parametrize(
    "marker",
    [
        {"source": "p/"},
        {"source": "p/", "destination": "album"},
        {"source": "p/", "destination": "x.jpg/"},
        {"source": "p/", "name": "/"},
    ],
)
def test_a_folders_marker_is_left_out_where_the_request_skips_what_is_missing(marker: dict[str, str]) -> None:
    draft = make_draft("a.jpg", marker, {"source": "b", "name": "a.jpg"}, on_missing="skip")
    assert paths(draft) == ["a.jpg", "a (2).jpg"]
    assert [(one.source, one.code) for one in draft.unusable] == [("p/", "invalid_request")]
    assert "write `prefix` instead" in draft.unusable[0].detail
    assert draft.skipped == ()
    assert refused("a.jpg", marker).code == "invalid_request"


@pytest.mark.parametrize("name", ["album/p/", "album\\p\\", "album/p/."])
def test_a_key_that_ends_in_a_slash_is_a_folder_where_its_name_ends_in_one(name: str) -> None:
    assert paths(make_draft("a.jpg", {"source": "p/", "name": name})) == ["a.jpg", "album/p/"]


@pytest.mark.parametrize("place", [{"name": "x"}, {"destination": "x.jpg"}, {"name": "a/x.jpg", "destination": ""}])
def test_a_key_that_ends_in_a_slash_is_a_file_where_it_is_given_the_path_of_one(place: dict[str, str]) -> None:
    draft = make_draft({"source": "p/", **place})
    assert (len(draft.files), draft.unusable) == (1, ())


def test_one_source_has_one_verdict_even_where_only_some_of_its_files_have_a_name() -> None:
    """`_MISSING.txt`, from which the answer is rebuilt, knows files by their source only."""
    draft = make_draft("p/", {"source": "p/", "name": "x"}, "a", on_missing="skip")
    assert (paths(draft), [one.source for one in draft.unusable]) == (["a"], ["p/", "p/"])


def test_a_conflict_is_told_by_the_place_in_the_request_beside_markers_that_are_left_out() -> None:
    rejected = refused("p/", "a/x.jpg", "b/X.jpg", on_missing="skip", on_duplicate="fail")
    assert rejected.message.startswith("$.files[2] has the path X.jpg")


def test_all_unsafe_names_are_reported_at_once() -> None:
    rejected = refused({"source": "a", "name": "../x"}, "b", {"source": "c", "destination": "C:/x.txt"})
    assert rejected.code == "name_unsafe"
    assert rejected.message == "$.files[0] the path contains a part `..`; $.files[2] the path names a drive"
    assert rejected.sources == (SourceProblem("a", "name_unsafe"), SourceProblem("c", "name_unsafe"))


def test_all_sources_outside_the_allow_list_are_listed() -> None:
    rules = ArchiveRules("photos", "archives", AllowList.parse("photos/a/", "archives"))
    rejected = refused("a/x", "b/x", "s3://other/x", "a/y", rules=rules)
    assert rejected.code == "source_not_allowed"
    assert rejected.sources == tuple(SourceProblem(text, "source_not_allowed") for text in ("b/x", "s3://other/x"))
    assert "$.files[1].source s3://photos/b/x" in rejected.message
    assert refused("s3://archives/x").code == "source_not_allowed"


def test_a_long_list_of_problems_is_told_briefly_and_listed_in_full() -> None:
    rejected = refused(*["s3://archives/" + "x" * 500] * 1_000)
    assert rejected.message.endswith("; and 980 more")
    assert len(rejected.message) < 8_000
    assert len(rejected.sources) == 1_000

    rejected = refused(*[{"source": "a", "name": "../x"}] * 1_000)
    assert rejected.message.endswith("; $.files[19] the path contains a part `..`; and 980 more")
    assert len(rejected.sources) == 1_000


def test_equal_paths_are_numbered_in_the_requests_order_and_reported() -> None:
    draft = make_draft("a/photo.jpg", "b/PHOTO.jpg", {"source": "c", "name": "photo.jpg."})
    assert paths(draft) == ["photo.jpg", "PHOTO (2).jpg", "photo (3).jpg"]
    assert draft.renamed == (
        Renamed("b/PHOTO.jpg", "PHOTO.jpg", "PHOTO (2).jpg"),
        Renamed("c", "photo.jpg.", "photo (3).jpg"),
    )


def test_the_file_gives_way_where_another_needs_a_folder() -> None:
    draft = make_draft({"source": "a", "name": "x"}, {"source": "b", "name": "x/y"})
    assert paths(draft) == ["x (2)", "x/y"]
    draft = make_draft({"source": "a", "name": "x"}, {"source": "b", "name": "x/y"}, on_duplicate="skip")
    assert paths(draft) == ["x/y"]
    assert draft.skipped == (SourceProblem("a", "name_conflict"),)


def test_skipped_duplicates_are_left_out_and_not_called_renamed() -> None:
    draft = make_draft("a/x.jpg", "b/X.jpg", {"source": "c", "name": "x.jpg "}, on_duplicate="skip")
    assert paths(draft) == ["x.jpg"]
    assert draft.skipped == (SourceProblem("b/X.jpg", "name_conflict"), SourceProblem("c", "name_conflict"))
    assert draft.renamed == ()


def test_duplicates_reject_the_request_that_says_so() -> None:
    rejected = refused("a/x.jpg", "b/X.jpg", "c", on_duplicate="fail")
    assert rejected.code == "name_conflict"
    assert rejected.message == "$.files[1] has the path X.jpg, which another file or a folder uses"
    assert rejected.sources == (SourceProblem("b/X.jpg", "name_conflict"),)
    assert paths(make_draft("a/x.jpg", "b/y.jpg", on_duplicate="fail")) == ["x.jpg", "y.jpg"]


def test_compression_is_the_requests_else_the_settings() -> None:
    settings = ArchiveRules("photos", "archives", RULES.allowed, compression="auto")
    assert make_draft("a", rules=settings).compression == "auto"
    assert make_draft("a", rules=settings, compression="store").compression == "store"
    assert make_draft("a").compression == "store"


AUTO = ArchiveRules("other", "archives", AllowList.parse("photos,other", "archives"), compression="auto", max_files=5)


@pytest.mark.parametrize("rules", [RULES, AUTO])
def test_the_same_request_has_the_same_hash_however_it_is_written_and_whatever_the_settings(
    rules: ArchiveRules,
) -> None:
    first = make_draft("p/a.jpg").request_hash
    assert re.fullmatch("[0-9a-f]{64}", first)
    for same in (
        make_draft("p/a.jpg", rules=rules),
        make_draft("p/a.jpg", rules=rules, metadata={"a": 1}, archive_name="x", job_id="j", progress=True, unknown=1),
        make_draft(
            {"destination": None, "source": "p/a.jpg", "name": ""}, rules=rules, on_missing=None, compression=None
        ),
        make_draft({"source": "p/a.jpg", "directory": "", "size": 3}, rules=rules),
    ):
        assert same.request_hash == first
    album = make_draft({"source": "p/a.jpg", "destination": "album"}, rules=rules).request_hash
    assert make_draft({"source": "p/a.jpg", "directory": "album"}, rules=rules).request_hash == album


def test_the_hash_of_a_request_does_not_change_with_releases() -> None:
    """Written down here: archives that were made before an update have to be known again after it."""
    files = [{"source": "p/ü\U0001f600.jpg", "directory": "a"}, {"source": "s3://Bucket/k", "name": "n"}]
    draft = make_draft(*files, on_missing="skip", on_duplicate="rename", compression="auto")
    text = (
        '{"compression":"auto","on_duplicate":"rename","on_missing":"skip"}\n'
        '["p/\\u00fc\\ud83d\\ude00.jpg","a",null]\n'
        '["s3://Bucket/k",null,"n"]\n'
    )
    assert draft.request_hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_of_a_selection_is_of_what_is_written_and_does_not_change_with_releases_either() -> None:
    selection = {"prefix": "s3://bucket/é/", "directory": "a", "where": {"size": {"gt": "10MiB"}, "age": None}, "x": 1}
    draft = make_draft(selection, {"inline": "", "name": "n", "destination": ""}, on_empty="skip")
    text = (
        '{"on_empty":"skip"}\n'
        '{"destination":"a","prefix":"s3://bucket/\\u00e9/","where":{"size":{"gt":"10MiB"}}}\n'
        '{"inline":"","name":"n"}\n'
    )
    assert draft.request_hash == hashlib.sha256(text.encode()).hexdigest()
    manifest = parse_request('{"manifest": "lists/m.csv", "on_missing": "skip"}')
    text = '{"on_missing":"skip"}\n{"manifest":"lists/m.csv"}\n'
    assert request_hash(manifest) == hashlib.sha256(text.encode()).hexdigest()


def test_another_request_has_another_hash() -> None:
    """What is said is compared, not what it comes to: a default that is written out is another request."""
    drafts = [
        make_draft("p/a.jpg"),
        make_draft("q/a.jpg"),
        make_draft("s3://photos/p/a.jpg"),
        make_draft("S3://photos/p/a.jpg"),
        make_draft({"source": "p/a.jpg", "destination": "album"}),
        make_draft({"source": "p/a.jpg", "destination": "album/"}),
        make_draft({"source": "p/a.jpg", "name": "album"}),
        make_draft("p/a.jpg", "p/a.jpg"),
        make_draft("p/a.jpg", {"source": "p/a.jpg", "name": "a (2).jpg"}),
        make_draft("p/a.jpg", on_missing="skip"),
        make_draft("p/a.jpg", on_missing="fail"),
        make_draft("p/a.jpg", on_duplicate="skip"),
        make_draft("p/a.jpg", on_duplicate="rename"),
        make_draft("p/a.jpg", compression="deflate"),
        make_draft("p/a.jpg", compression="store"),
        make_draft("p/a.jpg", "p/b.jpg"),
        make_draft("p/b.jpg", "p/a.jpg"),
        make_draft({"prefix": "p/a.jpg"}),
        make_draft({"prefix": "p/a.jpg", "recursive": True}),
        make_draft({"prefix": "p/a.jpg", "recursive": False}),
        make_draft({"prefix": "p/a.jpg", "regex": "a"}),
        make_draft({"prefix": "p/a.jpg", "rename": {"pattern": "a", "sub": ""}}),
        make_draft({"prefix": "p/a.jpg", "where": {"size": {"gt": 0}}}),
        make_draft({"prefix": "p/a.jpg", "where": {"age": {"gt": 0}}}),
        make_draft({"prefix": "p/a.jpg"}, on_empty="skip"),
        make_draft({"inline": "p/a.jpg", "name": "a.jpg"}),
    ]
    assert len({draft.request_hash for draft in drafts}) == len(drafts)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"source": st.text("aA./ é", min_size=1)}, optional={"destination": st.text("aAB.\\/: é\u0301", max_size=6)}
        ),
        min_size=1,
    ),
    st.sampled_from(["rename", "skip"]),
)
def test_any_request_is_refused_or_gets_lawful_paths_without_a_clash(files: list[Any], on_duplicate: str) -> None:
    try:
        draft = make_draft(*files, on_duplicate=on_duplicate)
    except Rejected:
        return
    assert [broken for path in paths(draft) for broken in violations(path)] == []
    assert conflicts(paths(draft)) == []
    assert len(draft.files) + len(draft.skipped) == len(files)
    assert make_draft(*files, on_duplicate=on_duplicate) == draft


def test_waiting_does_not_make_another_request_and_on_archived_does() -> None:
    plain = make_draft("a.jpg").request_hash

    assert make_draft("a.jpg", wait_for={"timeout": 9}, on_archived=None, restore=None).request_hash == plain
    hashes = {make_draft("a.jpg", on_archived=how).request_hash for how in ("fail", "skip")}
    assert len({plain, *hashes}) == 3
