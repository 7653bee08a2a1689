"""Shows that the tests guard what they claim to: takes each guard away in a copy of the tree, and a test must fail.

Run by `make mutants`; words name the mutants to run, by parts of their guard or file. Ends with 1 when a mutant
survives, or when a patch does not fit the source any more.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.cases import CASES, ROOT, Case

COPIED = ("engine", "functions", "tests", "pyproject.toml")
AT_ONCE = 2
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout")


class DoesNotFit(Exception):
    """The guard's text is not in its file any more; the mutant must be written anew."""


def main(words: Sequence[str]) -> int:
    began = time.monotonic()
    cases = [case for case in CASES if case.is_named(words)]
    trees: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            trees.put(_copied(Path(folder, str(number))))
        outcome, report = _run(_copied(Path(folder, "whole")), sorted({case.test for case in cases}))
        if outcome != "passed":
            print(f"the tests fail without any mutant\n{report}")
            return 1
        verdicts = list(pool.map(lambda case: _verdict(case, trees), cases))
    print(f"\n{verdicts.count('killed')} of {len(cases)} mutants killed in {time.monotonic() - began:.0f} s")
    return 0 if set(verdicts) == {"killed"} else 1


def _copied(tree: Path) -> Path:
    """A copy of all that is patched or run: nothing is ever patched in place."""
    tree.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name)
        else:
            shutil.copy(source, tree / name)
    return tree


def _verdict(case: Case, trees: SimpleQueue[Path]) -> str:
    tree = trees.get()
    try:
        with _applied(case, tree / case.file):
            outcome, _ = _run(tree, [case.test], case.mutant.only)
        verdict = {"passed": "SURVIVED", "failed": "killed"}.get(outcome, "BROKEN")
    except DoesNotFit:
        verdict = "DOES NOT FIT"
    finally:
        trees.put(tree)
    print(f"{verdict:14} {case.mutant.guard:66} {case.test.rpartition('::')[2]}", flush=True)
    return verdict


@contextmanager
def _applied(case: Case, path: Path) -> Iterator[None]:
    text = path.read_text() if path.exists() else ""
    if case.mutant.old not in text:
        raise DoesNotFit
    try:
        _write(path, text.replace(case.mutant.old, case.mutant.new, 1))
        yield
    finally:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    # Its byte code may be as old as the patch, to the second.
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _run(tree: Path, tests: list[str], only: str = "") -> tuple[str, str]:
    """A test that fails is what a mutant needs; one that cannot be set up, collected or found shows nothing."""
    done = subprocess.run(
        [*PYTEST, *tests, *(["-k", only] if only else [])],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode == 0 and " passed" in f" {last}":
        return "passed", done.stdout
    return "failed" if re.search(r"\b\d+ failed", last) else "broken", done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
