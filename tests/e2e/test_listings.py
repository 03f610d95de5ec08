"""Listings of LocalStack and SeaweedFS are what the contract says: in order, in pages of 1,000, of any key."""

import uuid
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from archiver.aws import s3_list
from archiver.aws.clients import ClientLimits, open_clients
from archiver.aws.endpoint import Endpoint
from archiver.aws.s3_list import PAGE_SIZE
from archiver.aws.s3_read import S3Reader
from archiver.aws.s3_transport import TransportConfig
from archiver.core.locations import Location
from archiver.core.objects import Listed
from archiver.core.select import Prefix
from archiver.errors import SourceUnavailable

from .worker_env import WorkerEnv, make_client

ODD = [
    "odd/ü日本",
    "odd/a b",
    "odd/a+b%20c",
    "odd/<&>\"']]>",
    "odd/deep/er",
    "odd/deep.er",
    "odd/Z",
    "odd/\U0001f600",
]


@dataclass(frozen=True)
class Store:
    """A bucket of a server that others wrote, and a reader."""

    s3: Any
    bucket: str
    reader: S3Reader

    def put(self, keys: Iterable[str], body: bytes = b"x") -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda key: self.s3.put_object(Bucket=self.bucket, Key=key, Body=body), keys))

    def prefix(self, key: str, *, recursive: bool = True) -> Prefix:
        return Prefix(Location(self.bucket, key), recursive)

    async def pages(self, prefix: Prefix) -> list[list[Listed]]:
        page = await self.reader.list(prefix)
        found = [list(page.objects)]
        while page.next:
            page = await self.reader.list(prefix, page.next)
            found.append(list(page.objects))
        return found

    async def keys(self, key: str, *, recursive: bool = True) -> list[str]:
        return [one.key for page in await self.pages(self.prefix(key, recursive=recursive)) for one in page]


@pytest.fixture(params=["localstack", "seaweedfs"])
async def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    environ: dict[str, str] = request.getfixturevalue("local")
    endpoint = environ["AWS_ENDPOINT_URL"]
    if request.param == "seaweedfs":
        endpoint = request.getfixturevalue("weed")
    for name, value in {**environ, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    s3, bucket = make_client("s3", {**environ, "AWS_ENDPOINT_URL": endpoint}), f"t{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket)
    async with open_clients(ClientLimits()) as clients:
        config = TransportConfig(ca_bundle=environ["AWS_CA_BUNDLE"])
        reader = S3Reader(clients.session, Endpoint(endpoint, "us-east-1"), config)
        yield Store(s3, bucket, reader)
        await reader.close()


async def test_a_listing_comes_in_pages_of_a_thousand_in_order_with_each_object_once(store: Store) -> None:
    keys = [f"many/{number:05}" for number in range(2 * PAGE_SIZE + 1)]
    store.put(reversed(keys))

    pages = await store.pages(store.prefix("many/"))

    assert [len(page) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 1]
    assert [one.key for page in pages for one in page] == keys
    assert await store.keys("many/0200") == ["many/02000"]


async def test_all_keys_are_literal_and_can_be_read_as_listed(store: Store) -> None:
    for key in ODD:
        store.put([key], key.encode())

    found = [one for page in await store.pages(store.prefix("odd/")) for one in page]

    assert sorted(one.key for one in found) == sorted(ODD)
    for one in found:
        into = bytearray(one.size)
        await store.reader.read(Location(store.bucket, one.key), one.etag, 0, [memoryview(into)])
        assert into.decode() == one.key
        assert not one.archived


async def test_a_listing_tells_what_head_tells(store: Store) -> None:
    store.put(["a/1"], b"content")
    ((one,),) = await store.pages(store.prefix("a/"))
    head = await store.reader.head(Location(store.bucket, "a/1"))
    assert (one.size, one.etag) == (head.size, head.etag)
    assert abs((one.modified - head.modified).total_seconds()) <= 1
    assert await store.keys("nothing/") == []


async def test_a_listing_that_is_not_recursive_leaves_out_what_lies_deeper(store: Store) -> None:
    store.put(["p/1", "p/2/3", "poly/4", "q"])
    assert await store.keys("p/", recursive=False) == ["p/1"]
    assert await store.keys("", recursive=False) == ["q"]
    assert await store.keys("p") == ["p/1", "p/2/3", "poly/4"]


async def test_objects_that_come_and_go_during_a_listing_leave_all_others_in_it_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_list, "PAGE_SIZE", 5)
    keys = [f"k/{number:05}" for number in range(8)]
    store.put(keys)
    first = await store.reader.list(store.prefix("k/"))
    store.put(["k/00000a", "k/9"])
    store.s3.delete_object(Bucket=store.bucket, Key=keys[-1])

    second = await store.reader.list(store.prefix("k/"), first.next)

    assert [one.key for one in (*first.objects, *second.objects)] == [*keys[:-1], "k/9"]
    assert second.next == ""


async def test_a_bucket_that_does_not_exist_can_not_be_listed(store: Store) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        await store.reader.list(Prefix(Location("no-such-bucket-of-ours", "a/")))
    assert caught.value.code == "source_missing"


@pytest.mark.parametrize("server", ["localstack", "seaweedfs"])
def test_a_worker_archives_what_a_prefix_selects_there(
    local: dict[str, str], server: str, request: pytest.FixtureRequest
) -> None:
    environ = {**local, "ARCHIVE_BASE_URL": ""}
    if server == "seaweedfs":
        environ["AWS_ENDPOINT_URL_S3"] = request.getfixturevalue("weed")
    with WorkerEnv(environ) as worker_env:
        for key in ("src/a b.txt", "src/deep/ü.txt", "src/c.jpg", "other/d.txt"):
            worker_env.put(key, key.encode())
        worker_env.put("list.jsonl", b'{"prefix": "src/", "regex": ".*\\\\.txt", "destination": "texts"}')
        worker_env.worker()
        worker_env.send_request(job_id="prefix", manifest="list.jsonl", files=None)

        archive = worker_env.answer()["archive"]

        assert worker_env.archive(archive["key"]) == {
            "texts/a b.txt": b"src/a b.txt",
            "texts/deep/ü.txt": "src/deep/ü.txt".encode(),
        }
        receipt = worker_env.archiver("receipt", f"s3://{worker_env.archives}/{archive['key']}")
        assert (receipt.returncode, receipt.stdout.count("texts/")) == (0, 2)
