"""When something is measured, and which of two awaits comes first."""

from mutations import Mutant

MOMENTS = (
    Mutant(
        "a message counts as received from the end of its poll",
        "archiver/aws/sqs.py",
        "[_message(one, received_at) for",
        "[_message(one, time.monotonic()) for",
        ("tests/contract/test_message_source.py",),
    ),
    Mutant(
        "a renewed lease counts from the answer",
        "archiver/worker/lease.py",
        "self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False",
        "self._renewed_at, self._term, self.renewal_refused = self._clock(), float(seconds), False",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a renewed lease is believed for the queue's visibility, whatever was asked for",
        "archiver/worker/lease.py",
        "self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False",
        "self._renewed_at, self._term, self.renewal_refused = before, float(self._visibility), False",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a job works on for a message that its source knows to be gone",
        "archiver/worker/lease.py",
        "        self._lost_reason = self._lost_reason or GONE\n        self._expire()\n",
        "        self._lost_reason = self._lost_reason or GONE\n",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a message that is gone is confirmed until the event loop has noticed",
        "archiver/worker/lease.py",
        "        if self._lost_reason is None and self._is_gone():\n            self._lost_reason = GONE\n",
        "",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "the margin is measured after the renewal",
        "archiver/worker/lease.py",
        "                self._min_margin = min(self._min_margin, self._margin_left())\n"
        "                self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False\n",
        "                self._renewed_at, self._term, self.renewal_refused = before, float(seconds), False\n"
        "                self._min_margin = min(self._min_margin, self._margin_left())\n",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "one renewal may outlast the lease",
        "archiver/worker/lease.py",
        "asyncio.timeout(min(self._visibility * RENEWAL_TIMEOUT_FRACTION, self.expires_at - before))",
        "asyncio.timeout(self._visibility * RENEWAL_TIMEOUT_FRACTION)",
        ("tests/worker/test_lease.py",),
    ),
    Mutant(
        "a message is given back without a look at the lease",
        "archiver/worker/settle.py",
        "            if lease is not None:\n                lease.confirm()\n            await self._source.release",
        "            await self._source.release",
        ("tests/worker/test_settle.py",),
    ),
    Mutant(
        "the end of a job is settled without a look at the lease",
        "archiver/worker/settle.py",
        "        lease.confirm()\n        if job_end.release_delay is not None:",
        "        if job_end.release_delay is not None:",
        ("tests/worker/test_settle.py",),
    ),
    Mutant(
        "the grace period begins when the long poll has ended",
        "archiver/worker/loop.py",
        '            ends.create_task(self._end_jobs(), name="worker.end_jobs")\n',
        "            await asyncio.wait([polling])\n"
        '            ends.create_task(self._end_jobs(), name="worker.end_jobs")\n',
        ("tests/worker/test_loop.py",),
    ),
    Mutant(
        "failures to receive are counted for ever",
        "archiver/worker/loop.py",
        '                log.info("worker.receiving", after=failures)\n            failures = 0\n',
        '                log.info("worker.receiving", after=failures)\n',
        ("tests/worker/test_loop.py",),
    ),
    Mutant(
        "progress of a read does not renew its patience",
        "archiver/stages/fetch.py",
        "            self.stalled_since, self._stalled_failures = now, 0\n",
        "            self._stalled_failures = 0\n",
        ("tests/stages/test_fetch.py", "tests/stages/test_patience.py"),
    ),
    Mutant(
        "every failure of a read renews its patience",
        "archiver/stages/fetch.py",
        "        if restarted:\n            self.stalled_since, self._stalled_failures = now, 0\n",
        "        self.stalled_since = now\n        if restarted:\n            self._stalled_failures = 0\n",
        ("tests/stages/test_fetch.py", "tests/stages/test_patience.py"),
    ),
    Mutant(
        "a read that waits keeps others from reading",
        "archiver/stages/fetch.py",
        "            await asyncio.sleep(wait)\n            try:\n                async with self._limiter:\n",
        "            try:\n                async with self._limiter:\n                    await asyncio.sleep(wait)\n",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "output counts as written before it is",
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
        "a dead letter is deleted before it is sent back",
        "archiver/aws/dead_letters.py",
        "        dead_letter = received.dead_letter\n        fifo",
        "        dead_letter = received.dead_letter\n        await self.drop(received)\n        fifo",
        ("tests/aws/test_preflight.py",),
    ),
    Mutant(
        "a key that is taken is found out after the plan",
        "archiver/jobs/archive.py",
        "            existing = await find(self._store, target.key)\n",
        "            plan = await self._plan(draft, history)\n"
        "            existing = await find(self._store, target.key)\n",
        ("tests/jobs/test_pipeline.py",),
    ),
    Mutant(
        "a part that is being sent counts as stalled however much goes out",
        "archiver/http/connection.py",
        "    def sent(self) -> None:\n        self._ticks = 0\n",
        "    def sent(self) -> None:\n        pass\n",
        ("tests/http_client/test_clock.py",),
    ),
    Mutant(
        "receiving counts as failing since its last failure",
        "archiver/worker/heartbeat.py",
        "        if self._failing_since is None:\n            self._failing_since = self._clock()",
        "        self._failing_since = self._clock()",
        ("tests/worker/test_heartbeat.py",),
    ),
    Mutant(
        "protection is renewed a whole renewal after a failure",
        "archiver/worker/protection.py",
        "        if self._failures:\n            return configuration_retry_delay(self._failures)\n",
        "",
        ("tests/worker/test_protection.py",),
    ),
)
