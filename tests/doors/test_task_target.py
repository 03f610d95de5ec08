"""The settings of one-off tasks become a target, or a list of what is missing."""

import pytest

from archiver.core.tasks import TaskTarget
from archiver.doors.tasks import task_target
from archiver.settings import SettingsError, load_environment

FULL = {
    "ARCHIVER_ECS_CLUSTER": "tools",
    "ARCHIVER_ECS_TASK": "archiver:1",
    "ARCHIVER_ECS_CONTAINER": "archiver",
    "ARCHIVER_ECS_SUBNETS": "subnet-1, subnet-2",
    "ARCHIVER_ECS_SECURITY_GROUPS": "sg-1,sg-2",
    "ARCHIVER_ECS_PUBLIC_IP": "yes",
}


def test_lists_are_separated_by_commas() -> None:
    target = TaskTarget("tools", "archiver:1", "archiver", ["subnet-1", "subnet-2"], ["sg-1", "sg-2"], public_ip=True)

    assert task_target(load_environment(FULL)) == target


def test_security_groups_and_a_public_ip_are_optional_and_what_else_is_missing_is_told_at_once() -> None:
    least = {name: text for name, text in FULL.items() if not name.endswith(("GROUPS", "IP"))}
    target = task_target(load_environment(least))
    assert (target.security_groups, target.public_ip) == ([], False)

    with pytest.raises(SettingsError) as caught:
        task_target(load_environment({}))
    assert [line.partition(":")[0] for line in caught.value.problems] == list(least)
