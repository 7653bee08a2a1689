"""Byte-compiling modules for the place they have on Lambda, which cannot write there, to the same bytes every time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TASK_ROOT = "/var/task"
PYTHON_TAG = "cpython-313"
SHARES = 4
"""How many processes compile, each a fixed share: what a process compiled before shows in what it writes."""


def compile_modules(folder: Path) -> None:
    """Compiles every module below a folder. Raises `CalledProcessError` when one cannot be compiled."""
    modules = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
    with ThreadPoolExecutor(SHARES) as pool:
        list(pool.map(lambda share: _compile(folder, share), [modules[n::SHARES] for n in range(SHARES)]))


def _compile(folder: Path, modules: list[str]) -> None:
    # The hash of the source in a .pyc is never compared on Lambda: nothing changes there, and reading costs.
    options = ["-q", "-f", "-p", TASK_ROOT, "-i", "-", "--invalidation-mode", "unchecked-hash"]
    subprocess.run(
        [sys.executable, "-S", "-P", "-W", "ignore", "-m", "compileall", *options],
        input="\n".join(modules),
        text=True,
        check=True,
        cwd=folder,
        env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
    )
