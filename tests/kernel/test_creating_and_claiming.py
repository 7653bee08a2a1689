from collections.abc import Callable

import pytest
from pydantic import BaseModel

from engine import define_workflow
from engine.domain.errors import InvalidInput, UnknownWorkflow
from engine.domain.lifecycle import RunStatus
from engine.domain.values import inline
from engine.kernel import ActorInput, AnnotationInput, RunCancel, RunClaimPending, RunCreate, RunRerunFrom
from engine.ports.changes import Changes, Refused, Written
from engine.ports.persistence import Decision, LockedRun, Persistence
from engine.ports.transaction import RunFilter
from engine.testing import InMemoryBlobStore
from tests.kernel.ports import Meanwhile, WrappedPersistence
from tests.kernel.stores import MakeBench, in_memory
from tests.kernel.workflows import echo, pipeline, stage


class Document(BaseModel):
    url: str
    pages: int


class Options(BaseModel):
    level: int = 1


def test_a_run_is_created_pending_with_its_event(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create_pending("w", {"x": 1}, priority=7, tenant="t", parent_run_id="p", metadata={"m": 1})
    view = bench.reads.run(run_id)
    assert (view.run.status, view.run.priority, view.run.tenant) == (RunStatus.PENDING, 7, "t")
    assert (view.run.parent_run_id, view.run.metadata, view.run.version) == ("p", {"m": 1}, 1)
    assert (list(view.stages), list(view.jobs)) == ([], [])
    assert bench.told(run_id) == ["workflow:created"]


def test_a_started_run_has_records_jobs_and_both_events(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage("a"), stage("b")], stage("c")))
    result = bench.dispatch(RunCreate(workflow_id="w", start=True))
    view = bench.reads.run(result.workflow_run_id)
    assert (result.status, view.run.status, view.run.group_no, view.run.group_open) == ("RUNNING", "RUNNING", 1, 2)
    assert [(each.stage_id, each.status, each.stage_number) for each in view.stages] == [
        ("a", "PENDING", 1),
        ("b", "PENDING", 2),
    ]
    assert [(each.stage_id, each.status, each.attempt) for each in view.jobs] == [
        ("a", "PENDING", 0),
        ("b", "PENDING", 0),
    ]
    assert bench.told(view.run.id) == ["workflow:created", "workflow:started"]


def test_a_run_may_be_created_from_json(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    result = bench.kernel.dispatch({"type": "run.create", "workflow_id": "w", "input": [1], "start": True})
    assert bench.run_to_completion(result.workflow_run_id).run.status is RunStatus.COMPLETED


@in_memory
def test_wrong_input_and_config_are_refused_with_everything_wrong(make_bench: MakeBench) -> None:
    workflow = define_workflow(id="w", name="W", input=Document).pipe(stage("a", config=Options)).build()
    bench = make_bench(workflow)
    with pytest.raises(InvalidInput) as refused:
        bench.create("w", {"pages": "many"}, config={"a": {"level": "x"}, "nobody": {}})
    said = "\n".join(refused.value.problems)
    assert all(name in said for name in ("url", "pages", "level", "nobody"))
    assert list(bench.reads.runs(RunFilter()).runs) == []
    assert bench.reads.backlog() == (0, None)


@in_memory
def test_an_unknown_workflow_is_refused_with_the_nearest_name(make_bench: MakeBench) -> None:
    with pytest.raises(UnknownWorkflow, match="did you mean 'documents'"):
        make_bench(pipeline(stage(), workflow_id="documents")).create("document")


def test_defaults_and_given_config_are_merged(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage("a", config=Options), stage("b", config=Options)))
    assert bench.run_of(bench.create(config={"b": {"level": 2}})).config == {"a": {"level": 1}, "b": {"level": 2}}


