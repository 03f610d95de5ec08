"""What requests may have done with archived objects, and what is done with each."""

from datetime import UTC, datetime

import pytest

from archiver.core.after import AfterOrder, AfterRules, Kept, MoveRule, Step, Steps, order_after
from archiver.core.archive_rules import ArchiveRules
from archiver.core.dialects.native import parse_request
from archiver.core.draft import draft_archive
from archiver.core.locations import AllowList, Location
from archiver.core.operator_policy import OperatorPolicy, PolicyError
from archiver.core.receipt_parser import ReceiptMember
from archiver.core.request_hash import request_hash
from archiver.errors import Rejected

POLICY = """
[after]
delete = ["partner/tmp/", "scratch"]
move = [{from = "partner/src/", to = "partner/done/"}, {from = "photos", to = "old-photos/2026/"}]
flags = ["partner/done/"]
"""
RULES = OperatorPolicy.parse(POLICY.encode()).after
ARCHIVES = ArchiveRules("partner", "archives", AllowList("archives"), after=RULES)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def order(fields: str, files: str = '[{"source": "src/a.txt"}]', rules: AfterRules | None = RULES) -> AfterOrder | None:
    request = parse_request(f'{{"files": {files}, {fields}}}')
    return order_after(request, draft_archive(request, ARCHIVES, NOW), rules)


def member(key: str, bucket: str = "partner", etag: str | None = '"e"') -> ReceiptMember:
    return ReceiptMember(key, f"s3://{bucket}/{key}", None, etag, 3, 7, 0, NOW)


MOVE = '"after": {"action": "move", "destination": "s3://partner/done/"}'
DELETE = '"after": {"action": "delete"}'
RENAME = (
    '"after": {"action": "rename", "destination": "s3://partner/done/", "pattern": "^(.*)[.]txt$", "sub": "\\\\1.old"}'
)


def test_the_policy_file_lists_what_may_be_done() -> None:
    assert RULES.delete == AllowList("", {"partner": ("tmp/",), "scratch": ("",)})
    assert RULES.allows_any
    nothing = OperatorPolicy.parse(b"[after]\ndelete = []\n").after
    assert nothing == OperatorPolicy.parse(b"").after == AfterRules()
    assert not nothing.allows_any


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('delete = "tmp/"', 'line 2: [after] delete is not a list of texts: write delete = ["bucket/prefix/"]'),
        ('delete = ["tmp/x"]', "line 2: [after] delete can't be used: `tmp/x` lacks the trailing `/`"),
        ('move = ["a"]', "line 2: [after] move should be a list: write move = [{from = "),
        ('move = [{from = "photos"}]', "line 2: [after] move should be a list: write move = [{from = "),
        (
            'move = [{from = "photos", to = "old/y"}]',
            "line 2: [after] move can't be used: `old/y` lacks the trailing `/`",
        ),
        ('move = [{from = 1, to = "photos"}]', "line 2: [after] move should be a list: write move = [{from = "),
        ("flag = 1", "line 2: [after] flag is unknown; did you mean flags?"),
    ],
)
def test_what_the_policy_file_can_not_say_is_told(line: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        OperatorPolicy.parse(f"[after]\n{line}\n".encode())
    assert caught.value.problems[0].startswith(told)


@pytest.mark.parametrize(
    "fields", ['"metadata": {}', '"after": null', '"after": {"action": "none"}', '"after": {"action": ""}']
)
def test_nothing_is_done_unless_it_is_asked_for(fields: str) -> None:
    assert order(fields) is None


def test_what_is_asked_for_and_allowed_becomes_an_order() -> None:
    assert order(
        DELETE, '[{"prefix": "tmp/x"}, {"source": "s3://scratch/b"}, {"inline": "a", "name": "b"}]'
    ) == AfterOrder(RULES, "delete")
    assert order(f'{MOVE}, "flag": "s3://partner/done/x.fin"') == AfterOrder(
        RULES, "move", Location("partner", "done/"), None, Location("partner", "done/x.fin")
    )
    assert order('"flag": "s3://partner/done/x.fin"') == AfterOrder(RULES, None, flag=Location("partner", "done/x.fin"))


@pytest.mark.parametrize(
    ("fields", "files", "told"),
    [
        (DELETE, '[{"source": "src/a"}]', "$.after.action delete is not allowed for src/a: delete of [after] in"),
        (DELETE, '[{"prefix": "tm"}]', "$.after.action delete is not allowed for tm: delete"),
        (MOVE, '[{"source": "src/a"}, {"source": "b"}]', "$.after.action move is not allowed for b: move of [after]"),
        (MOVE, '[{"source": "s3://photos/a"}]', "$.after.action move is not allowed for s3://photos/a: move"),
        (
            MOVE.replace("done/", "other/"),
            '[{"source": "src/a"}]',
            "$.after.destination s3://partner/other/ is no target",
        ),
        ('"flag": "s3://partner/x"', '[{"source": "src/a"}]', "$.flag s3://partner/x is outside flags of [after]"),
    ],
)
def test_what_the_operator_does_not_list_rejects_the_request(fields: str, files: str, told: str) -> None:
    for rules in (RULES, None):
        with pytest.raises(Rejected) as caught:
            order(fields, files, rules)
        assert caught.value.code == "option_not_allowed"
    with pytest.raises(Rejected) as caught:
        order(fields, files)
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (MOVE.replace("done/", "done"), r"\$\.after\.destination should end in /"),
        (MOVE.replace("s3://partner/", ""), r"\$\.after\.destination should be an S3 URI"),
        (MOVE.replace("s3://partner/", "s3://a b/"), r"\$\.after\.destination has an invalid bucket name"),
        ('"flag": "done/x"', r"\$\.flag should be an S3 URI"),
        ('"flag": "s3://partner/done/"', r"\$\.flag ends in /"),
        ('"flag": "s3://partner/"', r"\$\.flag has no key"),
        (RENAME.replace("(", "((", 1), r"\$\.after\.pattern is not an expression of RE2"),
        ('"after": {"action": "move"}', r"\$\.after needs destination for the action move"),
        ('"after": {"action": "delete", "sub": "x"}', r"\$\.after has sub, which the action delete does not take"),
        ('"after": {"action": "rename", "destination": "s3://a/"}', r"\$\.after needs pattern and sub"),
        ('"after": {"action": "purge"}', r"\$\.after\.action "),
        ('"after": {"action": "delete", "force": true}', r"\$\.after\.force is unknown"),
    ],
)
def test_what_can_not_be_understood_is_invalid(fields: str, told: str) -> None:
    with pytest.raises(Rejected, match=f"invalid_request: .*{told}"):
        order(fields)


