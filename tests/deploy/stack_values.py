"""What is read of a resolved template, by several tests."""

from typing import Any

import pytest
from pydantic import AliasChoices

from .template import EVERYTHING, REQUIRED, SIGNED, BothStacks

GIVEN = {"required": REQUIRED, "signed": REQUIRED | SIGNED, "everything": EVERYTHING}
DAY = 24 * 3600

each = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


def container(given: dict[str, str]) -> dict[str, Any]:
    (made,) = BothStacks(given).resources["TaskDefinition"]["ContainerDefinitions"]
    return dict(made)


def environment(given: dict[str, str]) -> dict[str, str]:
    told = container(given)["Environment"]
    assert len({one["Name"] for one in told}) == len(told)
    return {one["Name"]: str(one["Value"]) for one in told}


def secrets(given: dict[str, str]) -> dict[str, str]:
    return {one["Name"]: one["ValueFrom"] for one in container(given)["Secrets"]}


def names_of(alias: object) -> list[str]:
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {one["Sid"]: one for one in policy["Statement"]}
    assert len(found) == len(policy["Statement"])
    return found
