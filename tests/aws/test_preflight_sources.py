"""`archiver check` lists what requests may name, once for each bucket and role."""

from typing import Any

import pytest
from fakes import FakeReader, FakeS3

from archiver.aws.preflight_sources import check_listings, check_patterns, own_probes, role_probes
from archiver.core import patterns
from archiver.core.locations import AllowList, Location, Role
from archiver.errors import ArchiverError, ConfigurationError, SourceUnavailable, TransientError

ROLE = "arn:aws:iam::210987654321:role/exports"
PROBE = Location("photos", "src/.archiver-check")


def test_each_bucket_that_the_settings_name_is_listed_where_requests_may() -> None:
    allowed = AllowList.parse("photos/src/,films", "archives")
    assert list(own_probes(allowed, "photos")) == [PROBE, Location("films", ".archiver-check")]
    assert list(own_probes(AllowList("archives"), "photos")) == [Location("photos", ".archiver-check")]
    assert list(own_probes(AllowList("archives"), None)) == []
    role = Role(AllowList.of(["photos/src/"], "archives"))
    assert list(role_probes({ROLE: role})) == [PROBE._replace(role=ROLE)]


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (None, "ok", "photos can be listed"),
        (SourceUnavailable("source_denied", "403"), "warning", "photos can't be listed"),
        (SourceUnavailable("source_missing", "404"), "warning", "photos: no such bucket"),
        (ConfigurationError("the clock"), "unknown", "photos: the clock"),
        (TransientError("no connection"), "unknown", "photos: no connection"),
        (TimeoutError(), "unknown", "photos: no response within 20 s"),
    ],
)
async def test_what_listing_says_is_a_row(error: ArchiverError | None, state: str, told: str) -> None:
    reader: Any = FakeReader(FakeS3())
    reader.s3.buckets.add("photos")

    def fail(*_: Any) -> None:
        if error is not None:
            raise error

    reader.on_list = fail
    (row,) = await check_listings(reader, [PROBE])
    assert (row.what, row.state) == ("listings", state)
    assert row.told.startswith(told)
    assert bool(row.remedy) == (state != "ok")


async def test_a_row_of_a_role_names_it() -> None:
    s3 = FakeS3()
    s3.buckets.add("photos")
    (row,) = await check_listings(FakeReader(s3), [PROBE._replace(role=ROLE)])
    assert row.told.startswith(f"photos with the role {ROLE} can be listed")


def test_patterns_need_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_patterns().state == "ok"
    monkeypatch.setattr(patterns, "is_available", lambda: False)
    assert check_patterns().state == "warning"
    assert "archiver[select]" in check_patterns().remedy
