"""Links have existing targets, and every block has a language that tests run, or a mark."""

import json
import re
from pathlib import Path

import pytest

from archiver.core.dialects import dialect_of
from archiver.core.schema import json_schema

from .blocks import PAGES, ROOT, Block, every_block

RUN = {"bash", "console", "python", "json", "yaml"}
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.*)$", re.MULTILINE)


def ids(block: Block) -> str:
    return str(block)


@pytest.mark.parametrize("block", every_block(), ids=ids)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    assert block.mark or block.language in RUN, f"{block}: a block of {block.language or 'no language'} needs a mark"


@pytest.mark.parametrize("block", [b for b in every_block() if b.language == "json" and not b.mark], ids=ids)
def test_a_request_of_the_pages_is_a_request_and_an_answer_an_answer(block: Block) -> None:
    data = json.loads(block.text)
    if "status" not in data and not data.keys().isdisjoint({"files", "manifest", "cancel", "command", "parameters"}):
        dialect_of(block.text).parse_request(block.text)
        return
    kinds = {"error": "failure", "progress": "progress", "accepted": "alive", "command": "command"}
    kind = next((kind for field, kind in kinds.items() if field in data), "success")
    schema = json_schema()[kind]
    assert set(schema["required"]) <= set(data) <= set(schema["properties"]), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    broken = [target for target in _targets(page.read_text()) if not _leads_somewhere(page, target)]

    assert broken == []


def _targets(text: str) -> list[str]:
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [found["target"] for found in _LINK.finditer(prose) if "://" not in found["target"]]


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    to = (page.parent / path).resolve() if path else page
    if not to.exists():
        return False
    return not anchor or anchor in {_anchor(found["text"]) for found in _HEADING.finditer(to.read_text())}


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub generates for *heading*."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
