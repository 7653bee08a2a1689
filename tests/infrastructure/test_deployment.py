"""The real command line, the real stacks, the real bundle: two clones of what is committed, one of them deployed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cdk.local import Cloud, deploy, destroy
from engine.localcloud.emulator import Emulator
from tests.infrastructure.synthesis import EXTERNAL, ROOT
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(400)
TOOLS = (".tools", ".venv-cdk")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cloned(tmp_path_factory.mktemp("first") / "checkout")


@pytest.fixture(scope="module")
def cloud(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    output = tmp_path_factory.mktemp("deployed") / "cdk.out"
    with Emulator() as emulator, PostgresServer() as database:
        url = database.create_database("deployed").replace("+pg8000", "")
        cloud = Cloud(emulator.url, url, os.getpid(), clone)
        deploy(cloud, output)
        yield cloud
        destroy(cloud, output)


def cloned(target: Path, source: Path = ROOT) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(source), str(target)], check=True)
    for tool in TOOLS:
        (target / tool).symlink_to(ROOT / tool)
    return target


def engine(cloud: Cloud, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from engine.cli.main import main; sys.exit(main())", *words],
        env=os.environ | cloud.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_goes_through_the_deployed_queue_and_functions(cloud: Cloud) -> None:
    stack = ("--stack", "engine-local-app", "-o", "json")
    given = '{"content": "To be, or not to be, that is the question."}'
    done = engine(cloud, "run", "document-analysis", "--input", given, "--timeout", "90s", *stack)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["output"]["statistics"]["words"] == 10
    (listed,) = json.loads(engine(cloud, "runs", "list", *stack).stdout)["runs"]
    assert (listed["status"], listed["workflow_id"]) == ("COMPLETED", "document-analysis")
    shown = json.loads(engine(cloud, "runs", "show", listed["run_id"][:20], *stack).stdout)
    assert shown["input"]["content"].startswith("To be")
    events = json.loads(engine(cloud, "runs", "events", listed["run_id"], *stack).stdout)
    assert len(events) > 4
    assert engine(cloud, "runs", "show", "nothing", *stack).returncode == 2


def test_a_second_deployment_changes_nothing(cloud: Cloud, tmp_path: Path) -> None:
    words = ("deploy", "--all", "--require-approval", "never")
    said = cloud.cdk(*words, output=tmp_path / "cdk.out", stdout=subprocess.PIPE).stdout
    assert said.count("(no changes)") == 2, said


def test_two_clones_give_the_same_assets(clone: Path, tmp_path: Path) -> None:
    here = asset_hashes(clone, tmp_path / "here", {"TZ": "UTC", "PYTHONHASHSEED": "1"}, umask=0o022)
    elsewhere = cloned(tmp_path / "quite" / "another" / "folder", clone)
    other = {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "2", "HOME": str(tmp_path)}
    assert asset_hashes(elsewhere, tmp_path / "there", other, umask=0o077) == here
    assert len(here) == 3


def asset_hashes(checkout: Path, output: Path, more: Mapping[str, str], *, umask: int) -> set[str]:
    """Of the bundle and both templates."""
    context = json.loads((checkout / "cdk.json").read_text())["context"] | EXTERNAL | {"environment": "local"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(
        [str(checkout / ".venv-cdk/bin/python"), "-m", "cdk"],
        cwd=checkout,
        env=inherited | {"CDK_OUTDIR": str(output), "CDK_CONTEXT_JSON": json.dumps(context)} | dict(more),
        umask=umask,
        check=True,
        capture_output=True,
    )
    manifests = [json.loads(path.read_text()) for path in output.glob("*.assets.json")]
    return {name for manifest in manifests for name in manifest["files"]}
