"""
`[roles."ARN"]` of the operator's policy file: the roles that requests may name, and what may be read with each.

    [roles."arn:aws:iam::210987654321:role/exports"]
    sources = ["partner-bucket/exports/"]
    external_id = "…"                         # or a reference, as in settings
"""

import re
from collections.abc import Mapping
from typing import Any

from archiver.core.entries import MAX_ROLE_ARN_LENGTH
from archiver.core.locations import AllowList, Role
from archiver.core.policy_text import Path, PolicyText
from archiver.core.references import ReferenceProblem, is_reference, parse_reference

EXAMPLE = "arn:aws:iam::123456789012:role/NAME"

# A name has no wildcard: the ARN is a resource of the worker's own policy, and what requests name is one role.
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/([\w+=,.@-]+/)*[\w+=,.@-]{1,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # "ExternalId" of AssumeRole, STS API reference
_KNOWN = ("sources", "external_id")


def read_roles(file: PolicyText, section: object) -> dict[str, Role]:
    """Return the roles of *section*; what is wrong with it is reported to *file*."""
    roles = {}
    for arn, value in file.table(("roles",), section).items():
        path = ("roles", arn)
        if not is_role_arn(arn):
            file.report(path, f'is not the ARN of a role: write [roles."{EXAMPLE}"], with the quotes')
            continue
        table = file.table(path, value)
        if table is value:
            file.check_keys(path, table, _KNOWN)
            roles[arn] = Role(_sources(file, path, table), _external_id(file, path, table))
    return roles


def is_role_arn(text: str) -> bool:
    """Return whether *text* is the ARN of one role."""
    return _ROLE_ARN.fullmatch(text) is not None and len(text) <= MAX_ROLE_ARN_LENGTH


def _sources(file: PolicyText, path: Path, table: Mapping[str, Any]) -> AllowList:
    """Return the sources of one role. None of them allow nothing."""
    nothing = AllowList("", {})
    sources = table.get("sources")
    if sources is None:
        file.report(path, 'has no sources: write sources = ["bucket/prefix/"], all that may be read with this role')
        return nothing
    if not isinstance(sources, list) or not all(isinstance(entry, str) for entry in sources):
        file.report((*path, "sources"), 'is not a list of texts: write sources = ["bucket/prefix/"]')
        return nothing
    try:
        return AllowList.of(sources, "")
    except ValueError as error:
        file.report((*path, "sources"), f"can't be used: {error}")
        return nothing


def _external_id(file: PolicyText, path: Path, table: Mapping[str, Any]) -> str | None:
    """Return the external id of one role, or a reference to it. Its text is shown to nobody."""
    given = table.get("external_id")
    if isinstance(given, str) and is_reference(given):
        try:
            parse_reference(given)
        except ReferenceProblem as problem:
            file.report((*path, "external_id"), str(problem))
        return given
    if given is None or (isinstance(given, str) and _EXTERNAL_ID.fullmatch(given)):
        return given
    told = "is no external id: write 2 to 1,224 letters, digits and _ + = , . @ : / - in quotes, or leave it out"
    file.report((*path, "external_id"), told)
    return None
