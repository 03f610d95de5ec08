"""Times of measurements, and the order of two awaits."""

from mutations import Mutant

MOMENTS = (
    Mutant(
        "the lease of a message starts at the end of the long poll",
        "archiver/aws/sqs.py",
        "[_message(one, received_at) for",
        "[_message(one, time.monotonic()) for",
        ("tests/contract/test_message_source.py",),
    ),
    Mutant(
        "a renewed lease starts at the response instead of the request",
        "archiver/worker/lease.py",
        "self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False",
        "self._renewed_at, self._term, self.renewal_refused = self._clock(), float(seconds), False",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a renewed lease lasts for the queue's visibility timeout instead of the requested time",
        "archiver/worker/lease.py",
        "self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False",
        "self._renewed_at, self._term, self.renewal_refused = before, float(self._visibility), False",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a job continues after its source has reported the message as gone",
        "archiver/worker/lease.py",
        "        self._lost_reason = self._lost_reason or GONE\n        self._expire()\n",
        "        self._lost_reason = self._lost_reason or GONE\n",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "the lease of a gone message is confirmed until the event loop notices",
        "archiver/worker/lease.py",
        "        if self._lost_reason is None and self._is_gone():\n            self._lost_reason = GONE\n",
        "",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "the lease margin is measured after the renewal",
        "archiver/worker/lease.py",
        "                self._min_margin = min(self._min_margin, self._margin_left())\n"
        "                self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False\n",
        "                self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False\n"
        "                self._min_margin = min(self._min_margin, self._margin_left())\n",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "one renewal attempt may last longer than the lease",
        "archiver/worker/lease.py",
        "asyncio.timeout(min(self._visibility * RENEWAL_TIMEOUT_FRACTION, self.expires_at - before))",
        "asyncio.timeout(self._visibility * RENEWAL_TIMEOUT_FRACTION)",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a message is released without a check of the lease",
        "archiver/worker/settle.py",
        "            if lease is not None:\n                lease.confirm()\n            await self._source.release",
        "            await self._source.release",
        ("tests/worker/test_settle.py",),
    ),
    Mutant(
        "a message is settled without a check of the lease",
        "archiver/worker/settle.py",
        "        lease.confirm()\n        if job_end.release_delay is not None:",
        "        if job_end.release_delay is not None:",
        ("tests/worker/test_settle.py",),
    ),
    Mutant(
        "the grace period begins after the long poll",
        "archiver/worker/loop.py",
        '            ends.create_task(self._end_jobs(), name="worker.end_jobs")\n',
        "            await asyncio.wait([polling])\n"
        '            ends.create_task(self._end_jobs(), name="worker.end_jobs")\n',
        ("tests/worker/test_loop.py",),
    ),
    Mutant(
        "the counter of receive failures is never reset",
        "archiver/worker/loop.py",
        '                log.info("worker.receiving", after=failures)\n            failures = 0\n',
        '                log.info("worker.receiving", after=failures)\n',
        ("tests/worker/test_loop.py",),
    ),
    Mutant(
        "progress of a read does not restart its retry timeout",
        "archiver/stages/fetch.py",
        "            self.stalled_since, self._stalled_failures = now, 0\n",
        "            self._stalled_failures = 0\n",
        ("tests/stages/test_fetch.py", "tests/stages/test_patience.py"),
    ),
    Mutant(
        "every failure of a read restarts its retry timeout",
        "archiver/stages/fetch.py",
        "        if restarted:\n            self.stalled_since, self._stalled_failures = now, 0\n",
        "        self.stalled_since = now\n        if restarted:\n            self._stalled_failures = 0\n",
        ("tests/stages/test_fetch.py", "tests/stages/test_patience.py"),
    ),
    Mutant(
        "a read that waits for its retry occupies a limiter slot",
        "archiver/stages/fetch.py",
        "            await asyncio.sleep(wait)\n            try:\n                async with self.limiter:\n",
        "            try:\n                async with self.limiter:\n                    await asyncio.sleep(wait)\n",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "output counts as written before the write",
        "archiver/telemetry/stdout.py",
        "            self._write_blocking(line)  # without the lock: it may block indefinitely\n"
        "            with self._changed:\n"
        "                self._waiting -= len(line)\n",
        "            with self._changed:\n                self._waiting -= len(line)\n"
        "                self._changed.notify_all()\n"
        "            self._write_blocking(line)\n            with self._changed:\n",
        ("tests/telemetry/test_stdout.py",),
    ),
    Mutant(
        "a dead letter is deleted before it is redriven",
        "archiver/aws/dead_letters.py",
        "        dead_letter = received.dead_letter\n        fifo",
        "        dead_letter = received.dead_letter\n        await self.drop(received)\n        fifo",
        ("tests/aws/test_preflight.py",),
    ),
    Mutant(
        "an existing archive is detected after planning",
        "archiver/jobs/archive.py",
        "            existing = await find(self._store, target.key)\n",
        "            plan = await self._plan(draft, history)\n"
        "            existing = await find(self._store, target.key)\n",
        ("tests/jobs/test_pipeline.py",),
    ),
    Mutant(
        "a part upload counts as stalled although bytes are sent",
        "archiver/http/connection.py",
        "    def sent(self) -> None:\n        self._ticks = 0\n",
        "    def sent(self) -> None:\n        pass\n",
        ("tests/http_client/test_clock.py",),
    ),
    Mutant(
        "the start of receive failures is the last failure",
        "archiver/worker/heartbeat.py",
        "        if self._failing_since is None:\n            self._failing_since = self._clock()",
        "        self._failing_since = self._clock()",
        ("tests/worker/test_heartbeat.py",),
    ),
    Mutant(
        "failed protection requests are retried after a full renewal interval",
        "archiver/worker/protection.py",
        "        if self._failures:\n            return configuration_retry_delay(self._failures)\n",
        "",
        ("tests/worker/test_protection.py",),
    ),
)