def test_annotations_come_with_their_run(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    given = AnnotationInput(
        attributes={"trigger.source": "mail", "dropped": None},
        actor=ActorInput(kind="user", id="u1", version="2"),
        payload={"raw": 1},
        emit_event=True,
    )
    run_id = bench.create_pending(annotations=[given])
    (row,) = bench.annotations.list(run_id)
    assert (row.scope, row.scope_id, row.key, row.value) == ("run", run_id, "trigger.source", "mail")
    assert (row.actor_kind, row.actor_id, row.actor_version, row.payload) == ("user", "u1", "2", {"raw": 1})
    assert sorted(bench.told(run_id)) == ["annotation:created", "workflow:created"]


@pytest.mark.failure(33)
def test_a_large_input_goes_to_the_blob_store(make_bench: MakeBench) -> None:
    blobs = InMemoryBlobStore()
    bench = make_bench(pipeline(stage()), blob_store=blobs)
    small, large = bench.create("w", "x" * 8190), bench.create("w", "x" * 8191)
    assert bench.run_of(small).input == inline("x" * 8190)
    assert list(blobs.list("workflow-v2")) == [f"workflow-v2/w/{large}/input.json"]
    assert bench.output(bench.run_to_completion(large).run.id) == "x" * 8191


def test_pending_runs_are_claimed_by_urgency_then_age(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage("a"), stage("b")]))
    first, second = bench.create_pending(), bench.create_pending()
    urgent = bench.create_pending(priority=9)
    result = bench.dispatch(RunClaimPending(worker_id="w", max_claims=2))
    assert [each.workflow_run_id for each in result.claimed] == [urgent, first]
    assert set(result.claimed[0].job_ids) == {job.id for job in bench.reads.run(urgent).jobs}
    assert bench.run_of(second).status is RunStatus.PENDING
    assert bench.run_of(first).started_at == bench.clock.now()
    assert bench.told(first) == ["workflow:created", "workflow:started"]


