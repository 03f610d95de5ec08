"""Drafts of small requests, the way the pipeline makes them."""

import json
from datetime import UTC, datetime
from typing import Any

from archiver.core.archive_rules import ArchiveRules
from archiver.core.dialects.native import parse_request
from archiver.core.draft import Draft, draft_archive
from archiver.core.locations import AllowList

SENT_AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
RULES = ArchiveRules("photos", "archives", AllowList.parse(None, "archives"))


def make_draft(*files: str | dict[str, Any], rules: ArchiveRules = RULES, **fields: object) -> Draft:
    listed = [{"source": file} if isinstance(file, str) else file for file in files]
    return draft_archive(parse_request(json.dumps({"files": listed, **fields})), rules, SENT_AT)
