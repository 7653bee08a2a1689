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

from tests.mutants.cases import CASES, ROOT, Case

COPIED = ("engine", "functions", "tests", "pyproject.toml")
AT_ONCE = 2


class DoesNotFit(Exception):
    """The guard's text is not in its file any more; the mutant must be written anew."""


def main(words: Sequence[str]) -> int:
    began = time.monotonic()
    cases = [case for case in CASES if case.is_named(words)]
    with _tree() as tree:
        outcome, report = _run(tree, sorted({case.test for case in cases}))
    if outcome != "passed":
        print(f"the tests fail without any mutant\n{report}")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(_verdict, cases))
    print(f"\n{verdicts.count('killed')} of {len(cases)} mutants killed in {time.monotonic() - began:.0f} s")
    return 0 if set(verdicts) == {"killed"} else 1


def _verdict(case: Case) -> str:
    with _tree() as tree:
        try:
            _apply(case, tree)
        except DoesNotFit:
            verdict = "DOES NOT FIT"
        else:
            outcome, _ = _run(tree, [case.test], case.mutant.only)
            verdict = {"passed": "SURVIVED", "failed": "killed"}.get(outcome, "BROKEN")
    print(f"{verdict:14} {case.mutant.guard:66} {case.test.rpartition('::')[2]}", flush=True)
    return verdict


@contextmanager
def _tree() -> Iterator[Path]:
    """A copy of all that is patched or run."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name))
            else:
                shutil.copy(source, Path(folder, name))
        yield Path(folder)


def _apply(case: Case, tree: Path) -> None:
    path, mutant = tree / case.file, case.mutant
    text = path.read_text() if path.exists() else ""
    if mutant.old not in text:
        raise DoesNotFit
    path.write_text(text.replace(mutant.old, mutant.new, 1))
    # Its byte code may be as old as the patch, to the second.
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _run(tree: Path, tests: list[str], only: str = "") -> tuple[str, str]:
    """A test that fails is what a mutant needs; one that cannot be set up, collected or found shows nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests, *(["-k", only] if only else [])],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
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
