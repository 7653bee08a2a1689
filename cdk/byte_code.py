"""Byte-compiles modules for their paths on Lambda, reproducibly."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TASK_ROOT = "/var/task"
PYTHON_TAG = "cpython-313"
SHARES = 4
"""The number of compiling processes. Each gets a fixed share: earlier modules of a process affect its output."""


def compile_modules(folder: Path) -> None:
    """Compiles every module below a folder. Raises `CalledProcessError` when one cannot be compiled."""
    modules = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
    with ThreadPoolExecutor(SHARES) as pool:
        list(pool.map(lambda share: _compile(folder, share), [modules[n::SHARES] for n in range(SHARES)]))


def _compile(folder: Path, modules: list[str]) -> None:
    # Python does not compare the source's hash on Lambda: the files cannot change there, and reading them costs time.
    options = ["-q", "-f", "-p", TASK_ROOT, "-i", "-", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(
        [sys.executable, "-S", "-P", "-W", "ignore", "-m", "compileall", *options],
        input="\n".join(modules),
        text=True,
        check=True,
        cwd=folder,
        env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
    )
