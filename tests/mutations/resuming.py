"""Builds that resume: never a mixture, nothing done twice, nothing left behind."""

from mutations import Mutant

JOBS = ("tests/jobs/test_resuming.py",)
COPIED_JOBS = ("tests/jobs/test_copied_resuming.py",)
RESUMING = (
    Mutant(
        "a build goes on although its objects have changed",
        "archiver/jobs/resuming.py",
        "if record.digest == await self._digest(plan, target, record.part_size, copied):",
        "if True:",
        JOBS,
    ),
    Mutant(
        "who has lost the lease aborts the upload of the next worker",
        "archiver/stages/upload.py",
        "        except LeaseLost:\n            return True\n        passes",
        "        except LeaseLost:\n            return False\n        passes",
        JOBS,
    ),
    Mutant(
        "a part is kept although the CRC-32 of a member in it is not known",
        "archiver/core/kept.py",
        "if number not in doubtful}",
        "}",
        ("tests/core/test_kept.py",),
    ),
    Mutant(
        "a part that is in the store is sent again",
        "archiver/stages/upload.py",
        "if self.kept.sent.get(number - 1) == crc32:",
        "if False:",
        JOBS,
    ),
    Mutant(
        "a stopped worker aborts what it has sent",
        "archiver/stages/upload.py",
        "isinstance(error, asyncio.CancelledError | LeaseLost | TransientError",
        "isinstance(error, LeaseLost | TransientError",
        JOBS,
    ),
    Mutant(
        "a record that lies makes a wrong archive",
        "archiver/stages/upload.py",
        "if self.kept.crcs and self.kept.crcs.get(index, crc) != crc:",
        "if False:",
        JOBS,
    ),
    Mutant(
        "a build that is begun anew leaves the old upload",
        "archiver/jobs/resuming.py",
        "        await self._records.discard(key, record, hold)\n        return None",
        "        return None",
        JOBS,
    ),
    Mutant(
        "a rejected message aborts a build that another one goes on with",
        "archiver/jobs/pipeline.py",
        "            return  # another message of the job goes on",
        "            pass  # another message of the job goes on",
        JOBS,
    ),
    Mutant(
        "the janitor removes what another queue's workers have left",
        "archiver/jobs/janitor.py",
        "own = record is not None and record.source == self._source",
        "own = record is not None",
        ("tests/jobs/test_janitor.py",),
    ),
    Mutant(
        "what an earlier worker had copied is copied again",
        "archiver/stages/copying.py",
        "[each for each in plan.copies if each.part not in upload.kept.parts]",
        "list(plan.copies)",
        COPIED_JOBS,
    ),
    Mutant(
        "the worker that goes on reads what is to be copied",
        "archiver/core/kept.py",
        " and not ledger.is_copied(part)]",
        "]",
        COPIED_JOBS,
    ),
    Mutant(
        "a build of copies is gone on with in other parts",
        "archiver/jobs/resuming.py",
        "if record.copies is None:",
        "if True:",
        COPIED_JOBS,
    ),
)
