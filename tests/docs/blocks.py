"""
The fenced code blocks of the documentation and their marks.

A comment on the line before a fence is its mark: `<!-- output -->` (output of a command, or a picture),
`<!-- needs ... -->` (what the block needs to run: AWS, Docker), or `<!-- file NAME -->` (a file that later commands of
the page and tests/docs/test_integrate.py run). A block without a mark is run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_MARK = re.compile(r"^\s*<!-- (?P<mark>output|needs [^>]+?|file [\w.-]+) -->\s*$")
_PICTURES = ("mermaid",)


@dataclass(frozen=True)
class Block:
    """One block: its *text*, *language*, *mark* (empty: it is run), *page* and first *line*."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The file name of a file block; otherwise empty."""
        return self.mark.removeprefix("file ") if self.mark.startswith("file ") else ""

    @property
    def commands(self) -> str:
        """The input for a shell: a whole bash block, or the lines after `$` of a console block."""
        if self.language != "console":
            return self.text
        lines: list[str] = []
        goes_on = False
        for line in self.text.splitlines():
            if line.startswith("$ "):
                lines.append(line[2:])
            elif goes_on:
                lines.append(line.removeprefix("> "))
            else:
                continue
            goes_on = lines[-1].endswith("\\")
        return "\n".join(lines) + "\n"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of *page*. Raises ValueError if a fence is not closed."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next((n for n in range(number + 1, len(lines)) if lines[n].strip() == "```"), None)
        if end is None:
            raise ValueError(f"{page}:{number + 1}: the fence is not closed")
        indent = len(fence["indent"])
        text = "\n".join(line[indent:] for line in lines[number + 1 : end]) + "\n"
        before = next((line for line in reversed(lines[:number]) if line.strip()), "")
        mark = _MARK.match(before)
        found.append(
            Block(
                page,
                number + 1,
                fence["language"],
                text,
                mark["mark"] if mark else "output" if fence["language"] in _PICTURES else "",
            )
        )
        number = end + 1
    return found


def every_block() -> list[Block]:
    return [block for page in PAGES if page.exists() for block in blocks(page)]
