"""Roles in requests: only listed ones, each for its own sources, and part of what the request is."""

from dataclasses import replace
from typing import Any

import pytest
from core.draft_factory import SENT_AT, make_draft

from archiver.core.archive_rules import ArchiveRules
from archiver.core.draft import complete_draft
from archiver.core.locations import AllowList, Location, Role
from archiver.core.objects import Listed
from archiver.errors import Rejected, SourceProblem

EXPORTS = "arn:aws:iam::210987654321:role/exports"
PHOTOS = "arn:aws:iam::321098765432:role/photos"
ROLES = {
    EXPORTS: Role(AllowList.of(["partner/src/", "shared"], "archives"), "an external id"),
    PHOTOS: Role(AllowList.of(["shared/photos/"], "archives")),
}
RULES = ArchiveRules("photos", "archives", AllowList.parse("photos", "archives"), roles=ROLES)


def file(source: str, role: Any = EXPORTS, **more: str) -> dict[str, Any]:
    return {"source": source, "role_arn": role, **more}


def refused(*files: str | dict[str, Any], rules: ArchiveRules = RULES) -> Rejected:
    with pytest.raises(Rejected) as caught:
        make_draft(*files, rules=rules)
    return caught.value


def test_each_file_is_read_with_its_own_role() -> None:
    draft = make_draft("own.txt", file("s3://partner/src/a.txt"), file("s3://shared/photos/b.jpg", PHOTOS), rules=RULES)

    assert [one.location for one in draft.files] == [
        Location("photos", "own.txt"),
        Location("partner", "src/a.txt", EXPORTS),
        Location("shared", "photos/b.jpg", PHOTOS),
    ]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::210987654321:role/export",
        f"{EXPORTS} ",
        f"{EXPORTS}\n",
        EXPORTS.upper(),
        EXPORTS.replace("exports", "ехроrts"),
        "arn:aws:iam::210987654321:role/*",
        "*",
        " ",
        "\x00",
        "a" * 2048,
    ],
)
def test_a_role_that_is_not_listed_is_not_allowed(arn: str) -> None:
    rejected = refused("own.txt", file("s3://partner/src/a.txt", arn), file("s3://shared/b", arn))

    assert rejected.code == "role_not_allowed"
    assert rejected.message.startswith(f"$.files[1].role_arn {arn[:200]} is not a role of the operator's POLICY_FILE")
    assert [one.source for one in rejected.sources] == ["s3://partner/src/a.txt", "s3://shared/b"]
    assert len(rejected.message) < 700


def test_without_a_policy_file_no_role_is_allowed() -> None:
    assert refused(file("own.txt"), rules=ArchiveRules("photos", "archives", RULES.allowed)).code == "role_not_allowed"


@pytest.mark.parametrize("arn", ["", 7, ["a"], "a" * 2049, "\ud800"])
def test_what_is_no_text_of_a_role_is_an_invalid_request(arn: Any) -> None:
    rejected = refused(file("s3://partner/src/a.txt", arn))

    assert rejected.code == "invalid_request"
    assert rejected.message.startswith("$.files[0].role_arn should ") or "contains half" in rejected.message


@pytest.mark.parametrize(
    ("source", "role"),
    [
        ("s3://partner/a.txt", EXPORTS),
        ("s3://partner/src", EXPORTS),
        ("s3://shared/a.jpg", PHOTOS),
        ("s3://partner/src/a.txt", PHOTOS),
        ("own.txt", EXPORTS),  # allowed with the worker's own role
        ("s3://archives/a.zip", EXPORTS),
    ],
)
def test_a_role_reads_its_own_sources_and_no_others(source: str, role: str) -> None:
    rejected = refused(file(source, role))

    assert (rejected.code, rejected.sources) == ("source_not_allowed", (SourceProblem(source, "source_not_allowed"),))
    assert rejected.message.endswith(f"is outside the sources of its role {role}")


