"""The worker and what it is asked for most, by TLS as everywhere, and by plain http as beside an emulator."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, make_authority, make_server_context
from emulator import EmulatedAws, Emulator
from faults.scenario import MIB, Scenario
from faults.worker_process import wait_until

from .archiver_process import Worker
from .generated_s3 import GeneratedS3, content
from .worker_env import WorkerEnv

JOBS: dict[str, tuple[list[int], dict[str, Any]]] = {
    "four of 12 MiB": ([12 * MIB] * 4, {}),
    "600 of 20 kB": ([20_000] * 600, {}),
    "compressed": ([12 * MIB, 100, 7 * MIB], {"compression": "deflate"}),
}


@pytest.mark.parametrize(
    ("sizes", "options"),
    [pytest.param(*job, id=name, marks=[pytest.mark.slow] if len(job[0]) > 100 else []) for name, job in JOBS.items()],
)
def test_archive_is_made_whole_by_tls(open_scenario: Callable[..., Scenario], sizes: list[int], options: Any) -> None:
    _is_made_whole(open_scenario(), sizes, options)


def test_archive_of_many_parts_is_made_whole_by_plain_http(open_scenario: Callable[..., Scenario]) -> None:
    scenario = open_scenario(tls=False)
    assert scenario.proxy.listen("somebody").startswith("http://")
    _is_made_whole(scenario, [12 * MIB, 20_000], {})


def _is_made_whole(scenario: Scenario, sizes: list[int], options: Mapping[str, Any]) -> None:
    scenario.worker()
    job = scenario.send_request(scenario.put_objects(*sizes), **options)
    scenario.wait_deleted(seconds=120)
    scenario.finish()
    with zipfile.ZipFile(BytesIO(scenario.archive(job))) as archive:
        assert [member.file_size for member in archive.infolist()] == sizes
        assert archive.testzip() is None


def test_queues_and_store_may_speak_plain_http(emulated: EmulatedAws, plain: str) -> None:
    with WorkerEnv(emulated) as worker_env:
        worker_env.put("a.jpg")
        worker_env.worker(AWS_ENDPOINT_URL=plain)
        worker_env.send_request("a.jpg")
        key = worker_env.answer()["archive"]["key"]
        assert worker_env.archive(key) == {"a.jpg": b"a photo"}


def test_queue_that_is_not_trusted_is_told_with_what_to_set(emulated: EmulatedAws, tmp_path: Path) -> None:
    _, theirs = make_authority(tmp_path, "theirs")
    with WorkerEnv(emulated) as worker_env:
        worker = Worker("worker", worker_env.settings(AWS_CA_BUNDLE=theirs))
        worker_env.workers.append(worker)
        paused = worker.wait_for("worker.paused", 80)
    assert "127.0.0.1: certificate refused: " in paused["reason"]
    assert "AWS_CA_BUNDLE" in paused["reason"]


def test_store_whose_certificate_expired_uses_up_no_receives(emulated: EmulatedAws, tmp_path: Path) -> None:
    """Nothing about the message is wrong: it is kept, and the reason says what to do."""
    issuer, bundle = make_authority(tmp_path, "careless")
    store = Emulator(make_server_context(tmp_path, "127.0.0.1", issuer, valid=(-2 * DAY, -DAY)))
    trusted = tmp_path / "both.pem"
    trusted.write_text(Path(bundle).read_text() + Path(emulated.bundle).read_text())
    with WorkerEnv(emulated) as worker_env:
        worker_env.put("a.jpg")
        worker_env.send_request("a.jpg")
        ours = {"AWS_CA_BUNDLE": str(trusted), "AWS_ENDPOINT_URL_S3": store.endpoint, "SHUTDOWN_GRACE_SECONDS": "1"}
        worker = Worker("worker", worker_env.settings(**ours))
        worker_env.workers.append(worker)
        paused = worker.wait_for("worker.paused", 80)
        worker.terminate()
        assert worker.exit_code() == 0
        assert not any(worker.events("job.rejected"))
        assert worker_env.queue_depth(worker_env.source) == 1
    store.stop()
    assert "certificate has expired; renew it" in paused["reason"]


@pytest.mark.slow
def test_object_of_two_gibibytes_is_archived_by_tls(emulated: EmulatedAws) -> None:
    size = 2048 * MIB
    with GeneratedS3({"film.mov": size}) as s3, WorkerEnv(emulated) as worker_env:
        worker = worker_env.worker(AWS_ENDPOINT_URL_S3=s3.endpoint)
        worker_env.send_request("film.mov")
        wait_until(lambda: any(worker.events("job.done")) or not worker.running, "an archive of 2 GiB", 400)
        key = worker_env.answer()["archive"]["key"]
        with s3.archive(key) as whole, zipfile.ZipFile(whole) as archive, archive.open("film.mov") as member:
            assert all(member.read(len(piece)) == piece for piece in content("film.mov", size))
            assert member.read() == b""
