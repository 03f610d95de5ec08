"""Small objects in one pass: lanes, the room for bodies that come early, hedges, and the way back to a plan."""

from mutations import Mutant

LANES = (
    Mutant(
        "bytes that no request asked for are read as the next response",
        "archiver/http/lane.py",
        "        if self._done is None or self._done.done():\n",
        "        if self._done is None:\n",
        ("tests/aws/test_s3_lanes.py",),
    ),
    Mutant(
        "a body that is longer than declared is taken",
        "archiver/http/lane.py",
        '        if arrived > length:\n            raise ProtocolError("body longer than declared")\n'
        "        if arrived == length:\n            self._complete(self._scratch[end:count])\n",
        "        if arrived >= length:\n            self._complete(self._scratch[end : end + length])\n",
        ("tests/aws/test_s3_lanes.py",),
    ),
    Mutant(
        "a response that is not plain counts as an empty object",
        "archiver/http/lane.py",
        '            raise ProtocolError("not a plain response")\n',
        "            length = 0\n",
        ("tests/aws/test_s3_lanes.py",),
    ),
    Mutant(
        "another version than the pinned one is taken",
        "archiver/aws/s3_lanes.py",
        "if info is None or (read.etag is not None and info.etag != read.etag):",
        "if info is None:",
        ("tests/aws/test_s3_lanes.py",),
    ),
    Mutant(
        "a whole body whose CRC-32 differs from S3's is taken",
        "archiver/stages/gather.py",
        "            if damaged or len(whole) != member.size:",
        "            if len(whole) != member.size:",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "room for bodies that came early is never given back",
        "archiver/stages/room.py",
        "        self.used -= size\n",
        "",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "lanes are not added before a response has come",
        "archiver/stages/lanes.py",
        "        if len(self._lanes) < self._max_lanes:\n            asyncio",
        "        if not self._lanes:\n            asyncio",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "an object that all others have overtaken is waited for as long as any",
        "archiver/stages/gather.py",
        "(OVERTAKEN_TICKS if overtaken else HEDGE_TICKS)",
        "HEDGE_TICKS",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "both responses about a hedged object are taken",
        "archiver/stages/gather.py",
        "        if charged is None:\n            return  # the other response was faster\n",
        "        charged = charged or 0\n",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "a member of three parts takes the buffer that early bodies still use",
        "archiver/stages/in_order.py",
        "                await self._leave_spared_buffer()\n",
        "",
        ("tests/stages/test_gather.py",),
    ),
    Mutant(
        "a problem that was found in one pass is reported alone",
        "archiver/jobs/archive.py",
        '            log.info("job.planned", reason=str(error))\n            return None\n',
        "            raise\n",
        ("tests/jobs/test_pipeline.py",),
    ),
)
