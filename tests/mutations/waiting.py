"""Waiting for objects: without a slot, for a limited time, once per restore, to the ordinary verdict."""

from mutations import Mutant

_JOBS = "tests/jobs/test_waiting.py"
_RULES = "tests/core/test_waiting.py"

WAITING = (
    Mutant(
        "a job waits in its slot",
        "archiver/stages/wait.py",
        "            async with hold.parked():",
        "            if True:",
        (_JOBS,),
    ),
    Mutant(
        "a finished job waits for its sources",
        "archiver/jobs/archive.py",
        "if draft.wait is not None and await find(self._store, target.key) is None:",
        "if draft.wait is not None:",
        (_JOBS,),
    ),
    Mutant(
        "each redelivery begins the wait anew",
        "archiver/jobs/archive.py",
        "replace(draft.wait, spent=spent)",
        "replace(draft.wait, spent=0.0)",
        (_JOBS,),
    ),
    Mutant(
        "a look that fails ends the wait",
        "archiver/stages/wait.py",
        '            log.info("job.look_failed", reason=str(error))',
        "            raise",
        (_JOBS,),
    ),
    Mutant(
        "waiting messages are released while a long poll of the same worker is in flight",
        "archiver/worker/settle.py",
        "PARKED_REDELIVERY_DELAY if hold.drained else SHUTDOWN_REDELIVERY_DELAY",
        "SHUTDOWN_REDELIVERY_DELAY",
        (_JOBS,),
    ),
    Mutant(
        "a restore is asked for at each look",
        "archiver/core/waiting.py",
        "if not one.restoring and at not in self.asked]",
        "]",
        (_RULES,),
    ),
    Mutant(
        "a restore is asked for after the lease was lost",
        "archiver/stages/wait.py",
        "            hold.confirm()\n",
        "",
        (f"{_JOBS}::test_nothing_is_asked_of_s3_once_the_lease_is_lost",),
    ),
    Mutant(
        "an object that vanished while others were awaited is not noticed",
        "archiver/core/waiting.py",
        "self.is_over = hopeless or (not awaited and (complete or elapsed >= self._wait.longest))",
        "self.is_over = hopeless or not awaited",
        (_RULES,),
    ),
    Mutant(
        "the last look is after the limit",
        "archiver/core/waiting.py",
        "MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE, *limits)",
        "MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE)",
        (_RULES,),
    ),
    Mutant(
        "requests may wait for longer than the operator allows",
        "archiver/core/waiting.py",
        "    if seconds > limit:",
        "    if False:",
        (_RULES,),
    ),
    Mutant(
        "skipping archived objects skips missing ones too",
        "archiver/core/draft.py",
        'if code == "source_archived" and self.on_archived in ("fail", "skip"):',
        'if self.on_archived in ("fail", "skip"):',
        (_JOBS,),
    ),
    Mutant(
        "a running restore is no success",
        "archiver/aws/s3_restore.py",
        'frozenset({"RestoreAlreadyInProgress", "InvalidObjectState"})',
        'frozenset({"InvalidObjectState"})',
        ("tests/aws/test_s3_restore.py",),
    ),
)
