"""The worker keeps nothing on any disk: archives pass through memory."""

import random

import pytest

from .worker_env import Scene
from .worker_process import MIB


@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_archive_is_made_without_a_byte_written_to_any_file(scene: Scene, compression: str) -> None:
    """No file can be written to, and there is no home and no place for temporary files either."""
    bodies = {f"{n}.jpg": random.Random(n).randbytes(6 * MIB) for n in range(3)}
    for key, body in bodies.items():
        scene.put(key, body)
    nowhere = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME"), "/nonexistent")
    worker = scene.worker(MEMORY_BUDGET_MIB="15", **nowhere)
    worker.forbid_files()

    scene.ask(*bodies, compression=compression)
    answer = scene.answer()

    assert scene.archive(answer["archive"]["key"]) == bodies
    scene.settled()
    worker.forbid_files(False)
    worker.terminate()
    assert worker.exit_code() == 0
