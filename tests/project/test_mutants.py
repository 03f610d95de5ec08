"""What `make mutants` breaks still stands where its list says: a mutant that no longer fits proves nothing."""

from pathlib import Path

import pytest
from mutants import MUTANTS
from mutations import Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_changes_stands_once(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_of_a_mutant_are_there(mutant: Mutant) -> None:
    assert [test for test in mutant.tests if not (ROOT / test.split("::")[0]).exists()] == []


def test_mutants_have_names_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
