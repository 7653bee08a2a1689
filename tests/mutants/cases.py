from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.of_ai import OF_AI
from tests.mutants.of_commands import OF_COMMANDS
from tests.mutants.of_databases import OF_DATABASES
from tests.mutants.of_finishing import OF_FINISHING
from tests.mutants.of_hosts import OF_HOSTS
from tests.mutants.of_sql_functions import OF_SQL_FUNCTIONS
from tests.mutants.of_stores import OF_STORES
from tests.mutants.of_transitions import OF_TRANSITIONS

ROOT = Path(__file__).parents[2]
ALL = (*OF_FINISHING, *OF_TRANSITIONS, *OF_STORES, *OF_SQL_FUNCTIONS, *OF_DATABASES, *OF_COMMANDS, *OF_HOSTS, *OF_AI)


@dataclass(frozen=True, slots=True)
class Case:
    file: str
    test: str
    mutant: Mutant

    def is_named(self, words: Sequence[str]) -> bool:
        return not words or any(word in f"{self.file} {self.mutant.guard}" for word in words)


def _cases() -> Iterator[Case]:
    for group in ALL:
        for mutant in group.mutants:
            test = mutant.test if mutant.test.startswith("tests/") else f"{group.tests}::{mutant.test}"
            yield Case(group.file, test.removesuffix("::"), mutant)


CASES = tuple(_cases())
