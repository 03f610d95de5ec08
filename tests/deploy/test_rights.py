"""What rights.yaml adds to the role of a worker: what the policy file and the settings need, and nothing by default."""

import re
from typing import Any

import pytest

from archiver.core.after import AfterRules, MoveRule
from archiver.core.locations import AllowList
from archiver.core.policy import WorkerResources, policy_document, worker_statements
from archiver.core.policy_after import after_statements

from .stack_values import statements
from .template import ACCOUNT, REGION, Stack, load_template

ROLE = {"TaskRoleName": "archiver-TaskRole-1ABC"}
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/archiver/key"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:archiver/hook-??????"
RIGHTS = {
    "DeletePrefixes": "photos/tmp/,scans/",
    "MoveFromPrefixes": "photos/src/",
    "MoveToPrefixes": "photos/done/,kept/",
    "MoveToBuckets": "photos,kept",
    "FlagPrefixes": "photos/done/",
    "AttributesBucketName": "my-archives",
    "ArchiveAcls": "yes",
    "ArchiveTags": "yes",
    "ReferredParameterArns": PARAMETER,
    "ReferredSecretArns": SECRET,
}
ALONE = [
    ("DeletePrefixes",),
    ("MoveFromPrefixes", "MoveToPrefixes", "MoveToBuckets"),
    ("FlagPrefixes",),
    ("AttributesBucketName", "ArchiveAcls"),
    ("AttributesBucketName", "ArchiveTags"),
    ("ReferredParameterArns",),
    ("ReferredSecretArns",),
]


def policy(given: dict[str, str]) -> dict[str, Any]:
    return dict(Stack("rights", ROLE | given).resources["Rights"]["PolicyDocument"])


def pairs(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Every action with every resource that it is allowed on."""
    return {
        (action, resource)
        for one in statements(document).values()
        for action in one["Action"]
        for resource in one["Resource"]
    }


def needed(given: dict[str, str]) -> set[tuple[str, str]]:
    """What `archiver iam-policy` prints for these settings, without what it prints for a worker that has none."""
    listed = {name: [part for part in given.get(name, "").split(",") if part] for name in RIGHTS}
    plain = WorkerResources("arn:aws:sqs:eu-west-1:123456789012:in", [], ["photos", "scans"], "my-archives")
    attributes = {"ArchiveAcls": "s3:PutObjectAcl", "ArchiveTags": "s3:PutObjectTagging"}
    worker = WorkerResources(
        plain.source_queue,
        plain.send_to,
        plain.sources,
        plain.destination_bucket,
        attribute_actions=[action for name, action in attributes.items() if given.get(name) == "yes"],
        parameters=listed["ReferredParameterArns"],
        secrets=listed["ReferredSecretArns"],
    )
    after = AfterRules(
        delete=allow(listed["DeletePrefixes"]),
        move=(MoveRule(allow(listed["MoveFromPrefixes"]), allow(listed["MoveToPrefixes"])),),
        flags=allow(listed["FlagPrefixes"]),
    )
    whole = policy_document([*worker_statements(worker), *after_statements(after)])
    return pairs(whole) - pairs(policy_document(worker_statements(plain)))


def allow(places: list[str]) -> AllowList:
    return AllowList.of(places, "my-archives") if places else AllowList("my-archives", {})


@pytest.mark.parametrize("names", [tuple(RIGHTS), *ALONE], ids=lambda names: names[-1])
def test_each_parameter_allows_what_iam_policy_prints_for_it_and_no_more(names: tuple[str, ...]) -> None:
    given = {name: RIGHTS[name] for name in names}

    assert Stack("rights", ROLE | given).broken_rules() == []
    plain = pairs(policy_document(worker_statements(WorkerResources("q", [], ["photos", "scans"], "my-archives"))))
    assert pairs(policy(given)) - plain == needed(given)
    assert all(one["Effect"] == "Allow" for one in policy(given)["Statement"])


def test_without_parameters_nothing_is_allowed_and_the_stack_is_refused() -> None:
    assert policy({})["Statement"] == []
    (sentence,) = Stack("rights", ROLE).broken_rules()
    assert "nothing is allowed" in sentence


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"MoveFromPrefixes": "photos/src/"}, "MoveToBuckets"),
        ({"FlagPrefixes": "photos/", "MoveToPrefixes": "photos/done/"}, "MoveFromPrefixes"),
        ({"FlagPrefixes": "photos/", "ArchiveTags": "yes"}, "AttributesBucketName"),
        ({"AttributesBucketName": "my-archives"}, "ArchiveAcls"),
    ],
)
def test_halves_of_a_right_stop_the_deployment(given: dict[str, str], named: str) -> None:
    (sentence,) = Stack("rights", ROLE | given).broken_rules()

    assert named in sentence


def test_the_policy_is_attached_to_the_one_role() -> None:
    assert Stack("rights", ROLE | RIGHTS).resources["Rights"]["Roles"] == [ROLE["TaskRoleName"]]


def test_values_are_taken_as_the_policy_file_has_them_and_wildcards_are_not() -> None:
    told = load_template("rights")["Parameters"]
    for name, value in (ROLE | RIGHTS).items():
        if "AllowedPattern" in told[name]:
            assert re.fullmatch(told[name]["AllowedPattern"], value), name
    for name, value in [
        ("DeletePrefixes", "photos"),
        ("DeletePrefixes", "photos/*"),
        ("MoveToPrefixes", "photos/done"),
        ("FlagPrefixes", "photos/, scans/"),
        ("MoveToBuckets", "photos/"),
        ("ReferredParameterArns", "/archiver/key"),
        ("TaskRoleName", f"arn:aws:iam::{ACCOUNT}:role/archiver"),
    ]:
        assert not re.fullmatch(told[name]["AllowedPattern"], value), (name, value)
