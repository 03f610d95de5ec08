"""Promises given up: what the service is for."""

from mutations import Mutant

PROMISES = (
    Mutant(
        "the message is deleted before the answer",
        "archiver/worker/settle.py",
        "            done = await self._run_with_time_limit(message, lease, hold)\n",
        "            await self._source.delete(message)\n"
        "            done = await self._run_with_time_limit(message, lease, hold)\n",
        ("tests/worker/test_settle.py", "tests/faults/test_answers.py"),
    ),
    Mutant(
        "a failed upload is not aborted",
        "archiver/stages/upload.py",
        "        if self._multipart is None:\n            return\n        try:",
        "        if self._multipart is not None:\n            return\n        try:",
        ("tests/stages/test_upload.py", "tests/stages/test_assemble.py"),
    ),
    Mutant(
        "the archive's key depends on the clock",
        "archiver/core/locations.py",
        'text = f"v1\\n{queue_arn}\\n{identity}".encode()',
        'import time; text = f"v1\\n{queue_arn}\\n{identity}{time.time_ns()}".encode()',
        ("tests/core/test_locations.py", "tests/jobs/test_pipeline.py"),
    ),
    Mutant(
        "the heartbeat is not awaited",
        "archiver/worker/lease.py",
        "while not all(task.done() for task in tasks):",
        "while False:",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "reads are not pinned to the planned version",
        "archiver/aws/s3_read.py",
        "\\r\\nIf-Match: {etag}\\r\\n",
        "\\r\\n",
        ("tests/aws/test_s3_read.py", "tests/faults/test_sources.py"),
    ),
    Mutant(
        "requests may name any bucket",
        "archiver/core/locations.py",
        '        """Return whether a request may name *location*."""\n',
        '        """Return whether a request may name *location*."""\n        return True\n',
        ("tests/core/test_locations.py", "tests/core/test_draft.py"),
    ),
    Mutant(
        "archives appear without a look at the lease",
        "archiver/stages/upload.py",
        "            self._hold.confirm()  #",
        "            pass  #",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "answers are sent without a look at the lease",
        "archiver/jobs/answers.py",
        "            hold.confirm()\n            await notifier.send(note)",
        "            await notifier.send(note)",
        ("tests/jobs/test_pipeline.py",),
    ),
    Mutant(
        "bytes with another CRC-32 than the store's are published",
        "archiver/stages/assemble.py",
        "if expected is None or _combine_view_crcs(crcs, views) == expected:",
        "if True:",
        ("tests/stages/test_assemble.py",),
    ),
    Mutant(
        "a finished archive is written over",
        "archiver/aws/s3_parts.py",
        '"If-None-Match: *\\r\\nContent-Type',
        '"Content-Type',
        ("tests/contract/test_object_store.py", "tests/aws/test_s3_bodies.py"),
    ),
)
