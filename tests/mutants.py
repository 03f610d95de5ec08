"""
Mutation tests (`make mutants`): apply one code change at a time to a copy of the project, and run its tests.

If the tests of a mutant pass, the mutant has survived, and the exit code is 1. Arguments: words; only mutants whose
names contain one of them are run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from mutations import Mutant
from mutations.bounds import BOUNDS
from mutations.commands import COMMANDS
from mutations.lanes import LANES
from mutations.moments import MOMENTS
from mutations.promises import PROMISES
from mutations.resuming import RESUMING
from mutations.selections import SELECTIONS
from mutations.sharing import SHARING
from mutations.tls import TLS
from mutations.waiting import WAITING

ROOT = Path(__file__).parents[1]
MUTANTS = (*PROMISES, *MOMENTS, *SHARING, *TLS, *BOUNDS, *LANES, *SELECTIONS, *WAITING, *RESUMING, *COMMANDS)
MAX_PARALLEL = 3  # the tests wait about as long as they compute
TEST_TIMEOUT = 300  # seconds; a mutant that hangs counts as caught
PASSED, FAILED = 0, 1  # pytest's exit codes; any other means an invalid mutant or list of tests


class InvalidMutantError(Exception):
    """An invalid mutant: its file does not contain its text exactly once, or its tests cannot be run."""


@contextmanager
def project_copy() -> Iterator[Path]:
    """Yield a temporary copy of the project."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "archiver"
        ignored = shutil.ignore_patterns(
            ".venv", ".git", "build", "__pycache__", ".*_cache", ".hypothesis", ".coverage*"
        )
        shutil.copytree(ROOT, copy, ignore=ignored)
        yield copy


@contextmanager
def mutated(mutant: Mutant, copy: Path) -> Iterator[None]:
    """Apply *mutant* to *copy* during the block. Raises InvalidMutantError."""
    target = copy / mutant.file
    original = target.read_text() if target.exists() else ""
    if original.count(mutant.old) != 1:
        raise InvalidMutantError(f"{mutant.name}: {mutant.file} does not contain its text exactly once")
    target.write_text(original.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        target.write_text(original)


def tests_pass(copy: Path, tests: Sequence[str], seconds: float | None) -> bool:
    """Return whether *tests* pass on *copy* within *seconds*. Raises InvalidMutantError if they cannot be run."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, check=False, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in {PASSED, FAILED}:
        raise InvalidMutantError(
            f"pytest ended with {done.returncode} on {' '.join(tests)}:\n{done.stdout}{done.stderr}"
        )
    return done.returncode == PASSED


def survives(mutant: Mutant, copies: SimpleQueue[Path]) -> bool:
    """Return whether *mutant*'s tests pass with the mutant. Raises InvalidMutantError."""
    copy = copies.get()
    try:
        with mutated(mutant, copy):
            survived = tests_pass(copy, mutant.tests, TEST_TIMEOUT)
    finally:
        copies.put(copy)
    print(f"{'SURVIVED' if survived else 'caught':9} {mutant.name}", flush=True)
    return survived


def main(words: Sequence[str]) -> int:
    mutants = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    with ExitStack() as stack:
        copies: SimpleQueue[Path] = SimpleQueue()
        for _ in range(MAX_PARALLEL):
            copies.put(stack.enter_context(project_copy()))
        for mutant in MUTANTS:  # apply all first, so that an invalid one is reported at once
            copy = copies.get()
            with mutated(mutant, copy):
                copies.put(copy)
        with ThreadPoolExecutor(MAX_PARALLEL) as pool:
            survivors = sum(pool.map(lambda mutant: survives(mutant, copies), mutants))
        if not tests_pass(copies.get(), sorted({test for mutant in mutants for test in mutant.tests}), None):
            print("the same tests fail without a mutant, so the result proves nothing")
            return 1
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants caught; without one, the same tests pass")
    return 1 if survivors else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InvalidMutantError as mistake:
        sys.exit(f"fix tests/mutations: {mistake}")
