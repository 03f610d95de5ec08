"""The guarantees of the service."""

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
        "leaving a lease does not await a running renewal",
        "archiver/worker/lease.py",
        "while not all(task.done() for task in tasks):",
        "while False:",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "reads are not pinned to the planned ETag",
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
        "an archive is published without a check of the lease",
        "archiver/stages/upload.py",
        "            self._hold.confirm()  #",
        "            pass  #",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "an answer is sent without a check of the lease",
        "archiver/jobs/answers.py",
        "            hold.confirm()\n            await notifier.send(note)",
        "            await notifier.send(note)",
        ("tests/jobs/test_pipeline.py",),
    ),
    Mutant(
        "an object whose CRC-32 differs from S3's is written to the archive",
        "archiver/stages/assemble.py",
        "if expected is None or _combine_view_crcs(crcs, views) == expected:",
        "if True:",
        ("tests/stages/test_assemble.py",),
    ),
    Mutant(
        "a finished archive is overwritten",
        "archiver/aws/s3_store.py",
        'lines=f"If-None-Match: *\\r\\n{lines}"',
        "lines=lines",
        ("tests/contract/test_object_store.py", "tests/aws/test_s3_bodies.py"),
    ),
)
