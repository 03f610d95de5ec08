"""The worker keeps nothing on any disk: archives pass through memory."""

import random

import pytest

from .archiver_process import MIB
from .worker_env import WorkerEnv


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["store", "deflate"])
def test_archive_is_made_without_a_byte_written_to_any_file(worker_env: WorkerEnv, compression: str) -> None:
    """No file can be written to, and there is no home and no place for temporary files either."""
    bodies = {f"{n}.jpg": random.Random(n).randbytes(6 * MIB) for n in range(3)}
    for key, body in bodies.items():
        worker_env.put(key, body)
    nowhere = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME"), "/nonexistent")
    worker = worker_env.worker(MEMORY_BUDGET_MIB="15", **nowhere)
    worker.forbid_files()

    worker_env.send_request(*bodies, compression=compression)
    answer = worker_env.answer()

    assert worker_env.archive(answer["archive"]["key"]) == bodies
    worker_env.wait_until_empty()
    worker.forbid_files(False)
    worker.terminate()
    assert worker.exit_code() == 0
