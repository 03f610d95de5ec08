"""Check announced archives: they must hold the planned versions of their objects, under their paths, in order."""

import zlib
from collections.abc import Iterator

from .archive import BadArchiveError, read_archive
from .history import Exchange, ObservedArchive
from .observations import Job, Observations, Source, answer_body, executed


def differences(observations: Observations, job: Job, answer: Exchange) -> Iterator[str]:
    """Yield the differences between *answer*, the archive that it announces, and *job*'s request."""
    announced = answer_body(answer).get("archive") or {}
    if (announced.get("bucket"), announced.get("key")) != (observations.resources.archives, job.key):
        yield f"the answer names {announced.get('bucket')}/{announced.get('key')}, not {job.key}"
        return
    seen = [s for s in observations.history.observed_archives if s.key == job.key and s.at <= answer.began]
    if not seen:
        yield "the announced archive did not exist"
        return
    body = seen[-1].body
    if announced.get("size") != len(body):
        yield f"the answer says {announced.get('size')} bytes, the archive has {len(body)}"
    if announced.get("crc32") not in (None, f"{zlib.crc32(body):08x}"):
        yield f"the answer says CRC-32 {announced.get('crc32')}, the archive has {zlib.crc32(body):08x}"
    yield from _member_differences(observations, job, seen[-1], announced.get("files"))


def _member_differences(observations: Observations, job: Job, seen: ObservedArchive, files: object) -> Iterator[str]:
    try:
        actual = read_archive(seen.body)
    except BadArchiveError as error:
        yield str(error)
        return
    expected = job.members or {}
    if list(actual) != list(expected):
        yield f"the archive holds {list(actual)}, not {list(expected)}"
        return
    if files != sum(isinstance(content, Source) for content in expected.values()):
        yield f"the answer says {files} files"
    planned = _planned(observations, seen)
    for path, content in expected.items():
        allowed = [content] if isinstance(content, bytes) else planned.get(content, [])
        if actual[path] not in allowed:
            yield f"{path} does not hold the planned version"


def _planned(observations: Observations, seen: ObservedArchive) -> dict[Source, list[bytes]]:
    """
    Return for each source the versions that the writing worker had seen before it wrote the archive: by HEAD, in a
    listing, or by a GET of the whole object. What it asked for by range or ETag was planned before.
    """
    write = max(executed(observations.writes(seen.key), by=seen.at), key=lambda e: e.committed or 0)
    planned: dict[Source, list[bytes]] = {}
    looks = observations.history.select("HeadObject", "ListObjects", "GetObject", client=write.client)
    for call in executed(looks, by=write.began):
        if "range" in call.facts or "if_match" in call.facts:
            continue
        for key, etag in call.facts.get("listed") or [(call.call.key or "", call.facts.get("etag") or "")]:
            bucket = call.call.bucket or ""
            body = observations.resources.versions.get((bucket, key, etag))
            if body is not None:
                planned.setdefault(Source(bucket, key), []).append(body)
    return planned
