"""Drafts of small requests, the way the pipeline makes them."""

import json
from typing import Any

from archiver.core.draft import Draft, Rules, draft_archive
from archiver.core.locations import AllowList
from archiver.core.messages import parse_request

RULES = Rules("photos", "archives", AllowList.parse(None, "archives"))


def drafted(*files: str | dict[str, Any], rules: Rules = RULES, **fields: object) -> Draft:
    listed = [{"source": file} if isinstance(file, str) else file for file in files]
    return draft_archive(parse_request(json.dumps({"files": listed, **fields})), rules)
