"""The worker that an embedded engine offers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.bootstrap.embedded import open_engine
from engine.domain.records import JobRecord
from engine.hosts import HostOptions
from engine.kernel import RunCreate
from engine.settings import Settings
from tests.processes.engine_process import ROOT, wait_until


def test_its_options_are_those_given(tmp_path: Path) -> None:
    settings = Settings.from_env({}, home=tmp_path, registry="tests.cli.pipelines:WORKFLOWS", code=ROOT)
    gate = tmp_path / "gate"
    with open_engine(settings) as engine, engine.worker(options=HostOptions(lease=4000)):
        create = RunCreate(workflow_id="waiting", input={"path": str(gate)}, start=True)
        run_id = engine.kernel.dispatch(create).workflow_run_id

        def job() -> JobRecord:
            return engine.kernel.reads.run(run_id).jobs[0]

        try:
            wait_until(lambda: job().lease_until is not None, "the claim of the job")
            until = job().lease_until
        finally:
            gate.touch()
    assert until is not None
    assert until - datetime.now(UTC) > timedelta(seconds=3000)
