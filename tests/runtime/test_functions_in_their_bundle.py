"""The built bundle under AWS's own runtime client: imports, packaging and handler signatures, as Lambda loads them."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.deployment import JOBS, MAINTENANCE, MIGRATE, TEST_WORKFLOWS, Deployment, create_run, read_run
from tests.support.runtime_api import Answer, LambdaFunction

pytestmark = pytest.mark.timeout(600)  # a fresh clone downloads and compiles the packages first

TEXT = "The tide turns at noon. A turbine turns with the tide. At slack water the turbine rests."


def outcomes(answers: list[Answer]) -> list[Any]:
    return [record["outcome"] for answer in answers for record in answer.records if "outcome" in record]


def test_the_migration_can_be_repeated_and_says_where_the_database_is(deployment: Deployment) -> None:
    first, second = deployment.migrate(), deployment.migrate()
    assert first.ok
    assert first.payload == second.payload
    assert set(first.payload) == {"revision"}


def test_a_run_of_two_stages_is_created_worked_on_and_read(deployment: Deployment) -> None:
    with (
        deployment.function(MAINTENANCE, TEST_WORKFLOWS) as maintenance,
        deployment.function(JOBS, TEST_WORKFLOWS) as jobs,
    ):
        run_id = create_run(maintenance, "greeting", {"name": "ida"})
        answers = deployment.work(jobs)
        run = read_run(maintenance, run_id)
    assert [answer.payload for answer in answers] == [{"batchItemFailures": []}] * len(answers)
    assert outcomes(answers) == ["completed"]
    assert (run["status"], run["output"]) == ("COMPLETED", {"text": "HELLO IDA"})


def test_the_document_analysis_of_the_bundle_runs_to_its_end(
    deployment: Deployment, maintenance: LambdaFunction
) -> None:
    with deployment.function(JOBS) as jobs:
        run_id = create_run(maintenance, "document-analysis", {"content": TEXT, "name": "tides.txt"})
        answers = deployment.work(jobs)
        run = read_run(maintenance, run_id)
    assert all(answer.ok for answer in answers), jobs.log
    assert run["status"] == "COMPLETED"
    assert "failed" not in outcomes(answers)


def test_a_sandbox_killed_in_the_middle_of_a_stage_leaves_the_run_to_others(
    deployment: Deployment, maintenance: LambdaFunction, tmp_path: Path
) -> None:
    with deployment.function(JOBS, TEST_WORKFLOWS) as jobs:
        run_id, answer = interrupted(deployment, jobs, tmp_path / "up", jobs.kill)
    assert answer.error_message == "Runtime exited with error: signal: SIGKILL"
    assert read_run(maintenance, run_id)["status"] == "RUNNING"


def test_a_stopped_sandbox_releases_its_lease(
    deployment: Deployment, maintenance: LambdaFunction, tmp_path: Path
) -> None:
    with deployment.function(JOBS, TEST_WORKFLOWS) as jobs:
        run_id, answer = interrupted(deployment, jobs, tmp_path / "up", lambda: jobs.shut_down(grace=5))
        (tmp_path / "up").touch()
        answers = deployment.work(jobs)
        assert jobs.starts == 2
    assert answer.error_type == "Runtime.ExitError"
    assert "completed" in outcomes(answers)
    assert read_run(maintenance, run_id)["status"] == "COMPLETED"


def interrupted(deployment: Deployment, jobs: LambdaFunction, until: Path, interrupt: Any) -> tuple[str, Answer]:
    """A run, and how its first delivery was answered: the sandbox was interrupted while the stage napped."""
    with deployment.function(MAINTENANCE, TEST_WORKFLOWS) as maintenance:
        run_id = create_run(maintenance, "napping", {"until": str(until)})
    event = deployment.next_job_event()
    assert event
    future = jobs.invoke_in_background(event)
    end = time.monotonic() + 30
    while not until.with_suffix(".begun").exists():
        assert time.monotonic() < end, jobs.log
        time.sleep(0.02)
    interrupt()
    return run_id, future.result(30)


@pytest.mark.parametrize("handler", [JOBS, MAINTENANCE, MIGRATE])
def test_an_unknown_variable_is_named(control_bundle: Path, handler: str) -> None:
    with LambdaFunction(control_bundle, handler, {"ENGINE_REGISTY": "x:y"}) as function:
        answer = function.invoke({"Records": []})
    assert answer.error_type == "SettingsError"
    assert "ENGINE_REGISTY: no such setting" in str(answer.error_message)


@pytest.mark.parametrize("handler", [JOBS, MAINTENANCE, MIGRATE])
def test_missing_variables_are_named(control_bundle: Path, handler: str) -> None:
    with LambdaFunction(control_bundle, handler, {"ENGINE_PROFILE": "aws", "ENGINE_BUCKET": "b"}) as function:
        answer = function.invoke({"Records": []})
    assert answer.error_type == "SettingsError"
    assert "DATABASE_URL, ENGINE_POOLS, ENGINE_EVENT_BUS" in str(answer.error_message)


def test_no_function_writes_into_its_bundle(control_bundle: Path, deployment: Deployment) -> None:
    """On Lambda it could not; it would do so here if anything were not compiled."""
    before = set(control_bundle.rglob("*"))
    with deployment.function(MAINTENANCE) as maintenance:
        maintenance.invoke({"read": "runs.list"})
    assert set(control_bundle.rglob("*")) == before