def test_the_sources_of_a_role_are_not_the_worker_s_own() -> None:
    assert refused("s3://partner/src/a.txt").message.endswith("is outside the allowed sources")


def test_a_source_has_one_role_in_a_request() -> None:
    """Answers name objects by their source: with two roles, nobody could tell which of them is missing."""
    rejected = refused(file("s3://shared/photos/a"), file("s3://shared/photos/a", PHOTOS), file("s3://shared/photos/a"))

    assert (rejected.code, rejected.message) == (
        "invalid_request",
        "$.files[1].role_arn differs from that of another file with the same source",
    )
    assert len(make_draft(file("s3://shared/a"), file("s3://shared/a"), rules=RULES).files) == 2


def test_the_role_is_part_of_the_request() -> None:
    with_roles = [make_draft(file("s3://shared/photos/a", role), rules=RULES) for role in (EXPORTS, PHOTOS)]

    assert len({draft.request_hash for draft in with_roles}) == 2


def test_requests_without_roles_keep_the_hash_that_their_archives_have() -> None:
    hashes = {make_draft("a.jpg", {"source": "b.jpg", **role}).request_hash for role in ({}, {"role_arn": None})}

    assert hashes == {"79a134baaffa257351feccae2548306b0c28e0c1ab3bd49ce2ae1377cb4e033f"}


def test_a_prefix_has_a_role_too() -> None:
    draft = make_draft({"prefix": "s3://partner/src/", "role_arn": EXPORTS}, file("s3://shared/b"), rules=RULES)
    assert draft.pending is not None

    outline = draft.pending.outline
    assert outline is not None
    assert [one.location for one in outline.entries] == [
        Location("partner", "src/", EXPORTS),
        Location("shared", "b", EXPORTS),
    ]
    listed = complete_draft(draft, outline, [[Listed("src/a.txt", 1, '"e"', SENT_AT, False)]])
    assert [one.location for one in listed.files] == [
        Location("partner", "src/a.txt", EXPORTS),
        Location("shared", "b", EXPORTS),
    ]
    assert list(listed.known) == [Location("partner", "src/a.txt", EXPORTS)]


@pytest.mark.parametrize(
    ("prefix", "role", "code"),
    [
        ("s3://partner/", EXPORTS, "source_not_allowed"),
        ("s3://shared/", PHOTOS, "source_not_allowed"),
        ("album/", EXPORTS, "source_not_allowed"),
        ("s3://partner/src/", f"{EXPORTS}s", "role_not_allowed"),
        ("s3://partner/src/", "", "invalid_request"),
    ],
)
def test_a_prefix_lists_the_sources_of_its_role_and_no_others(prefix: str, role: str, code: str) -> None:
    assert refused({"prefix": prefix, "role_arn": role}).code == code


def test_a_source_has_one_role_also_where_a_prefix_selects_it() -> None:
    draft = make_draft(
        {"prefix": "s3://shared/photos/", "role_arn": EXPORTS}, file("s3://shared/photos/a", PHOTOS), rules=RULES
    )
    assert draft.pending is not None
    assert draft.pending.outline is not None
    with pytest.raises(Rejected) as caught:
        complete_draft(draft, draft.pending.outline, [[Listed("photos/a", 1, '"e"', SENT_AT, False)]])

    assert caught.value.message == "$.files[1].role_arn differs from that of another file with the same source"
    assert complete_draft(draft, draft.pending.outline, [[Listed("photos/b", 1, '"e"', SENT_AT, False)]]).files


def test_the_role_of_a_prefix_is_part_of_the_request() -> None:
    hashes = {
        make_draft({"prefix": "s3://shared/photos/", **role}, rules=replace(RULES, allowed=AllowList(""))).request_hash
        for role in ({}, {"role_arn": None}, {"role_arn": EXPORTS}, {"role_arn": PHOTOS})
    }

    assert len(hashes) == 3
