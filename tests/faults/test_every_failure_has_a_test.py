"""docs/failures.md and the `failure` marks of the tests name the same tests."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \|(.+)\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


def listed() -> dict[int, set[str]]:
    rows = ROW.findall((ROOT / "docs" / "failures.md").read_text())
    return {int(number): set(TEST.findall(row)) for number, row in rows}


def marked() -> dict[int, set[str]]:
    found = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for number in _failures_of(node):
                    found[number].add(f"{path.relative_to(ROOT)}::{node.name}")
    return dict(found)


def _failures_of(test: ast.FunctionDef) -> Iterator[int]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.failure":
            (number,) = decorator.args
            yield ast.literal_eval(number)


def test_every_failure_in_the_list_has_a_test() -> None:
    assert [number for number, tests in listed().items() if not tests] == []


def test_the_list_names_the_marked_tests_and_no_others() -> None:
    assert listed() == marked()
