import pytest

from engine import Ready
from engine.domain.errors import StoreUnavailable
from engine.domain.lifecycle import RunStatus
from engine.hosts.maintenance import TickResult, run_tick
from engine.ports.changes import Changes, Refused, RunUpdate, Written
from tests.kernel.ports import WrappedPersistence
from tests.kernel.stores import MakeBench, in_memory
from tests.kernel.workflows import batch_stage, pipeline, stage


def test_a_tick_does_all_that_was_missed(make_bench: MakeBench) -> None:
    bench = make_bench(
        pipeline(stage(), workflow_id="w"), pipeline(batch_stage(lambda _s, _c: Ready(1)), workflow_id="b")
    )
    stuck = bench.create()
    bench.queue.cancel_by_run(stuck)
    bench.clock.advance(600)
    bench.create("b")
    bench.work()
    stale = bench.create()
    bench.start(stale)
    bench.clock.advance(301)
    pending = bench.create_pending()
    result = run_tick(bench.kernel, "w")
    assert result == TickResult(claimed=1, suspended_checked=1, stale_released=1, events_flushed=14, stuck_reaped=1)
    assert result.did_something
    assert bench.run_of(pending).status is RunStatus.RUNNING
    assert not run_tick(bench.kernel, "w").did_something


class RefusesToClaim(WrappedPersistence):
    def write(self, changes: Changes) -> Written | Refused:
        if isinstance(changes.run, RunUpdate) and changes.run.expect.get("status") is RunStatus.PENDING:
            raise StoreUnavailable("no")
        return self.inner.write(changes)


@in_memory
def test_a_step_that_fails_does_not_keep_the_others_from_their_work(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    workflow = pipeline(stage())
    bench = make_bench(workflow)
    bench.create_pending()
    broken = make_bench(workflow, persistence=RefusesToClaim(bench.persistence))
    result = run_tick(broken.kernel, "w")
    assert (result.claimed, result.events_flushed) == (0, 1)
    assert result.errors == ("claimed: StoreUnavailable: no",)
    assert "maintenance step claimed failed" in caplog.messages
