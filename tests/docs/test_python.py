"""Runs the Python blocks of each page as one program."""

from pathlib import Path

import pytest

from .blocks import PAGES, ROOT, blocks

PROGRAMS = [page for page in PAGES if any(block.language == "python" and not block.mark for block in blocks(page))]


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_of_a_page_runs_from_its_first_block_to_its_last(page: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python" and not block.mark:
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
    assert len(names) > 1
