"""What an archive has beside its content, and who may say so."""

import pytest

from archiver.core.attributes import AttributeRules, Attributes, attributes_of, parse_tags
from archiver.core.dialects.native import parse_request
from archiver.core.messages import Request
from archiver.core.operator_policy import OperatorPolicy, PolicyError
from archiver.core.request_hash import request_hash
from archiver.errors import Rejected

BASE = Attributes("private", "STANDARD_IA", {"team": "web"})
RULES = AttributeRules(("bucket-owner-full-control",), ("project", "team"), ("1d", "7d"))


def request(fields: str) -> Request:
    return parse_request(f'{{"files": [{{"source": "a"}}], {fields}}}')


def test_a_request_that_says_nothing_has_the_attributes_of_the_settings() -> None:
    assert attributes_of(request('"acl": null'), BASE, AttributeRules()) == BASE


def test_what_a_request_says_is_added_and_replaces_the_settings() -> None:
    given = request('"acl": "bucket-owner-full-control", "tags": {"team": "x", "project": "é/1"}, "expires_in": "7d"')

    found = attributes_of(given, BASE, RULES)

    tags = {"team": "x", "project": "é/1", "archiver-expires-in": "7d"}
    assert found == Attributes("bucket-owner-full-control", "STANDARD_IA", tags)
    assert dict(found.headers) == {
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging": "team=x&project=%C3%A9%2F1&archiver-expires-in=7d",
    }
    assert found.of_receipt == Attributes("bucket-owner-full-control", None, tags)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ('"acl": "public-read"', "$.acl 'public-read' is not allowed; the worker's POLICY_FILE lists bucket-owner"),
        ('"tags": {"cost": "1"}', "$.tags 'cost' is not allowed; the worker's POLICY_FILE lists project, team"),
        ('"expires_in": "30d"', "$.expires_in '30d' is not allowed; the worker's POLICY_FILE lists 1d, 7d"),
    ],
)
def test_only_what_the_operator_lists_may_be_said(fields: str, told: str) -> None:
    with pytest.raises(Rejected) as caught:
        attributes_of(request(fields), BASE, RULES)
    assert (caught.value.code, caught.value.message[: len(told)]) == ("option_not_allowed", told)

    with pytest.raises(Rejected, match=r"\[archives\] of the worker's POLICY_FILE lists no "):
        attributes_of(request(fields), BASE, AttributeRules())


def test_more_tags_than_an_object_can_have_are_refused() -> None:
    base, rules = Attributes(tags={str(n): "" for n in range(10)}), AttributeRules(tags=("project", "0"))
    assert len(attributes_of(request('"tags": {"0": "x"}'), base, rules).tags) == 10
    with pytest.raises(Rejected, match=r"invalid_request: \$.tags makes 11 tags"):
        attributes_of(request('"tags": {"project": "x"}'), base, rules)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ('"acl": "public-read-write"', r"\$\.acl "),
        ('"tags": {"aws:x": ""}', r"\$\.tags has the tag 'aws:x': a key should have"),
        ('"tags": {"x": "a;b"}', r"\$\.tags has the tag 'x': a value should have"),
        (
            '"tags": {"archiver-expires-in": "9d"}',
            r"\$\.tags has the tag archiver-expires-in: write expires_in instead",
        ),
        (
            f'"tags": {{{", ".join(f"{chr(34)}{n}{chr(34)}: {chr(34)}{chr(34)}" for n in range(11))}}}',
            "at most 10 tags",
        ),
        ('"expires_in": "0d"', r"\$\.expires_in "),
        ('"expires_in": 7', r"\$\.expires_in should be text"),
    ],
)
def test_what_no_bucket_would_take_is_invalid(fields: str, told: str) -> None:
    with pytest.raises(Rejected, match=f"invalid_request: .*{told}"):
        request(fields)


def test_attributes_are_part_of_the_request_and_their_absence_is_not() -> None:
    plain = request('"metadata": {}')
    assert request_hash(plain) == request_hash(request('"acl": null, "tags": {}'))
    others = [request('"acl": "private"'), request('"tags": {"a": "1"}'), request('"expires_in": "1d"')]
    assert len({request_hash(one) for one in (plain, *others)}) == 4


def test_tags_of_the_setting_are_pairs() -> None:
    assert parse_tags("team=web, cost centre=a=b ,x=") == {"team": "web", "cost centre": "a=b", "x": ""}


@pytest.mark.parametrize(
    "text", ["team", "a=1,a=2", "a=1,", "archiver-expires-in=1d", ",".join(f"{n}=" for n in range(11))]
)
def test_other_tags_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_tags(text)


def test_the_policy_file_lists_what_may_be_said() -> None:
    text = b'[archives]\nacl = ["bucket-owner-full-control"]\ntags = ["project", "team"]\nexpires_in = ["1d", "7d"]\n'
    assert OperatorPolicy.parse(text).archives == RULES
    assert OperatorPolicy.parse(b"[archives]\n").archives == OperatorPolicy.parse(b"").archives == AttributeRules()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('acl = ["public"]', "line 2: [archives] acl should be a list of ACLs: private,"),
        ('tags = "project"', "line 2: [archives] tags should be a list of keys of tags"),
        ('tags = ["archiver-expires-in"]', "line 2: [archives] tags should be a list of keys of tags"),
        ("expires_in = [7]", "line 2: [archives] expires_in should be a list of days"),
        ("owner = 1", "line 2: [archives] owner is unknown; known here: acl, tags, expires_in"),
    ],
)
def test_what_the_policy_file_can_not_say_is_told_with_its_line(line: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        OperatorPolicy.parse(f"[archives]\n{line}\n".encode())
    (problem,) = caught.value.problems
    assert problem.startswith(told)
