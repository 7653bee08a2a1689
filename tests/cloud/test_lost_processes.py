"""Functions in processes of their own that time out, get SIGTERM, or are killed."""

import logging
import os
import signal
import time
from pathlib import Path

import pytest

import engine.bootstrap.aws
from tests.cloud.deployment import SHORT_MARGINS, Deployment, assert_completed_once, ended, event_types, started
from tests.support.waiting import until

pytestmark = pytest.mark.postgres

logger = logging.getLogger(__name__)


@pytest.fixture
def timeout() -> float:
    return 8.0


@pytest.fixture(autouse=True)
def short_margins(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment.handlers = SHORT_MARGINS
    for name in ("LEASE_MARGIN", "TIME_RESERVE"):
        monkeypatch.setattr(engine.bootstrap.aws, name, 1.0)


def begun(folder: Path, name: str) -> int:
    """Waits for the start of the attempt, `stage-attempt`, and gives its process."""
    mark = folder / name
    until(lambda: mark.exists() and mark.read_text(), f"{name} has begun")
    return int(mark.read_text())


def test_a_body_out_of_time_fails_with_stage_timeout_and_its_retry_completes_the_run(
    deployment: Deployment, tmp_path: Path
) -> None:
    with deployment.engine() as ours, deployment.at_work():
        run_id = started(ours, "overrun", {"folder": str(tmp_path)})
        first = begun(tmp_path, "a-1")
        until(ended(ours, run_id), "the retry has completed the run")
        assert_completed_once(ours, run_id)
        (failed,) = [e for e in ours.kernel.reads.events(run_id) if e.event_type == "stage:failed"]
        assert failed.payload["error_code"] == "STAGE_TIMEOUT"
        assert failed.payload["will_retry"]
        assert begun(tmp_path, "a-2") != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


def test_a_stopped_function_releases_its_job_within_seconds(deployment: Deployment, tmp_path: Path) -> None:
    with deployment.engine() as ours, deployment.at_work():
        run_id = started(ours, "interrupted", {"folder": str(tmp_path)})
        first = begun(tmp_path, "a-1")
        (tmp_path / "a-handed-back").touch()
        os.kill(first, signal.SIGTERM)
        took = until(ended(ours, run_id), "another function has completed the run")
        assert took < 20.0
        assert_completed_once(ours, run_id)
        (job,) = ours.kernel.reads.run(run_id).jobs
        assert (job.attempt, job.max_attempts) == (2, 4), "handing back is no failed attempt"


def test_a_function_killed_in_a_continued_stage_is_missed_by_the_message_it_had(
    deployment: Deployment, tmp_path: Path
) -> None:
    """No sweep: the first stage's notification comes back after the lease, finds nothing and reconciles the run."""
    with deployment.engine() as ours, deployment.at_work(concurrency=1):
        until(ended(ours, started(ours, "one")), "the function is warm")
        run_id = started(ours, "continued", {"folder": str(tmp_path)})
        victim = begun(tmp_path, "b-1")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        until(ended(ours, run_id), "the run has completed without the sweep")
        logger.info("completed %.1f s after the kill", time.monotonic() - killed)
        assert_completed_once(ours, run_id)
        assert event_types(ours, run_id).count("stage:started") == 3
    ghosts = [line for line in deployment.log("jobs").splitlines() if '"outcome":"ghost"' in line]
    assert len(ghosts) == 1
    assert '"stage_id":"a"' in ghosts[0]
