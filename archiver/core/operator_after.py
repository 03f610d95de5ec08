"""
`[after]` of the operator's policy file: what requests may have done once their archive is there.

    [after]
    delete = ["partner-bucket/tmp/"]
    move = [{from = "partner-bucket/src/", to = "partner-bucket/done/"}]
    flags = ["partner-bucket/done/"]
"""

from typing import Any

from archiver.core.after import NOWHERE, AfterRules, MoveRule
from archiver.core.locations import AllowList
from archiver.core.policy_text import PolicyText

_KNOWN = ("delete", "move", "flags")
_MOVE = 'should be a list: write move = [{from = "bucket/prefix/", to = "bucket/other/"}]'


def read_after(file: PolicyText, section: object) -> AfterRules:
    """Return what *section* allows; what is wrong with it is reported to *file*."""
    table = file.table(("after",), section)
    file.check_keys(("after",), table, _KNOWN)
    return AfterRules(
        delete=_places(file, "delete", table.get("delete", [])),
        move=_moves(file, table.get("move", [])),
        flags=_places(file, "flags", table.get("flags", [])),
    )


def _moves(file: PolicyText, given: Any) -> tuple[MoveRule, ...]:
    rules = []
    if not isinstance(given, list) or not all(isinstance(one, dict) and set(one) == {"from", "to"} for one in given):
        file.report(("after", "move"), _MOVE)
        return ()
    for one in given:
        origins, targets = _places(file, "move", [one["from"]]), _places(file, "move", [one["to"]])
        rules.append(MoveRule(origins, targets))
    return tuple(rules)


def _places(file: PolicyText, name: str, given: Any) -> AllowList:
    if not isinstance(given, list) or not all(isinstance(entry, str) for entry in given):
        told = _MOVE if name == "move" else f'is not a list of texts: write {name} = ["bucket/prefix/"]'
        file.report(("after", name), told)
        return NOWHERE
    if not given:
        return NOWHERE
    try:
        return AllowList.of(given, "")
    except ValueError as error:
        file.report(("after", name), f"can't be used: {error}")
        return NOWHERE
