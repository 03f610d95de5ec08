"""Settings by reference, resolved once: before they are validated."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from archiver.core.references import Reference, find_references
from archiver.settings import SettingsError, variables


def resolve_references(environ: Mapping[str, str], needed: Sequence[str] = ()) -> dict[str, str]:
    """
    Return *environ* with the values of the settings that are references: of the variables *needed*, or of all. Blocks;
    also works in a running event loop.

    Raises SettingsError with a line for each reference that can't be used.
    """
    return {**environ, **_resolve(environ, needed or variables())}


def resolve_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return *texts*, by what they are called in messages, with the values of those that are references, as above."""
    return {**texts, **_resolve(texts, list(texts))}


def references_of(environ: Mapping[str, str]) -> list[Reference]:
    """Return the references in *environ*, for the permissions that they need. Raises SettingsError."""
    references, problems = find_references(environ, variables())
    if problems:
        raise SettingsError(problems)
    return list(references.values())


def _resolve(texts: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    references, problems = find_references(texts, names)
    resolved: Mapping[str, str] = {}
    if references and not problems:
        from archiver.aws.references import read_references  # noqa: PLC0415 - nothing of it without a reference

        with ThreadPoolExecutor(1, "references") as thread:  # its own event loop: commands read settings in theirs
            resolved, problems = thread.submit(lambda: asyncio.run(read_references(references))).result()
    if problems:
        raise SettingsError(problems)
    return resolved
