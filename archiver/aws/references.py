"""Settings by reference: reads the parameters of Systems Manager and the secrets of Secrets Manager."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.session import AioSession

from archiver.aws.error_mapping import DENIED, ResourceNotFound, error_map, map_errors
from archiver.aws.session import Session, client_config, credential_errors, new_session
from archiver.core.references import (
    Reference,
    ReferencedText,
    ReferenceProblem,
    calls_for,
    secrets_of,
    select_value,
)
from archiver.errors import ArchiverError, ConfigurationError, TransientError

TIMEOUT = 30.0  # seconds for all calls together, with their retries
MAX_CONCURRENT_CALLS = 5

_ERRORS = error_map(ResourceNotFound, {"ParameterNotFound", "ResourceNotFoundException"}) | error_map(
    ConfigurationError, DENIED
)

Found = dict[tuple[str, str], str | ArchiverError]
"""The value of each parameter or secret, by service and name; or why there is none."""


async def read_references(references: Mapping[str, Reference]) -> tuple[dict[str, ReferencedText], list[str]]:
    """
    Return the values of *references*, by variable, and a line for each variable that has none. The values are read with
    the credentials of the environment; nothing of them is logged.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await _read_all(list(references.values()))
    except TimeoutError:
        return {}, [f"{variable}: {one.name} can't be read: no answer" for variable, one in references.items()]
    except ArchiverError as error:  # no region, no credentials
        return {}, [f"{variable}: {one.name} can't be read: {error}" for variable, one in references.items()]
    values, problems = dict[str, ReferencedText](), list[str]()
    for variable, reference in references.items():
        value = found[reference.service, reference.name]
        if isinstance(value, ArchiverError):
            problems.append(f"{variable}: {_explain(reference, value)}")
            continue
        try:
            values[variable] = select_value(reference, value)
        except ReferenceProblem as problem:
            problems.append(f"{variable}: {problem}")
    return values, problems


def _explain(reference: Reference, error: ArchiverError) -> str:
    kind = "parameter" if reference.service == "ssm" else "secret"
    if isinstance(error, ResourceNotFound):
        return f"there is no {kind} {reference.name}: check its name and AWS_REGION"
    return f"the {kind} {reference.name} can't be read: {error}"


async def _read_all(references: Sequence[Reference]) -> Found:
    found: Found = {}
    session = new_session(AioSession())
    with credential_errors():
        await session.get_credentials()
    calls: list[Awaitable[None]] = []
    async with AsyncExitStack() as stack:
        if parameters := calls_for(references):
            ssm = await _open(stack, session, "ssm")
            calls += [_read_parameters(ssm, names, found) for names in parameters]
        if secrets := secrets_of(references):
            manager = await _open(stack, session, "secretsmanager")
            calls += [_read_secret(manager, name, found) for name in secrets]
        await asyncio.gather(*calls)
    return found


async def _open(stack: AsyncExitStack, session: Session, service: str) -> Any:
    with credential_errors():
        opening: Any = session.client(service, config=client_config(10, attempts=3, pool=MAX_CONCURRENT_CALLS))
        return await stack.enter_async_context(opening)


async def _read_parameters(ssm: Any, names: Sequence[str], found: Found) -> None:
    """Read up to ten parameters. One that is not allowed refuses the call for all of them."""
    try:
        with map_errors("GetParameters", _ERRORS, ConfigurationError):
            response = await ssm.get_parameters(Names=list(names), WithDecryption=True)
    except ArchiverError as error:
        found |= {("ssm", name): error for name in names}
        return
    found |= {("ssm", name): ResourceNotFound(name) for name in names}
    for one in response["Parameters"]:
        selectors = (one.get("Selector") or "", f":{one['Version']}")
        for told in (one["Name"], one.get("ARN")):
            found |= {("ssm", name): one["Value"] for name in names if name in [f"{told}{s}" for s in selectors]}


async def _read_secret(manager: Any, name: str, found: Found) -> None:
    try:
        with map_errors("GetSecretValue", _ERRORS, ConfigurationError):
            response = await manager.get_secret_value(SecretId=name)
        text = response.get("SecretString")
        found["secretsmanager", name] = TransientError("it is binary, not a text") if text is None else text
    except ArchiverError as error:
        found["secretsmanager", name] = error
