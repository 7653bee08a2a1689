"""The real command line, the real stacks, the real bundle: two clones of what is committed, one of them deployed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pg8000.native
import pytest

from cdk.local import Cloud, deploy, destroy
from engine.adapters.aws.clients import AwsClients
from engine.localcloud.emulator import CREDENTIALS, REGION, Emulator
from tests.infrastructure.synthesis import EXTERNAL, ROOT
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(400)
TOOLS = (".tools", ".venv-cdk")
STACKS = ("engine-local-data", "engine-local-app")
VERSIONS = "engine/adapters/sql/migrations/versions"
BROKEN_MIGRATION = """
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade() -> None:
    op.execute("CREATE TABLE half_done (id int)")
    op.execute("SELECT 1 / 0")
"""


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


def clients(cloud: Cloud) -> AwsClients:
    return AwsClients(region=REGION, endpoint=cloud.endpoint, credentials=CREDENTIALS)


def engine(cloud: Cloud, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from engine.cli.main import main; sys.exit(main())", *words],
        env=os.environ | cloud.environment | {"PYTHONPATH": str(cloud.checkout)},
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


def test_a_second_deployment_has_empty_change_sets(cloud: Cloud, tmp_path: Path) -> None:
    for changes in change_sets(cloud, tmp_path):
        assert changes["Changes"] == []
        assert str(changes["StatusReason"]).startswith("The submitted information didn't contain changes.")


def test_change_sets_name_what_a_changed_setting_changes(cloud: Cloud, tmp_path: Path) -> None:
    data, app = change_sets(cloud, tmp_path, "-c", "engine:log_days=7")
    assert data["Changes"] == []
    named = {each["ResourceChange"]["LogicalResourceId"] for each in app["Changes"]}
    assert named >= {"MigrateLogDCDCD28A", "MaintenanceLog7A6D51B2", "JobsdefaultLog4E98FF54"}


def change_sets(cloud: Cloud, folder: Path, *context: str) -> list[Mapping[str, Any]]:
    """CloudFormation's changes to the two stacks for a deployment of the same checkout."""
    words = ("deploy", "--all", "--force", "--method", "prepare-change-set", "--change-set-name", "again", *context)
    cloud.cdk(*words, output=folder / "cdk.out", stdout=subprocess.PIPE)
    describe = clients(cloud)("cloudformation").describe_change_set
    return [describe(StackName=stack, ChangeSetName="again") for stack in STACKS]


def test_a_migration_that_fails_fails_the_deployment_and_leaves_everything_as_it_was(
    cloud: Cloud, clone: Path, tmp_path: Path
) -> None:
    functions, schema = deployed_code(cloud), tables(cloud)
    newer = replace(cloud, checkout=with_broken_migration(clone, tmp_path / "newer"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        newer.cdk("deploy", "--all", "--require-approval", "never", output=tmp_path / "cdk.out", stdout=subprocess.PIPE)
    assert "division by zero" in failed.value.output
    (stack,) = clients(cloud)("cloudformation").describe_stacks(StackName=STACKS[1])["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert deployed_code(cloud) == functions
    assert tables(cloud) == schema
    done = engine(cloud, "run", "document-analysis", "--input", '{"content": "Still here."}', "--stack", STACKS[1])
    assert done.returncode == 0, done.stderr


def test_destroying_leaves_data_until_the_config_lets_go_of_it(cloud: Cloud, tmp_path: Path) -> None:
    def cdk(*words: str, keep: str) -> None:
        context = ("-c", "engine:name=kept", "-c", f"engine:keep_data={keep}")
        cloud.cdk(*words, *context, output=tmp_path / "cdk.out", stdout=subprocess.PIPE)

    deploying, destroying = ("deploy", "--all", "--require-approval", "never"), ("destroy", "--all", "--force")
    cdk(*deploying, keep="true")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        cdk(*destroying, keep="true")
    assert "cannot be deleted while TerminationProtection is enabled" in refused.value.output
    assert stacks_named(cloud, "kept-") == {"kept-data"}
    cdk(*deploying, keep="false")
    cdk(*destroying, keep="false")
    assert stacks_named(cloud, "kept-") == set()


def stacks_named(cloud: Cloud, beginning: str) -> set[str]:
    found = clients(cloud)("cloudformation").describe_stacks()["Stacks"]
    return {each["StackName"] for each in found if each["StackName"].startswith(beginning)}


def with_broken_migration(clone: Path, target: Path) -> Path:
    """A later checkout, whose migration makes a table and then fails."""
    cloned(target, clone)
    (target / VERSIONS / "v9999_broken.py").write_text(BROKEN_MIGRATION.format(head=head_revision()))
    subprocess.run(["git", "add", VERSIONS], cwd=target, check=True)
    return target


def head_revision() -> str:
    return max(path.name for path in (ROOT / VERSIONS).glob("v*.py"))[1:5]


def deployed_code(cloud: Cloud) -> dict[str, str]:
    found = clients(cloud)("lambda").list_functions()["Functions"]
    return {each["FunctionName"]: each["CodeSha256"] for each in found}


def tables(cloud: Cloud) -> list[Any]:
    """Of the deployed database, and its revision."""
    place = urlsplit(cloud.database_url)
    connection = pg8000.native.Connection(
        "postgres", host="127.0.0.1", port=place.port or 5432, database=place.path[1:], ssl_context=False
    )
    try:
        names = connection.run("SELECT relname FROM pg_class WHERE relkind IN ('r', 'i', 'S') ORDER BY relname")
        return [*names, *connection.run("SELECT version_num FROM alembic_version")]
    finally:
        connection.close()


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
