"""
`[archives]` of the operator's policy file: what requests may say of their archives.

    [archives]
    acl = ["bucket-owner-full-control"]
    tags = ["project", "cost-centre"]
    expires_in = ["1d", "7d"]
"""

from collections.abc import Callable

from archiver.core.attributes import ACLS, DAYS, EXPIRY_TAG, AttributeRules, tag_problem
from archiver.core.policy_text import PolicyText

_ENTRIES: dict[str, tuple[Callable[[str], bool], str]] = {
    "acl": (lambda acl: acl in ACLS, f"a list of ACLs: {', '.join(ACLS)}"),
    "tags": (
        lambda key: tag_problem(key, "") is None and key != EXPIRY_TAG,
        f'a list of keys of tags, such as ["project"], without {EXPIRY_TAG}',
    ),
    "expires_in": (
        lambda days: DAYS.fullmatch(days) is not None,
        'a list of days, such as ["1d", "7d"], each of which a lifecycle rule of the bucket has',
    ),
}


def read_archives(file: PolicyText, section: object) -> AttributeRules:
    """Return what *section* allows; what is wrong with it is reported to *file*."""
    table = file.table(("archives",), section)
    file.check_keys(("archives",), table, list(_ENTRIES))
    lists = {}
    for name, (is_valid, told) in _ENTRIES.items():
        given = table.get(name, [])
        if isinstance(given, list) and all(isinstance(one, str) and is_valid(one) for one in given):
            lists[name] = tuple(given)
        else:
            file.report(("archives", name), f"should be {told}")
    return AttributeRules(**lists)
