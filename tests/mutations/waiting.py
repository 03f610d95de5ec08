"""Waiting for objects: without a slot, for a limited time, once per restore, to the ordinary verdict."""

from mutations import Mutant

_JOBS = "tests/jobs/test_waiting.py"
_RESTORES = "tests/jobs/test_restores.py"
_SELECTIONS = "tests/jobs/test_waiting_selections.py"
_RULES = "tests/core/test_waiting.py"
_LOOKS = "tests/core/test_watch.py"
_RESTORE_LOOKS = "tests/core/test_watch_restores.py"

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
        "archiver/jobs/planning.py",
        "replace(draft.wait, spent=seconds_since(first_received, time()))",
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
        "a job waits for a role that can't be assumed",
        "archiver/stages/wait.py",
        "            if error.rejection is not None and not job.is_parked:",
        "            if False:",
        (_SELECTIONS,),
    ),
    Mutant(
        "parked jobs list as many prefixes at once as jobs that work",
        "archiver/stages/wait.py",
        "LISTINGS_PER_LOOK if job.is_parked else MAX_CONCURRENT_LISTINGS",
        "MAX_CONCURRENT_LISTINGS",
        (_SELECTIONS,),
    ),
    Mutant(
        "a request with too many files waits for them",
        "archiver/jobs/planning.py",
        "        draft = await self.select(draft, listings)\n        check_count(draft, self._rules.max_files)",
        "        draft = await self.select(draft, listings)",
        (_SELECTIONS,),
    ),
    Mutant(
        "a prefix is awaited although what comes later is too young for it",
        "archiver/core/select.py",
        "where.age is not None and where.age.gt is not None:\n            return False",
        "where.age is not None and where.age.gt is not None:\n            pass",
        (_LOOKS,),
    ),
    Mutant(
        "files are asked about at each look while a prefix is awaited",
        "archiver/core/watch.py",
        "        self._is_narrow = bool(self.count)",
        "        self._is_narrow = bool(self._awaited)",
        (_LOOKS,),
    ),
    Mutant(
        "archived objects of a listing are never readable for a request that restores them",
        "archiver/core/draft.py",
        "        if not (restores and (listed.archived or listed.tiered)):\n            known",
        "        if True:\n            known",
        (_RESTORES, _RESTORE_LOOKS),
    ),
    Mutant(
        "waiting messages are released while a long poll of the same worker is in flight",
        "archiver/worker/settle.py",
        "PARKED_REDELIVERY_DELAY if hold.drained else SHUTDOWN_REDELIVERY_DELAY",
        "SHUTDOWN_REDELIVERY_DELAY",
        (_JOBS,),
    ),
    Mutant(
        "a ping restores objects",
        "archiver/jobs/ping.py",
        'replace(draft, on_archived="skip", wait=replace(draft.wait, archived=0))',
        "draft",
        (_SELECTIONS,),
    ),
    Mutant(
        "a ping counts text of the request as an object",
        "archiver/jobs/planning.py",
        "else answer.content is None",
        "else True",
        (_SELECTIONS,),
    ),
    Mutant(
        "a restore is asked for at each look",
        "archiver/core/watch.py",
        "if not one.restoring and at not in self.asked]",
        "]",
        (_RESTORE_LOOKS,),
    ),
    Mutant(
        "a restore is asked for after the lease was lost",
        "archiver/stages/wait.py",
        "            job.hold.confirm()\n",
        "",
        (f"{_RESTORES}::test_nothing_is_asked_of_s3_once_the_lease_is_lost",),
    ),
    Mutant(
        "an object of another account is restored with the worker's rights",
        "archiver/aws/s3_restore.py",
        "self._reader_of(location.role)",
        'self._reader_of("")',
        ("tests/aws/test_s3_restore.py",),
    ),
    Mutant(
        "an object that vanished while others were awaited is not noticed",
        "archiver/core/watch.py",
        "self.is_over = hopeless or (not self.count and was_complete)",
        "self.is_over = hopeless or not self.count",
        (_LOOKS,),
    ),
    Mutant(
        "the last look is after the limit",
        "archiver/core/watch.py",
        "MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE, *limits)",
        "MAX_RESTORE_PAUSE if self._only_restores else MAX_PAUSE)",
        (_LOOKS,),
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
        (_RESTORES,),
    ),
    Mutant(
        "a request that skips archived objects is built in one pass",
        "archiver/core/draft.py",
        '            and self.rejects("source_archived")\n',
        "",
        (_RESTORES,),
    ),
    Mutant(
        "a running restore is no success",
        "archiver/aws/s3_restore.py",
        'frozenset({"RestoreAlreadyInProgress", "InvalidObjectState"})',
        'frozenset({"InvalidObjectState"})',
        ("tests/aws/test_s3_restore.py",),
    ),
)
