"""`engine worker`: slots in processes of their own, many workers at one database."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.domain.lifecycle import ENDED_RUNS, RunStatus, StageStatus
from engine.kernel import RunCreate
from engine.ports.reads import RunView
from engine.settings import Settings
from tests.processes.engine_process import ROOT, EngineHome, HomeReads, kill, wait_until
from tests.support.postgres import PostgresServer

RUNS = 400


@contextmanager
def workers(home: EngineHome, *arguments: str, count: int = 1) -> Iterator[None]:
    processes = [home.start("worker", *arguments) for _ in range(count)]
    # Somebody has to read what they say, or they wait for it.
    readers = [threading.Thread(target=process.communicate, daemon=True) for process in processes]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for reader in readers:
            reader.join(30)


def create(home: EngineHome, workflow_id: str, runs: int = 1) -> list[str]:
    from engine.bootstrap.embedded import open_engine

    settings = Settings.from_env(
        {}, home=home.folder / ".engine", registry=home.registry, code=ROOT, database_url=home.database_url
    )
    with open_engine(settings) as engine:
        command = RunCreate(workflow_id=workflow_id, input={"marks": str(home.folder / "marks")}, start=True)
        return [engine.kernel.dispatch(command).workflow_run_id for _ in range(runs)]


def is_alive(pid: str) -> bool:
    """False for a zombie, which nobody waits for."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def ended(reads: HomeReads, run_id: str) -> RunView:
    wait_until(lambda: reads.run(run_id).run.status in ENDED_RUNS, "the run's end")
    return reads.run(run_id)


@pytest.mark.failure(29)
@pytest.mark.timeout(300)
def test_two_workers_of_four_slots_do_each_of_four_hundred_runs_once(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    home = EngineHome(tmp_path, database_url=postgres_server.create_database())
    home.call("migrate")
    create(home, "counting", RUNS)
    with workers(home, "--slots", "4", count=2), home.reads() as reads:
        wait_until(
            lambda: all(run.status in ENDED_RUNS for run in reads.runs_of_home()), "the end of all runs", patience=240
        )
        runs = reads.runs_of_home()
        assert Counter(run.status for run in runs) == {RunStatus.COMPLETED: RUNS}
        events = Counter(
            (event.workflow_run_id, event.event_type, event.payload.get("stage_id"))
            for run in runs
            for event in reads.events(run.id)
        )
    assert set(events.values()) == {1}
    assert len(events) == RUNS * 9
    marks = Counter((home.folder / "marks").read_text().splitlines())
    assert set(marks.values()) == {1}
    assert len(marks) == RUNS * 3


@pytest.mark.failure(31)
def test_a_body_that_holds_the_interpreter_keeps_its_lease(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "hogging")
    with workers(home), home.reads() as reads:
        view = ended(reads, run_id)
    assert view.run.status is RunStatus.COMPLETED
    assert [job.attempt for job in view.jobs] == [1]


def test_a_sync_body_past_its_timeout_is_ended_and_tried_again(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "stuck")
    with workers(home), home.reads() as reads:
        view = ended(reads, run_id)
        events = reads.events(run_id)
    assert view.run.status is RunStatus.COMPLETED
    failures = [event.payload["error_code"] for event in events if event.event_type == "stage:failed"]
    assert failures == ["STAGE_TIMEOUT"]
    assert (tmp_path / "marks").read_text() == "stuck 1\nstuck 2\n"


def test_the_processes_of_a_body_past_its_timeout_are_ended_too(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "stuck")
    with workers(home), home.reads() as reads:
        ended(reads, run_id)
        pid = (tmp_path / "marks.pid").read_text()
        wait_until(lambda: not is_alive(pid), "the end of the body's process")


def test_a_body_that_kills_its_process_fails_the_run_after_its_last_attempt(tmp_path: Path) -> None:
    """A worker survives what its slots die of, and a poison job does not come back for ever."""
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "poison")
    with workers(home), home.reads() as reads:
        view = ended(reads, run_id)
        assert view.run.status is RunStatus.FAILED
        assert view.run.failure_code == "LEASE_EXPIRED"
        (after,) = create(home, "slow")
        wait_until(lambda: reads.run(after).run.status is RunStatus.COMPLETED, "another run's end")
    assert (tmp_path / "marks").read_text().startswith("died 1\ndied 2\ndied 3\n")


