from functools import partial
from typing import Any

import pytest

from engine.domain.lifecycle import JobStatus, RunStatus
from engine.execution.attempt import Attempt
from engine.hosts import HostOptions, ServerlessHost
from engine.kernel.host_commands import JobFinish
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Decision, Lease
from engine.testing.contracts.threads import together
from tests.kernel.bench import Bench
from tests.kernel.ports import WrappedPersistence
from tests.kernel.stores import MakeBench, in_databases, in_memory
from tests.kernel.workflows import Counted, pipeline, stage


def lease() -> Lease:
    return Lease(worker_id="w1", token="the next", seconds=300)


def test_a_finish_may_claim_the_next_stage_in_the_same_transaction(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b", lambda ctx: [ctx.input, ctx.attempt])))
    run_id = bench.create("w", "in")
    following = bench.finish(bench.start(), lease=lease()).next
    assert isinstance(following, Attempt)
    job = bench.job(run_id, "b")
    assert (job.status, job.attempt, job.lease_token, job.worker_id) == (JobStatus.RUNNING, 1, "the next", "w1")
    assert bench.told(run_id)[-2:] == ["stage:completed", "stage:started"]
    bench.finish(following)
    assert bench.output(run_id) == ["in", 1]


@pytest.mark.parametrize("obstacle", ["no lease", "parallel", "other pool", "no time"])
def test_a_finish_claims_nothing_that_is_not_for_it(make_bench: MakeBench, obstacle: str) -> None:
    following: Any = stage("b", pool="gpu" if obstacle == "other pool" else "default")
    bench = make_bench(pipeline(stage(), [following, stage("c")] if obstacle == "parallel" else following))
    run_id = bench.create()
    attempt = bench.start()
    seen = bench.queue.notification_count
    finished = bench.dispatch(
        JobFinish(
            attempt=attempt,
            outcome=bench.perform(attempt),
            lease=None if obstacle == "no lease" else lease(),
            may_start=lambda _stage: obstacle != "no time",
        )
    )
    assert finished.next is None
    assert bench.job(run_id, "b").status is JobStatus.PENDING
    assert bench.queue.notification_count == seen + 1


def test_the_last_of_a_group_continues_with_all_outputs(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage("a"), stage("b")], stage("c")))
    run_id = bench.create("w", 1)
    bench.work()
    following = bench.finish(bench.start(), lease=lease()).next
    assert isinstance(following, Attempt)
    bench.finish(following)
    assert bench.output(run_id) == {"a": 1, "b": 1}


class ForgetsAnswers(WrappedPersistence):
    """Writes everything twice, as after a lost connection, and gives the second answer."""

    def write(self, changes: Changes) -> Written | Refused:
        self.inner.write(changes)
        return self.inner.write(changes)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        self.inner.decide(run_id, decision, job_id=job_id, whole=whole)
        return self.inner.decide(run_id, decision, job_id=job_id, whole=whole)


def test_a_finish_whose_answer_was_lost_still_continues(make_bench: MakeBench) -> None:
    bodies = [Counted(), Counted(), Counted()]
    workflow = pipeline(*[stage(name, body) for name, body in zip("abc", bodies, strict=True)])
    good = make_bench(workflow)
    bench = make_bench(workflow, persistence=ForgetsAnswers(good.persistence))
    run_id = good.create("w", 1)
    assert bench.host.process_available_jobs(max_jobs=1).processed == 1
    assert good.run_of(run_id).status is RunStatus.COMPLETED
    assert [body.calls for body in bodies] == [1, 1, 1]
    assert good.told(run_id).count("stage:completed") == 3


def test_a_host_runs_a_pipeline_under_one_claim(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(*[stage(name) for name in "abcde"]))
    run_id = bench.create("w", 1)
    assert bench.host.process_available_jobs(max_jobs=1).processed == 1
    assert bench.run_of(run_id).status is RunStatus.COMPLETED


def test_a_long_run_makes_way_for_a_more_urgent_one_after_a_few_stages(make_bench: MakeBench) -> None:
    seen: list[str] = []
    names = [f"s{number}" for number in range(12)]
    long = pipeline(*[stage(name, lambda ctx: seen.append(ctx.stage_id)) for name in names], workflow_id="long")
    bench = make_bench(long, pipeline(stage("urgent", lambda ctx: seen.append(ctx.stage_id)), workflow_id="short"))
    host = ServerlessHost(bench.kernel, worker_id="w", options=HostOptions(max_continued=4))
    bench.create("long")
    bench.create("short", priority=1)
    host.process_available_jobs(max_jobs=1)
    bench.create("short", priority=9)
    host.process_available_jobs(max_jobs=2)
    assert seen == [*names[:4], "urgent", *names[4:8]]


def test_the_most_urgent_job_is_claimed_first(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    slow, first, urgent = bench.create(priority=1), bench.create(), bench.create(priority=9)
    claimed = [bench.start().claim.run.id for _ in range(3)]
    assert claimed == [urgent, first, slow]


@in_databases
def test_each_job_goes_to_one_of_many_workers(make_bench: MakeBench) -> None:
    body = Counted()
    benches = [make_bench(pipeline([stage("a", body), stage("b", body)], stage("c", body))) for _ in range(4)]
    runs = [benches[0].create() for _ in range(6)]

    def work(bench: Bench) -> None:
        while bench.host.process_available_jobs(max_jobs=3).processed:
            pass

    together([partial(work, bench) for bench in benches])
    benches[0].host.process_available_jobs(max_jobs=100)
    assert [benches[0].run_of(run_id).status for run_id in runs] == [RunStatus.COMPLETED] * 6
    assert body.calls == 18
    assert {benches[0].told(run_id).count("stage:completed") for run_id in runs} == {3}


@in_memory
def test_no_stage_is_continued_without_the_time_for_it(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage(), stage("b", timeout=60)))
    run_id = bench.create()
    left = iter([64.0, 66.0])
    host = ServerlessHost(bench.kernel, worker_id="w", time_left=lambda: next(left), reserve=5)
    host.process_available_jobs(max_jobs=1)
    assert bench.statuses(run_id) == {"a": "COMPLETED", "b": "PENDING"}
    assert bench.run_to_completion(run_id).run.status is RunStatus.COMPLETED
