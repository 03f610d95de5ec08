"""The guarantees of the service."""

from mutations import Mutant

PROMISES = (
    Mutant(
        "replies are sent without the broker's confirmation",
        "archiver/amqp/publishing.py",
        "self._connection.channel(confirms=True)",
        "self._connection.channel(confirms=False)",
        ("tests/amqp/test_publishing.py",),
    ),
    Mutant(
        "a problem that the source tells of is ignored",
        "archiver/jobs/pipeline.py",
        "        if job.message.problem:\n",
        "        if False:\n",
        ("tests/jobs/test_pipeline.py",),
    ),
    Mutant(
        "a sender chooses where copies of dead letters go",
        "archiver/amqp/delivery.py",
        '_ROUTES = frozenset({"CC", "BCC"})',
        "_ROUTES = frozenset[str]()",
        ("tests/amqp/test_delivery.py",),
    ),
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
        "await retry_transient(self._multipart.abort, tries=3, seconds=0)",
        "pass",
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
        "        if self.prefixes is None:\n            return location.bucket",
        "        return True\n        if self.prefixes is None:\n            return location.bucket",
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
        "archiver/stages/receive.py",
        "if not is_whole or pinned.crc32 is None or combine_view_crcs(crcs, views) == pinned.crc32:",
        "if True:",
        ("tests/stages/test_assemble.py",),
    ),
    Mutant(
        "a finished archive is overwritten",
        "archiver/aws/s3_upload.py",
        'return f"If-Match: {target.overwrites}\\r\\n" if target.overwrites else "If-None-Match: *\\r\\n"',
        'return ""',
        ("tests/contract/test_object_store.py", "tests/aws/test_s3_bodies.py"),
    ),
    Mutant(
        "a receipt is written after its archive",
        "archiver/stages/upload.py",
        "        await self._write_seal(contents, len(body), crc32)\n        return await",
        "        return await",
        ("tests/jobs/test_receipts.py",),
    ),
    Mutant(
        "a receipt is deleted although its archive may still appear",
        "archiver/stages/upload.py",
        "if self._seal is not None and not self._may_appear:",
        "if self._seal is not None:",
        ("tests/jobs/test_receipts.py",),
    ),
    Mutant(
        "a refused archive keeps its receipt",
        "archiver/stages/upload.py",
        "            except ArchiverError:  # refused: this write has no effect\n"
        "                self._may_appear, self._is_trusted = appears_by_earlier_write, False\n",
        "            except ArchiverError:\n",
        ("tests/jobs/test_receipts.py",),
    ),
    Mutant(
        "a rejected job deletes the receipt of the archive that is there",
        "archiver/jobs/receipt.py",
        "own = receipt_key(archive_key, metadata.token) if metadata else None",
        "own = None",
        ("tests/jobs/test_receipts.py",),
    ),
    Mutant(
        "receipts are swept while another archive is in the folder",
        "archiver/core/receipt.py",
        "if any(one.key != archive_key and not _is_swept(one.key) and not _is_answer(one.key) for one in found):",
        "if False:",
        ("tests/jobs/test_receipts.py", "tests/core/test_receipt.py"),
    ),
)
