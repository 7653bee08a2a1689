"""The modules that a function loads before its first event, tested on its bundle."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # a fresh clone downloads and compiles the packages first

LOADED = {
    "annotated_types",
    "aws_lambda_powertools",
    "botocore",
    "engine",
    "functions",
    "jmespath",
    "opentelemetry",
    "pydantic",
    "pydantic_core",
    "sqlalchemy",
    "typing_extensions",
    "typing_inspection",
}

PROBE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
before, begun = set(sys.modules), time.perf_counter()
__import__(sys.argv[2])
seconds = time.perf_counter() - begun
loaded = {name: getattr(sys.modules[name], "__cached__", None) for name in set(sys.modules) - before}
print(json.dumps([seconds, loaded]))
"""


@dataclass(frozen=True, slots=True)
class Import:
    """`compiled` by module: the byte-compiled file it came from, if any."""

    seconds: float
    compiled: dict[str, str | None]

    @property
    def packages(self) -> set[str]:
        """Without the standard library's, and what Cython and sysconfig make at run time."""
        roots = {name.partition(".")[0] for name in self.compiled}
        return {
            root for root in roots - sys.stdlib_module_names if not root.startswith("_") and root != "cython_runtime"
        }


def imported(bundle: Path, module: str) -> Import:
    command = [sys.executable, "-S", "-P", "-c", PROBE, str(bundle), module]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=bundle, env={})
    assert done.returncode == 0, done.stderr
    return Import(*json.loads(done.stdout))


@pytest.mark.parametrize("function", ["jobs", "maintenance"])
def test_exactly_these_packages_are_loaded(control_bundle: Path, function: str) -> None:
    """No litellm, CDK or emulator, nothing of the console (typer, rich), no alembic, and of pypdf nothing yet."""
    assert imported(control_bundle, f"functions.{function}").packages == LOADED


def test_the_migration_loads_alembic_besides(control_bundle: Path) -> None:
    assert imported(control_bundle, "functions.migrate").packages == LOADED | {"alembic", "mako", "markupsafe"}


def test_the_console_and_workflows_are_not_loaded(control_bundle: Path) -> None:
    modules = imported(control_bundle, "functions.jobs").compiled
    assert [
        name for name in modules if name.startswith(("engine.cli", "engine.localcloud", "functions.workflows"))
    ] == []


def test_every_module_comes_byte_compiled(control_bundle: Path) -> None:
    modules = imported(control_bundle, "functions.jobs").compiled.values()
    missing = [each for each in modules if each and each.startswith(str(control_bundle)) and not Path(each).exists()]
    assert missing == []


def test_what_the_import_costs_is_told(control_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tries = [imported(control_bundle, "functions.jobs") for _ in range(3)]
    with capsys.disabled():
        best = min(each.seconds for each in tries) * 1000
        sys.stdout.write(f"\nimporting functions.jobs: {best:.0f} ms, {len(tries[0].compiled)} modules (best of 3)\n")
