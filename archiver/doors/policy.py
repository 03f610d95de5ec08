"""POLICY_FILE: what requests may ask for beyond reading."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from archiver.settings import Environment, SettingsError

if TYPE_CHECKING:
    from archiver.core.operator_policy import OperatorPolicy


def load_policy(settings: Environment) -> "OperatorPolicy | None":
    """Read POLICY_FILE, and what it refers to; None if it is not set. Raises SettingsError with all its problems."""
    policy = read_policy(settings)
    return policy and _with_external_ids(policy)


def read_policy(settings: Environment) -> "OperatorPolicy | None":
    """Read POLICY_FILE alone; None if it is not set. Raises SettingsError with all its problems."""
    if settings.policy_file is None:
        return None
    from archiver.core.operator_policy import MAX_POLICY_BYTES, OperatorPolicy, PolicyError  # noqa: PLC0415 - late

    file = Path(settings.policy_file)
    try:
        if not file.is_file():
            raise SettingsError([f"POLICY_FILE: there is no file {file}"])
        with file.open("rb") as opened:
            return OperatorPolicy.parse(opened.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise SettingsError([f"POLICY_FILE: {file} can't be read: {error.strerror}"]) from None
    except PolicyError as error:
        raise SettingsError([f"POLICY_FILE: {file}: {problem}" for problem in error.problems]) from None


def _with_external_ids(policy: "OperatorPolicy") -> "OperatorPolicy":
    """Return *policy* with the external ids that its roles refer to. Raises SettingsError."""
    if not policy.references:
        return policy
    given = {f"POLICY_FILE: external_id of {arn}": role.external_id or "" for arn, role in policy.roles.items()}
    from archiver.doors.references import resolve_texts  # noqa: PLC0415 - late

    found = zip(policy.roles.items(), resolve_texts(given).values(), strict=True)
    return replace(policy, roles={arn: replace(role, external_id=text or None) for (arn, role), text in found})
