"""The mutants of `make mutants` fit the source and name tests that exist, so that a renaming does not disarm them."""

import re
from pathlib import Path

from tests.mutants.cases import CASES, ROOT

CONTRACTS = "".join(path.read_text() for path in Path(ROOT, "engine/testing/contracts").glob("*.py"))


def test_every_patch_fits_its_file() -> None:
    unfit = [case.mutant.guard for case in CASES if case.mutant.old not in Path(ROOT, case.file).read_text()]
    assert unfit == []


def test_every_mutant_names_a_test() -> None:
    unknown = [case.test for case in CASES if not _exists(case.test)]
    assert unknown == []


def test_no_two_mutants_have_the_same_name() -> None:
    guards = [case.mutant.guard for case in CASES]
    assert sorted(guards) == sorted(set(guards))


def _exists(test: str) -> bool:
    path, *names = test.split("::")
    text = Path(ROOT, path).read_text()
    inherited = CONTRACTS if path.startswith("tests/contracts/") else ""
    return all(re.search(rf"(def|class) {name}\b", text + inherited) for name in names)