def test_a_stopped_worker_finishes_its_body_and_releases_the_rest(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "slow")
    with workers(home), home.reads() as reads:
        wait_until((tmp_path / "marks").exists, "the first stage's start")
    with home.reads() as reads:
        stages = {stage.stage_id: stage.status for stage in reads.run(run_id).stages}
        assert stages["first"] is StageStatus.COMPLETED
        with workers(home):
            ended(reads, run_id)
        assert [job.attempt for job in reads.run(run_id).jobs] == [1, 1, 1, 1, 1]


@pytest.mark.failure(71)
@pytest.mark.timeout(120)
def test_the_leases_of_a_killed_worker_are_released_by_the_tick_of_another(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "waiting")
    killed = home.start("worker")
    wait_until((tmp_path / "marks").exists, "the start of the body")
    with workers(home), home.reads() as reads:
        wait_until(lambda: len(list((tmp_path / ".engine").rglob("*.lock"))) == 2, "the start of another worker")
        kill(killed)
        view = ended(reads, run_id)
    assert (view.run.status, view.jobs[0].attempt) == (RunStatus.COMPLETED, 2)


@pytest.mark.failure(75)
@pytest.mark.failure(76)
def test_a_body_may_start_processes_and_fork(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    with workers(home), home.reads() as reads:
        (run_id,) = create(home, "forking")
        view = ended(reads, run_id)
        assert view.stages[0].error_message is None
        assert reads.value(view.run.output)["done"] == ["1", "4", "9"]
        events = [event.event_type for event in reads.events(run_id)]
    assert events.count("stage:completed") == 1


@pytest.mark.failure(73)
def test_a_body_survives_a_sigterm_to_all_processes_of_the_worker(tmp_path: Path) -> None:
    home = EngineHome(tmp_path)
    (run_id,) = create(home, "slow")
    worker = home.start("worker")
    wait_until((tmp_path / "marks").exists, "the first stage's start")
    threads = Path(f"/proc/{worker.pid}/task").iterdir()
    pids = {int(pid) for thread in threads for pid in (thread / "children").read_text().split()}
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    worker.terminate()
    worker.communicate()
    with home.reads() as reads:
        first = next(stage for stage in reads.run(run_id).stages if stage.stage_id == "first")
        assert first.status is StageStatus.COMPLETED
        with workers(home):
            ended(reads, run_id)
        assert {job.attempt for job in reads.run(run_id).jobs} == {1}


@pytest.mark.failure(32)
@pytest.mark.timeout(180)
def test_a_database_that_is_killed_and_comes_back_loses_no_run_of_a_worker(tmp_path: Path) -> None:
    """The server dies with jobs claimed, in commits, and between them."""
    with PostgresServer() as server:
        home = EngineHome(tmp_path, database_url=server.create_database())
        home.call("migrate")
        run_ids = create(home, "slow", 6)
        with workers(home, "--slots", "3"):
            wait_until(lambda: _lines(tmp_path / "marks") >= 5, "some work")
            server.kill()
            server.start()
            with home.reads() as reads:
                wait_until(
                    lambda: all(reads.run(run_id).run.status in ENDED_RUNS for run_id in run_ids),
                    "the end",
                    patience=120,
                )
                for run_id in run_ids:
                    assert reads.run(run_id).run.status is RunStatus.COMPLETED
                    events = Counter((e.event_type, e.payload.get("stage_id")) for e in reads.events(run_id))
                    completed = {key: count for key, count in events.items() if key[0].endswith(":completed")}
                    assert set(completed.values()) == {1}
                    assert len(completed) == 6


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0
