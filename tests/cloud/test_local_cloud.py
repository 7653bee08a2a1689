"""The users' local cloud: real handlers from the queues to the bus, and nothing left afterwards."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.cli.exit_codes import ExitCode
from engine.domain.lifecycle import RunStatus
from engine.localcloud.cloud import LocalCloud
from engine.localcloud.running import announced, connect
from tests.cloud.deployment import ROOT, assert_completed_once, ended, started
from tests.support.waiting import until

pytestmark = pytest.mark.postgres

REGISTRY = {"ENGINE_REGISTRY": "tests.cloud.workflows:WORKFLOWS", "ENGINE_CODE": str(ROOT)}

ENGINE = (sys.executable, "-c", "import sys; from engine.cli.main import main; sys.exit(main())")
SAMPLE = ROOT / "events" / "sample.md"


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud(more=REGISTRY) as running:
        yield running


def seen(cloud: LocalCloud, run_id: str) -> list[dict[str, Any]]:
    """Receives a run's events from the queue with a copy of every event on the bus."""
    answer = cloud.clients("sqs").receive_message(QueueUrl=cloud.resources.seen.url, MaxNumberOfMessages=10)
    events = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
    return [
        each for each in events if each["detail"].get("workflow_run_id", each["detail"].get("workflowRunId")) == run_id
    ]


def test_a_run_goes_from_queue_to_handler_to_database_bucket_and_bus(cloud: LocalCloud) -> None:
    with connect(cloud.environment) as engine:
        run_id = started(engine, "suspending", {"text": "hello"})
        until(ended(engine, run_id), "the run has ended", seconds=60)
        assert_completed_once(engine, run_id)
        written = [each.event_type for each in engine.kernel.reads.events(run_id)]
        assert "stage:suspended" in written
        arrived: list[dict[str, Any]] = []

        def all_arrived() -> bool:
            arrived.extend(seen(cloud, run_id))
            return len(arrived) >= len(written)

        until(all_arrived, "every event is on the bus")
        assert [each["detail-type"] for each in sorted(arrived, key=lambda e: e["detail"]["sequence"])] == written
        (artifact,) = engine.kernel.reads.artifacts(run_id)
    stored = cloud.clients("s3").get_object(Bucket=cloud.resources.bucket, Key=artifact.blob_key)
    assert stored["Body"].read() == b"# done\n"


def test_maintenance_takes_commands_and_reads_when_invoked_directly(cloud: LocalCloud) -> None:
    command = {"type": "run.create", "workflow_id": "one", "input": {}, "start": True}
    created = cloud.invoke("maintenance", command)["result"]
    with connect(cloud.environment) as engine:
        until(ended(engine, created["workflow_run_id"]), "the run has ended")
    found = cloud.invoke("maintenance", {"read": "runs.get", "run_id": created["workflow_run_id"]})["result"]
    assert found["run"]["status"] == RunStatus.COMPLETED


def runs_of_local(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    return subprocess.run(
        [*ENGINE, "--home", home, *words, "--stack", "local"],
        env=environment | REGISTRY,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_cloud_of_a_home_is_looked_into_as_a_stack_called_local(cloud: LocalCloud, tmp_path: Path) -> None:
    with announced(tmp_path, cloud.environment):
        ran = runs_of_local(tmp_path, "run", "one", "--input", "{}")
        assert ran.returncode == 0, ran.stderr
        hint = next(line.split() for line in ran.stdout.splitlines() if " runs show " in line)
        assert hint[:5] == ["engine", "--home", str(tmp_path), "--stack", "local"]
        shown = runs_of_local(tmp_path, "-o", "json", "runs", "show", hint[-1])
        assert json.loads(shown.stdout)["status"] == "COMPLETED"
    gone = runs_of_local(tmp_path, "runs", "list")
    assert gone.returncode == ExitCode.NOT_REACHABLE
    assert "no local cloud runs for" in gone.stderr
    assert "engine dev --cloud" in gone.stderr


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder that the database server's user can enter, unlike pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def engine_in(tmp_path: Path, temporary: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    return subprocess.run(
        [*ENGINE, "--home", tmp_path, "-o", "json", "run", "--cloud", *words],
        env=environment | {"TMPDIR": str(temporary)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_functions_of_the_cloud_ask_models_that_are_made_up_here(temporary: Path, tmp_path: Path) -> None:
    ran = engine_in(tmp_path, temporary, "--fake-ai", "support-triage")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert {stage["stage_id"] for stage in document["stages"] if stage["total_cost"]} == {
        "classify",
        "draft",
        "cluster",
        "long-tail",
    }
    assert list(tmp_path.iterdir()) == []


def test_one_command_runs_a_document_through_the_cloud_and_leaves_nothing_behind(
    temporary: Path, tmp_path: Path
) -> None:
    ran = engine_in(tmp_path, temporary, "document-analysis", "--input", SAMPLE)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["status"] == "COMPLETED"
    assert "15 events on the bus" in ran.stderr
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    assert str(temporary) not in subprocess.check_output(["ps", "-A", "-o", "args"], text=True)
