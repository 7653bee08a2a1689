from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """The first `old` in a file becomes `new`; then one of `test`'s cases that match `only` (pytest's -k) must fail."""

    guard: str
    old: str
    new: str
    test: str
    only: str = ""


@dataclass(frozen=True, slots=True)
class Mutants:
    """Those of one `file`. Their tests are in `tests`, a path that theirs are appended to."""

    file: str
    tests: str
    mutants: tuple[Mutant, ...]
