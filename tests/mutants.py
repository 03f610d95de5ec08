"""
Break the code on purpose, one way at a time, in a copy, and show that the tests notice. `make mutants`.

Each mutant is a promise given up: where its tests still pass, they are worth nothing, and the exit code is 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """*old* becomes *new* in *file*; *tests* must fail then, and pass before."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the message is deleted before the answer",
        "archiver/settle.py",
        "            done = await self._attempt(message, lease)\n",
        "            await self._source.delete(message)\n            done = await self._attempt(message, lease)\n",
        ("tests/service/test_settle.py", "tests/faults/test_answers.py"),
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
        ("tests/core/test_locations.py", "tests/service/test_pipeline.py"),
    ),
    Mutant(
        "the heartbeat is not awaited",
        "archiver/lease.py",
        "while not self._heartbeat.done():",
        "while False:",
        ("tests/service/test_lease.py",),
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
        '        """Tell whether a request may name *location*."""\n',
        '        """Tell whether a request may name *location*."""\n        return True\n',
        ("tests/core/test_locations.py", "tests/core/test_draft.py"),
    ),
    Mutant(
        "archives appear without a look at the lease",
        "archiver/stages/upload.py",
        "            self._confirm()  #",
        "            pass  #",
        ("tests/stages/test_upload.py",),
    ),
    Mutant(
        "answers are sent without a look at the lease",
        "archiver/pipeline.py",
        "            confirm()\n            await notifier.send(note)",
        "            await notifier.send(note)",
        ("tests/service/test_pipeline.py",),
    ),
    Mutant(
        "bytes with another CRC-32 than the store's are published",
        "archiver/stages/assemble.py",
        "if expected is None or _total(crcs, views) == expected:",
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


def survives(mutant: Mutant, copy: Path) -> bool:
    """Whether *mutant*'s tests pass in spite of it."""
    target = copy / mutant.file
    whole = target.read_text()
    if whole.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: what it changes does not stand once in {mutant.file}; mend tests/mutants.py")
    target.write_text(whole.replace(mutant.old, mutant.new))
    try:
        return run(copy, mutant.tests) == 0
    finally:
        target.write_text(whole)


def run(copy: Path, tests: tuple[str, ...]) -> int:
    """Run *tests* on the *copy*; pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, check=False, capture_output=True, timeout=900)
    return done.returncode


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "archiver"
        kept = shutil.ignore_patterns(".venv", ".git", "build", "__pycache__", ".*_cache", "node_modules")
        shutil.copytree(ROOT, copy, ignore=kept)
        survivors = 0
        for mutant in MUTANTS:
            alive = survives(mutant, copy)
            survivors += alive
            print(f"{'SURVIVED' if alive else 'caught':9} {mutant.name}", flush=True)
        everything = tuple(sorted({test for mutant in MUTANTS for test in mutant.tests}))
        if run(copy, everything) != 0:
            print("and the same tests fail without any mutant: they prove nothing")
            return 1
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants caught; without one, the same tests pass")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
