"""The round trips of a durable stage, counted at the driver and on the wire. ARCHITECTURE.md has the numbers."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pg8000.native
import pytest
from pydantic import BaseModel

from engine import StageContext, StageResult, Suspended, define_async_batch_stage, define_stage, define_workflow
from engine.adapters.local.in_process import InProcessJobTransport
from engine.adapters.memory.blob_store import InMemoryBlobStore
from engine.adapters.sql.migrate import migrate
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.system import SystemClock, SystemIds
from engine.definition.workflow import Workflow
from engine.hosts import HostOptions, JobReport
from engine.hosts.job_runner import JobRunner
from engine.hosts.lease_keeper import LeaseKeeper
from engine.hosts.maintenance import run_tick
from engine.kernel import Deps, Kernel, LocalExecutor, OutboxFlush, RunCancel, RunCreate
from engine.testing import CollectingEventSink, NoopScheduler
from engine.testing.kernel import Workflows
from tests.support.counting_proxy import CountingProxy
from tests.support.postgres import PostgresServer


class N(BaseModel):
    n: int = 0


def plus_one(stage_id: str) -> Any:
    def body(ctx: StageContext[N]) -> N:
        return N(n=ctx.input.n + 1)

    return define_stage(id=stage_id, name=stage_id, execute=body)


@define_async_batch_stage(id="batch", name="Batch")
def batch(ctx: StageContext[N]) -> StageResult[N] | Suspended:
    return Suspended(batch_id="b", poll_interval=60)


@batch.check_completion
def _(_state: Any, _ctx: Any) -> Any:
    raise AssertionError("never polled here")


STRAIGHT: Workflow[Any, Any] = (
    define_workflow(id="straight", name="Straight", input=N)
    .pipe(plus_one("a"))
    .pipe(plus_one("b"))
    .pipe(plus_one("c"))
    .build()
)
WIDE = define_workflow(id="wide", name="Wide", input=N).parallel([plus_one("x"), plus_one("y")]).build()
WAITING = define_workflow(id="waiting", name="Waiting", input=N).pipe(batch).build()


@dataclass
class Cost:
    statements: int
    commits: int
    round_trips: int


class Meter:
    """Counts between two looks: statements and round trips at the proxy, commits by transaction ids.

    PostgreSQL gives an id only to a transaction that writes, so the ids used are the commits that had to be flushed.
    """

    def __init__(self, proxy: CountingProxy, observer: pg8000.native.Connection) -> None:
        self._proxy, self._observer = proxy, observer
        self.restart()

    def restart(self) -> None:
        self._trips, self._statements, self._xid = self._proxy.round_trips, self._proxy.statements, self._next_xid()

    def cost(self) -> Cost:
        trips = self._proxy.round_trips - self._trips
        return Cost(self._proxy.statements - self._statements, self._next_xid() - self._xid, trips)

    def _next_xid(self) -> int:
        rows = self._observer.run("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(rows[0][0])


@dataclass
class Rig:
    kernel: Kernel
    runner: JobRunner
    meter: Meter

    def create(self, workflow_id: str = "straight") -> str:
        command = RunCreate(workflow_id=workflow_id, input={"n": 1}, start=True)
        return self.kernel.dispatch(command).workflow_run_id

    def work(self) -> JobReport:
        report = self.runner.run(pools=("default",))
        assert isinstance(report, JobReport)
        return report


@pytest.fixture(scope="module")
def quiet_server() -> Iterator[PostgresServer]:
    """Without autovacuum, which uses transaction ids too."""
    with PostgresServer(settings={"autovacuum": "off"}) as server:
        yield server


@pytest.fixture
def rig(quiet_server: PostgresServer) -> Iterator[Rig]:
    url = quiet_server.create_database()
    migrate(url)
    database = url.rsplit("/", 1)[1]
    with ExitStack() as stack:
        proxy = stack.enter_context(CountingProxy(quiet_server.port))
        persistence = SqlPersistence(f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}", pool_size=1)
        stack.callback(persistence.close)
        observer = pg8000.native.Connection("postgres", host="127.0.0.1", port=quiet_server.port, database=database)
        stack.callback(observer.close)
        kernel = _kernel(persistence)
        keeper = stack.enter_context(LeaseKeeper(kernel))
        persistence.read(lambda tx: tx.now())
        yield Rig(kernel, JobRunner(kernel, keeper, "w", HostOptions()), Meter(proxy, observer))


def _kernel(persistence: SqlPersistence) -> Kernel:
    return Kernel(
        Deps(
            persistence=persistence,
            blob_store=InMemoryBlobStore(),
            job_transport=InProcessJobTransport(),
            event_sink=CollectingEventSink(),
            scheduler=NoopScheduler(),
            clock=SystemClock(),
            registry=Workflows([STRAIGHT, WIDE, WAITING]),
            executor=LocalExecutor(),
            ids=SystemIds(),
        )
    )


def test_creating_and_starting_a_run_is_one_commit(rig: Rig) -> None:
    rig.create()
    assert rig.meter.cost() == Cost(statements=1, commits=1, round_trips=1)


@pytest.mark.failure(28)
def test_a_straight_run_of_three_stages_keeps_its_budget(rig: Rig) -> None:
    rig.create()
    assert rig.work().stages == 3
    assert rig.meter.cost() == Cost(statements=5, commits=5, round_trips=5)


def test_a_continued_stage_is_one_commit(rig: Rig) -> None:
    """Create, claim, then one commit for each of the three finishes."""
    rig.create()
    rig.work()
    assert rig.meter.cost().commits == 1 + 1 + 3


def test_a_queued_stage_is_two_commits(rig: Rig) -> None:
    rig.create("wide")
    rig.meter.restart()
    rig.work()
    assert rig.meter.cost() == Cost(statements=2, commits=2, round_trips=2)


def test_the_last_of_a_wide_group_reads_its_siblings_under_the_lock(rig: Rig) -> None:
    """The claim, then begin, a time limit and the read in one trip, the write and its commit in another."""
    rig.create("wide")
    rig.work()
    rig.meter.restart()
    rig.work()
    assert rig.meter.cost() == Cost(statements=6, commits=2, round_trips=3)


def test_a_suspending_stage_is_two_commits(rig: Rig) -> None:
    rig.create("waiting")
    rig.meter.restart()
    rig.work()
    assert rig.meter.cost() == Cost(statements=2, commits=2, round_trips=2)


def test_a_cancel_is_one_commit(rig: Rig) -> None:
    run_id = rig.create()
    rig.meter.restart()
    assert rig.kernel.dispatch(RunCancel(workflow_run_id=run_id)).cancelled
    cost = rig.meter.cost()
    assert (cost.commits, cost.round_trips) == (1, 5)  # a look at the run costs three


def test_flushing_a_run_is_two_commits(rig: Rig) -> None:
    run_id = rig.create()
    rig.work()
    rig.meter.restart()
    assert rig.kernel.dispatch(OutboxFlush(workflow_run_id=run_id)).published == 9
    assert rig.meter.cost().commits == 2


def test_an_idle_tick_only_reads(rig: Rig) -> None:
    assert not run_tick(rig.kernel, "w").did_something
    cost = rig.meter.cost()
    assert cost.commits == 0
    assert cost.statements == 5


def test_an_idle_worker_looking_for_a_job_writes_nothing(rig: Rig) -> None:
    rig.runner.run(pools=("default",))
    assert rig.meter.cost().commits == 0
