"""The bundles as they come out: what is in them, and that they come out the same."""

import hashlib
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk.bundling import AI, CONTROL, ROOT, UNPACKED_LIMIT, Architecture, build, contents, installed
from cdk.byte_code import TASK_ROOT

pytestmark = pytest.mark.timeout(900)  # a fresh clone downloads and compiles the packages first

BUILD = "import sys; sys.path.append(sys.argv.pop(1)); from cdk.bundling import main; main()"
LITELLM = """
import sys
sys.path.insert(0, sys.argv[1])
import litellm
answer = litellm.completion(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], mock_response="well")
print(answer.choices[0].message.content, litellm.token_counter(model="gpt-4o", text="hello there"))
print(litellm.completion_cost(answer) > 0)
"""


@pytest.fixture(scope="module", params=Architecture)
def control(request: pytest.FixtureRequest) -> Iterator[zipfile.ZipFile]:
    """Building it checked the ELF machine of every binary and the tags of every wheel."""
    with zipfile.ZipFile(build(CONTROL, request.param, untracked=True).path) as archive:
        yield archive


def test_the_control_plane_holds_the_functions_and_all_they_read(control: zipfile.ZipFile) -> None:
    names = set(control.namelist())
    assert {"functions/jobs.py", "functions/maintenance.py", "functions/migrate.py", "engine/settings.py"} <= names
    assert "engine/adapters/sql/functions/engine_write_v1.sql" in names
    assert "engine/adapters/sql/migrations/script.py.mako" in names


def test_what_lambda_does_not_need_is_left_out(control: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in control.namelist()}
    assert not top & {"litellm", "aws_cdk", "moto", "rich", "typer", "psycopg", "bin", "tests"}
    assert [name for name in control.namelist() if name.startswith(("engine/cli/", "engine/localcloud/"))] == []
    assert [
        name for name in control.namelist() if name.endswith((".pyi", "RECORD", "WHEEL")) or "/tests/" in name
    ] == []


def test_every_module_has_its_byte_code_which_is_never_compared(control: zipfile.ZipFile) -> None:
    names = set(control.namelist())
    modules = [name for name in names if name.endswith(".py")]
    compiled = [f"{folder}__pycache__/{stem}.cpython-313.pyc" for folder, stem in map(_parts, modules)]
    assert set(compiled) <= names
    headers = {control.read(name)[4:8] for name in compiled}
    assert headers == {(0b01).to_bytes(4, "little")}


def _parts(name: str) -> tuple[str, str]:
    folder, slash, file = name.rpartition("/")
    return folder + slash, file.removesuffix(".py")


def test_byte_code_names_the_place_it_has_on_lambda(control: zipfile.ZipFile) -> None:
    code = control.read("functions/__pycache__/jobs.cpython-313.pyc")
    assert f"{TASK_ROOT}/functions/jobs.py".encode() in code
    assert str(ROOT).encode() not in code


def test_entries_are_sorted_dated_1980_and_readable_by_all(control: zipfile.ZipFile) -> None:
    entries = control.infolist()
    assert [each.filename for each in entries] == sorted(each.filename for each in entries)
    assert {each.date_time for each in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {stat.filemode(each.external_attr >> 16) for each in entries} == {"-rw-r--r--"}


def test_only_services_the_sources_name_are_described(control: zipfile.ZipFile) -> None:
    prefix = "botocore/data/"
    described = {name.removeprefix(prefix).partition("/")[0] for name in control.namelist() if name.startswith(prefix)}
    assert {"sqs", "s3", "events", "scheduler", "secretsmanager", "rds", "sts", "endpoints.json"} <= described
    assert len(described) < 40


def test_the_ai_bundle_fits() -> None:
    with contents(AI, Architecture.X86_64, root=ROOT, build_folder=ROOT / "build", untracked=True) as entries:
        assert {"litellm/main.py", "functions/jobs.py", "engine/settings.py"} <= set(entries)
        assert sum(path.stat().st_size for path in entries.values()) < UNPACKED_LIMIT


def test_what_is_left_of_litellm_works(tmp_path: Path) -> None:
    packages = installed(AI, Architecture.X86_64, root=ROOT, cache=ROOT / "build" / "packages")
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", LITELLM, str(packages)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.splitlines() == ["well 2", "True"], done.stderr


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """Built twice, by processes that differ in all that should not matter, from nothing but a clone."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    first = digest(clone, tmp_path / "first", TZ="Pacific/Auckland", PYTHONHASHSEED="1", umask=0o022)
    second = digest(clone, tmp_path / "2", TZ="America/Lima", PYTHONHASHSEED="2", umask=0o077, LC_ALL="C")
    assert first == second


def digest(clone: Path, home: Path, *, umask: int, **environment: str) -> str:
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "SSL_CERT_FILE", "UV_CACHE_DIR"}}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(ROOT), "control-arm64", "--root", str(clone), "--build", str(home / "build")],
        check=True,
        capture_output=True,
        cwd=home,
        env={**kept, "HOME": str(home), **environment},
        umask=umask,
    )
    return hashlib.sha256((home / "build" / "bundles" / "control-arm64.zip").read_bytes()).hexdigest()