def test_what_is_asked_for_is_part_of_the_request() -> None:
    def of(fields: str) -> str:
        return request_hash(parse_request(f'{{"files": [{{"source": "a"}}], {fields}}}'))

    assert of('"metadata": {}') == of('"after": {"action": "none"}') == of('"after": null')
    assert (
        len({of(fields) for fields in ('"metadata": {}', DELETE, MOVE, RENAME, '"flag": "s3://partner/done/x"')}) == 5
    )


def steps(fields: str, *members: ReceiptMember) -> list[Step | Kept | None]:
    ordered = order(fields, '[{"source": "tmp/x"}]' if "delete" in fields else '[{"source": "src/x"}]')
    assert ordered is not None
    chosen = Steps(ordered)
    for one in members:
        chosen.note(one)
    return [chosen.step(one) for one in members]


def targets(found: list[Step | Kept | None]) -> list[str | None]:
    return [str(one.target) if isinstance(one, Step) else one.code if one else None for one in found]


def test_each_object_is_touched_once_at_its_version() -> None:
    first, again, own = steps(DELETE, member("tmp/a"), member("tmp/a"), member("tmp/b", etag=None))
    assert isinstance(first, Step)
    assert (first.original.location, first.original.etag, first.original.size, first.original.crc32, first.target) == (
        Location("partner", "tmp/a"),
        '"e"',
        3,
        7,
        None,
    )
    assert again is own is None


def test_what_a_manifest_or_a_changed_policy_brings_in_is_kept() -> None:
    assert steps(DELETE, member("src/a")) == [Kept("s3://partner/src/a", "option_not_allowed")]
    assert steps(MOVE, member("tmp/a")) == [Kept("s3://partner/tmp/a", "option_not_allowed")]


def test_a_move_keeps_the_file_name_and_no_two_objects_have_one_target() -> None:
    found = steps(MOVE, member("src/a.txt"), member("src/b/a.txt"), member("src/c/"), member("src/d"))
    assert targets(found) == ["s3://partner/done/a.txt", "name_conflict", "not_copied", "s3://partner/done/d"]


def test_no_object_is_moved_to_itself_or_to_where_another_archived_one_is() -> None:
    rules = AfterRules(move=(MoveRule(AllowList("", {"partner": ("",)}), AllowList("", {"partner": ("",)})),))
    chosen = Steps(AfterOrder(rules, "move", Location("partner", "src/")))
    members = [member("src/a"), member("x/b"), member("src/b")]
    for one in members:
        chosen.note(one)
    assert targets([chosen.step(one) for one in members]) == ["name_conflict"] * 3


def test_a_rename_applies_to_the_file_name_and_stays_where_it_may() -> None:
    assert targets(steps(RENAME, member("src/x/a.txt"), member("src/b"))) == [
        "s3://partner/done/a.old",
        "s3://partner/done/b",
    ]
    empty = RENAME.replace("\\\\1.old", "")
    assert targets(steps(empty, member("src/a.txt"))) == ["not_copied"]
    many = '"after": {"action": "rename", "destination": "s3://partner/done/", "pattern": "a", "sub": "b"}'
    assert targets(steps(many, member("src/" + "a" * 65), member("src/" + "c" * 1018))) == [
        "not_copied",
        "s3://partner/done/" + "c" * 1018,
    ]
    long = many.replace('"b"', f'"{"x" * 200}"')
    assert targets(steps(long, member("src/aaaaaa"))) == ["not_copied"]
