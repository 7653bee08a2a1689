"""The list of failures seen in other engines (docs of the project, `bugs.md`) and the tests that provoke them."""

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
CONCERNS_KERNEL_AND_STORES = {*range(1, 24), 25, 26, 27}


def named_by_bug() -> dict[int, list[str]]:
    """Number in the list → tests whose docstring begins with it."""
    found = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                match = re.match(r"bugs\.md (\d+)", ast.get_docstring(node) or "")
                if match:
                    found[int(match.group(1))].append(f"{path.relative_to(TESTS)}::{node.name}")
    return dict(found)


def test_every_failure_we_know_of_is_provoked_by_a_test() -> None:
    assert CONCERNS_KERNEL_AND_STORES - named_by_bug().keys() == set()