def test_a_run_is_claimed_once(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create_pending()
    assert len(bench.dispatch(RunClaimPending(worker_id="w")).claimed) == 1
    assert bench.dispatch(RunClaimPending(worker_id="w")).claimed == ()
    assert len(bench.reads.run(run_id).jobs) == 1


@pytest.mark.failure(79)
def test_a_claim_whose_runs_are_taken_by_another_looks_further(make_bench: MakeBench, persistence: Persistence) -> None:
    def claim_two() -> None:
        command = RunClaimPending(worker_id="2", max_claims=2)
        taken.extend(each.workflow_run_id for each in bench.dispatch(command).claimed)

    taken: list[str] = []
    store = Meanwhile(persistence)
    bench = make_bench(pipeline(stage()), persistence=store)
    runs = [bench.create_pending() for _ in range(4)]
    store.do = claim_two
    mine = bench.dispatch(RunClaimPending(worker_id="1", max_claims=2)).claimed
    assert len(taken) == len(mine) == 2
    assert {*taken, *(each.workflow_run_id for each in mine)} == set(runs)


def test_a_run_whose_workflow_is_gone_fails_and_says_so(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline(stage()))
    run_id = bench.create_pending()
    bench.workflows.by_id.clear()
    assert bench.dispatch(RunClaimPending(worker_id="w")).claimed == ()
    run = bench.run_of(run_id)
    assert (run.status, run.failure_code) == (RunStatus.FAILED, "WORKFLOW_NOT_FOUND")
    assert bench.output(run_id)["error"]["code"] == "WORKFLOW_NOT_FOUND"
    assert bench.last_event(run_id, "workflow:failed").error_code == "WORKFLOW_NOT_FOUND"
    assert [line.level for line in bench.reads.logs(run_id)] == ["ERROR"]


def test_stages_run_in_order_and_pass_on_their_output(make_bench: MakeBench) -> None:
    bench = make_bench(
        pipeline(
            stage("a", lambda ctx: ctx.input + 1),
            [stage("b", lambda ctx: ctx.input * 10), stage("c", echo)],
            stage("d", lambda ctx: [ctx.input, ctx.require("a")]),
        )
    )
    run = bench.run("w", 1).run
    assert bench.output(run.id) == [{"b": 20, "c": 2}, 2]
    assert bench.events.types() == bench.told(run.id)
    assert bench.told(run.id)[-1] == "workflow:completed"


def test_a_parallel_last_group_gives_an_object_of_outputs(make_bench: MakeBench) -> None:
    bench = make_bench(pipeline([stage("a"), stage("b", lambda _ctx: None)]))
    at_once = bench.create("w", 1)
    for attempt in [bench.start(at_once), bench.start(at_once)]:
        bench.finish(attempt)
    assert bench.output(at_once) == {"a": 1, "b": None}
    run = bench.run("w", 1).run
    assert bench.output(run.id) == {"a": 1, "b": None}
    assert bench.last_event(run.id, "workflow:completed").output is not None
    assert bench.events.events[-1].payload()["output"] == {"a": 1, "b": None}


def test_the_outputs_of_a_group_are_ordered_as_in_the_pipeline(make_bench: MakeBench) -> None:
    names = stage("names", lambda ctx: list(ctx.input))
    bench = make_bench(pipeline([stage("z"), stage("a"), stage("m")], names))
    run_id = bench.create("w", 1)
    for stage_id in ("m", "a", "z"):
        bench.finish(bench.start(job_id=bench.job(run_id, stage_id).id))
    bench.work(run_id)
    assert bench.output(run_id) == ["z", "a", "m"]


class LosesAnswers(WrappedPersistence):
    """Commits, loses the connection, and tries again, as a store does whose answer is lost."""

    def write(self, changes: Changes) -> Written | Refused:
        self.inner.write(changes)
        return self.inner.write(changes)

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        self.inner.decide(run_id, decision, job_id=job_id, whole=whole)
        return self.inner.decide(run_id, decision, job_id=job_id, whole=whole)


def test_a_command_whose_answer_was_lost_tells_what_it_did(make_bench: MakeBench) -> None:
    workflow = pipeline(stage(), stage("b"))
    good = make_bench(workflow)
    bench = make_bench(workflow, persistence=LosesAnswers(good.persistence))
    pending = good.create_pending("w", 1)
    (claimed,) = bench.dispatch(RunClaimPending(worker_id="w")).claimed
    assert (claimed.workflow_run_id, claimed.job_ids) == (pending, (good.job(pending).id,))
    assert bench.dispatch(RunCancel(workflow_run_id=pending)).cancelled
    assert not bench.dispatch(RunCancel(workflow_run_id=pending)).cancelled
    rerun = RunRerunFrom(workflow_run_id=pending, from_stage_id="a")
    assert bench.dispatch(rerun).deleted_stages == ("a",)
    assert good.stage(pending).generation == 1
    assert good.told(pending).count("workflow:started") == 2


class LosesItsFirstWrite(WrappedPersistence):
    """Loses the connection before the commit of a decision, and makes it again."""

    def __init__(self, inner: Persistence, meanwhile: Callable[[], object]) -> None:
        super().__init__(inner)
        self.meanwhile = meanwhile

    def decide(
        self, run_id: str, decision: Decision, *, job_id: str | None = None, whole: bool = False
    ) -> Written | Refused:
        def is_lost(locked: LockedRun) -> Changes | Refused:
            decision(locked)
            return Refused()

        self.inner.decide(run_id, is_lost, job_id=job_id, whole=whole)
        self.meanwhile()
        return self.inner.decide(run_id, decision, job_id=job_id, whole=whole)


def test_a_repeated_command_does_not_mistake_the_write_of_another_for_its_own(make_bench: MakeBench) -> None:
    good = make_bench(pipeline(stage()))
    run_id = good.create("w", 1)

    def cancel() -> None:
        good.clock.advance(1)
        assert good.dispatch(RunCancel(workflow_run_id=run_id)).cancelled

    bench = make_bench(pipeline(stage()), persistence=LosesItsFirstWrite(good.persistence, cancel))
    assert not bench.dispatch(RunCancel(workflow_run_id=run_id)).cancelled
