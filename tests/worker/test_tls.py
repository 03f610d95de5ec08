"""The worker and what it is asked for most, by TLS as everywhere, and by plain http as beside an emulator."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import pytest
from emulator import Aws
from faults.stage import MIB, Stage
from faults.worker import until

from .objects import BigObjects, content
from .scene import Scene

JOBS: dict[str, tuple[list[int], dict[str, Any]]] = {
    "four of 12 MiB": ([12 * MIB] * 4, {}),
    "600 of 20 kB": ([20_000] * 600, {}),
    "compressed": ([12 * MIB, 100, 7 * MIB], {"compression": "deflate"}),
}


@pytest.mark.parametrize(("sizes", "options"), JOBS.values(), ids=JOBS.keys())
def test_archive_is_made_whole_by_tls(set_stage: Callable[..., Stage], sizes: list[int], options: Any) -> None:
    _is_made_whole(set_stage(), sizes, options)


def test_archive_of_many_parts_is_made_whole_by_plain_http(set_stage: Callable[..., Stage]) -> None:
    stage = set_stage(tls=False)
    assert stage.proxy.listen("somebody").startswith("http://")
    _is_made_whole(stage, [12 * MIB, 20_000], {})


def _is_made_whole(stage: Stage, sizes: list[int], options: Mapping[str, Any]) -> None:
    stage.worker()
    job = stage.ask(stage.photos(*sizes), **options)
    stage.wait_deleted(seconds=120)
    stage.finish()
    with zipfile.ZipFile(BytesIO(stage.archive(job))) as archive:
        assert [member.file_size for member in archive.infolist()] == sizes
        assert archive.testzip() is None


def test_queues_and_store_may_speak_plain_http(emulated: Aws, plain: str) -> None:
    with Scene(emulated) as scene:
        scene.put("a.jpg")
        scene.worker(AWS_ENDPOINT_URL=plain)
        scene.ask("a.jpg")
        key = scene.answer()["archive"]["key"]
        assert scene.archive(key) == {"a.jpg": b"a photo"}


@pytest.mark.slow
def test_object_of_two_gibibytes_is_archived_by_tls(emulated: Aws) -> None:
    size = 2048 * MIB
    with BigObjects({"film.mov": size}) as s3, Scene(emulated) as scene:
        worker = scene.worker(AWS_ENDPOINT_URL_S3=s3.endpoint)
        scene.ask("film.mov")
        until(lambda: any(worker.events("job.done")) or not worker.running, "an archive of 2 GiB", 400)
        key = scene.answer()["archive"]["key"]
        with s3.archive(key) as whole, zipfile.ZipFile(whole) as archive, archive.open("film.mov") as member:
            assert all(member.read(len(piece)) == piece for piece in content("film.mov", size))
            assert member.read() == b""
