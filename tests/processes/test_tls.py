"""The worker and what it is asked for most, by TLS as everywhere, and by plain http as beside an emulator."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, authority, serving
from emulator import Aws, Emulator
from faults.stage import MIB, Stage
from faults.worker import until

from .generated_s3 import BigObjects, content
from .worker_env import Scene
from .worker_process import Worker

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


def test_queue_that_is_not_trusted_is_told_with_what_to_set(emulated: Aws, tmp_path: Path) -> None:
    _, theirs = authority(tmp_path, "theirs")
    with Scene(emulated) as scene:
        worker = Worker("worker", scene.settings(AWS_CA_BUNDLE=theirs))
        scene.workers.append(worker)
        paused = worker.wait_for("worker.paused", 80)
    assert "127.0.0.1: certificate refused: " in paused["reason"]
    assert "AWS_CA_BUNDLE" in paused["reason"]


def test_store_whose_certificate_expired_uses_up_no_receives(emulated: Aws, tmp_path: Path) -> None:
    """Nothing about the message is wrong: it is kept, and the reason says what to do."""
    issuer, bundle = authority(tmp_path, "careless")
    store = Emulator(serving(tmp_path, "127.0.0.1", issuer, valid=(-2 * DAY, -DAY)))
    trusted = tmp_path / "both.pem"
    trusted.write_text(Path(bundle).read_text() + Path(emulated.bundle).read_text())
    with Scene(emulated) as scene:
        scene.put("a.jpg")
        scene.ask("a.jpg")
        ours = {"AWS_CA_BUNDLE": str(trusted), "AWS_ENDPOINT_URL_S3": store.endpoint, "SHUTDOWN_GRACE_SECONDS": "1"}
        worker = Worker("worker", scene.settings(**ours))
        scene.workers.append(worker)
        paused = worker.wait_for("worker.paused", 80)
        worker.terminate()
        assert worker.exit_code() == 0
        assert not any(worker.events("job.rejected"))
        assert scene.waiting(scene.source) == 1
    store.stop()
    assert "certificate has expired; have it renewed" in paused["reason"]


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
