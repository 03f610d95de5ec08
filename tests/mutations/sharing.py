"""What is kept, passed on or given back when a task is cancelled or fails."""

from mutations import Mutant

SHARING = (
    Mutant(
        "a connection is kept although a request's body was not sent whole",
        "archiver/aws/http_connection.py",
        "head.keep_alive and self._all_sent()",
        "head.keep_alive",
        ("tests/aws/test_http_body.py",),
    ),
    Mutant(
        "addresses that were known do not serve while DNS fails",
        "archiver/aws/http_names.py",
        "            if not name.addresses:  #",
        "            if True:  #",
        ("tests/aws/test_http.py", "tests/aws/test_http_names.py"),
    ),
    Mutant(
        "an answer that was begun is asked for again",
        "archiver/aws/http_connection.py",
        "if self._state is State.HEAD and self.served and not self._moved:",
        "if self._state is State.HEAD and self.served:",
        ("tests/aws/test_http.py",),
    ),
    Mutant(
        "a read that was granted and cancelled at once keeps its place",
        "archiver/stages/limiter.py",
        "                self._leave()  # granted in the same moment: pass it on",
        "                pass",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "whoever asks for a read overtakes those who wait",
        "archiver/stages/limiter.py",
        "if self.running < int(self.limit) and not self._waiters:",
        "if self.running < int(self.limit):",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "a limit that was raised admits nobody",
        "archiver/stages/limiter.py",
        "self.limit + 1.0 / self.limit)\n            self._admit()",
        "self.limit + 1.0 / self.limit)",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "a read that is tried again goes beyond the limit",
        "archiver/stages/fetch.py",
        "                async with self._limiter:\n                    result = await once(run.received)",
        "                if True:\n                    result = await once(run.received)",
        ("tests/stages/test_fetch.py",),
    ),
    Mutant(
        "a reservation that was granted and cancelled at once is kept",
        "archiver/stages/budget.py",
        "                self._release(size)  # granted in the same moment",
        "                pass",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "a large reservation that is cancelled leaves smaller ones waiting",
        "archiver/stages/budget.py",
        "                self._grant()  # the next one may fit",
        "",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "extra buffers are taken from those who wait for a reservation",
        "archiver/stages/budget.py",
        "if self._reservations or self.used + size > self.total:",
        "if self.used + size > self.total:",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "a job that begins overtakes those who wait for their share",
        "archiver/stages/budget.py",
        "if not self._reservations and self.used + size <= self.total:",
        "if self.used + size <= self.total:",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "idle memory comes on top of the budget",
        "archiver/stages/budget.py",
        "while self._idle and self.used + sum(map(len, self._idle)) > self.total:",
        "while False:",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "buffers beyond the guaranteed ones are not given back at the end",
        "archiver/stages/budget.py",
        "        for _ in range(extra):\n            self.budget.give_extra(self._counted)",
        "        del extra",
        ("tests/stages/test_budget.py",),
    ),
    Mutant(
        "a job ends while its last progress event is on its way",
        "archiver/report.py",
        "        while not telling.done():\n            try:\n                await asyncio.wait([telling])\n"
        "            except asyncio.CancelledError as again:\n                cancelled = again\n",
        "",
        ("tests/service/test_report.py",),
    ),
    Mutant(
        "progress is told of a job that may be someone else's",
        "archiver/report.py",
        "            try:\n                confirm()\n",
        "            try:\n",
        ("tests/service/test_report.py",),
    ),
    Mutant(
        "a watcher's answer outlives the lease",
        "archiver/pipeline.py",
        "        except LeaseLost:\n            raise\n        except ArchiverError as error:  # who watches",
        "        except ArchiverError as error:  # who watches",
        ("tests/service/test_pipeline.py",),
    ),
    Mutant(
        "a cancelled upload is left behind when it is cancelled again",
        "archiver/stages/upload.py",
        "        while not undoing.done():  # bounded by its tries; a cancellation goes on afterwards\n",
        "        if not undoing.done():\n",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "parts that are sent at once begin an upload each",
        "archiver/stages/upload.py",
        "        async with self._beginning:\n            if self._multipart is None:",
        "        if True:\n            if self._multipart is None:",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "a completed upload is aborted",
        "archiver/stages/upload.py",
        "        self._multipart = None\n        return stored",
        "        return stored",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "a job that ends frees no slot",
        "archiver/worker.py",
        "        self._running.discard(job)\n        self._gate.changed.set()\n",
        "        self._running.discard(job)\n",
        ("tests/service/test_worker.py",),
    ),
    Mutant(
        "a worker that may take no more starts what its last poll brought",
        "archiver/worker.py",
        "if stop.is_set() or self._gate.closed:",
        "if stop.is_set():",
        ("tests/service/test_worker.py",),
    ),
    Mutant(
        "a buffer is used again while its part is still being sent",
        "archiver/stages/assemble.py",
        "        async with self._slots:\n"
        "            await self._upload.part(number + 1, view[:size], self._part_crcs[number])\n"
        "        del self._parts[number]\n        self._share.give(view)\n",
        "        del self._parts[number]\n        self._share.give(view)\n        async with self._slots:\n"
        "            await self._upload.part(number + 1, view[:size], self._part_crcs[number])\n",
        ("tests/stages/test_assemble.py",),
    ),
    Mutant(
        "a job held by a fault keeps the gate shut when it is cancelled",
        "archiver/settle.py",
        "        finally:\n            if attempt:\n                self._gate.release()\n",
        "        except ArchiverError:\n            self._gate.release()\n            raise\n"
        "        else:\n            if attempt:\n                self._gate.release()\n",
        ("tests/service/test_settle.py",),
    ),
    Mutant(
        "a file's buffer is anyone's again while it is written",
        "archiver/file_store.py",
        "        while not task.done():\n            try:\n                await asyncio.wait([task])\n",
        "        if not task.done():\n            try:\n                await asyncio.wait([task])\n",
        ("tests/contract/test_file_store.py",),
    ),
)
