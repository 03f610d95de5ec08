"""docs/deploy.md lists every parameter. `python -m docs.test_deploy` in tests/ regenerates its table."""

import re
from pathlib import Path

from deploy.template import FILES, load_template

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
SIGNED_LINKS = PAGE.with_name("signed-links.md")
BEGIN, END = "<!-- parameters -->", "<!-- end of the parameters -->"


def table() -> list[str]:
    """Return one row per parameter, in the order of the templates' groups."""
    lines = ["| parameter | template | default | description |", "| --- | --- | --- | --- |"]
    of = {which: load_template(which)["Parameters"] for which in FILES}
    for name in dict.fromkeys(name for which in FILES for name in of[which]):
        which = [which for which in FILES if name in of[which]]
        told = of[which[-1]][name]
        default = (
            f"`{told['Default']}`" if str(told.get("Default", "")) else "none" if "Default" in told else "required"
        )
        about = re.sub(r"^Optional: (.)", lambda match: match[1].upper(), str(told["Description"]))
        lines.append(f"| `{name}` | {', '.join(which)} | {default} | {about} |")
    return lines


def test_the_table_holds_every_parameter_with_its_default() -> None:
    _, _, rest = PAGE.read_text().partition(BEGIN + "\n")
    told, _, _ = rest.partition("\n" + END)

    assert told.splitlines() == table()


def test_the_commands_name_parameters_that_exist() -> None:
    """In all commands that deploy a stack."""
    known = {name for which in FILES for name in load_template(which)["Parameters"]}
    text = PAGE.read_text() + SIGNED_LINKS.read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    given = [
        name
        for block in blocks
        for command in re.findall(r"--parameter-overrides((?:.*\\\n)*.*)", block)
        for name in re.findall(r"\b([A-Z]\w+)=", command)
    ]

    assert len(given) > 8
    assert set(given) <= known


def test_the_checklist_has_ten_commands() -> None:
    """One command per line."""
    (block,) = re.findall(r"## Ten commands.*?```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)

    assert len(block.splitlines()) == len(re.findall(r"^(aws|curl) ", block, re.MULTILINE)) == 10


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{BEGIN}", *table(), f"{END}{after}"]))
