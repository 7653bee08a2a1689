"""The client of a stack answers as a client beside the store does."""

from collections.abc import Callable
from typing import Any

import pytest

from engine.bootstrap.client import Client, KernelClient
from engine.bootstrap.stack import open_stack
from engine.domain.errors import EngineError
from engine.domain.lifecycle import RunStatus
from engine.kernel.commands import OutboxFlush, PluginReplayDLQ, RunCancel, RunCreate, RunRerunFrom
from engine.ports.reads import Reads
from engine.ports.transaction import AnnotationFilter, RunFilter
from engine.testing import TestKernel
from tests.cli import pipelines
from tests.cli.stack_stub import NAME, StackStub


@pytest.fixture
def bench() -> TestKernel:
    return TestKernel(pipelines.greeting, pipelines.failing)


@pytest.fixture
def beside(bench: TestKernel) -> Client:
    return KernelClient(bench.kernel)


@pytest.fixture
def stack(bench: TestKernel) -> Client:
    return open_stack(NAME, bench.workflows, clients=StackStub(bench.reads, bench.kernel))


READS: dict[str, Callable[[Reads, str], object]] = {
    "all runs": lambda reads, _run_id: reads.runs(RunFilter()),
    "runs by their conditions": lambda reads, run_id: reads.runs(
        RunFilter(statuses=frozenset({RunStatus.COMPLETED}), workflow_id="greeting", id_prefix=run_id), 1
    ),
    "the next page": lambda reads, _run_id: reads.runs(RunFilter(before=reads.runs(RunFilter(), 1).cursor)),
    "a shortened id": lambda reads, run_id: reads.resolve(run_id),
    "an unknown id": lambda reads, _run_id: reads.resolve("unknown"),
    "logs": lambda reads, run_id: reads.logs(run_id, stage_id="greet", limit=1),
    "events": lambda reads, run_id: reads.events(run_id, after=2, limit=3),
    "annotations": lambda reads, run_id: reads.annotations(run_id, AnnotationFilter()),
    "annotations by their conditions": lambda reads, run_id: reads.annotations(
        run_id, AnnotationFilter(key="decision.outcome", scope="stage", generation=0)
    ),
    "annotations of no one": lambda reads, run_id: reads.annotations(run_id, AnnotationFilter(actor_id="nobody")),
    "annotations of an unknown run": lambda reads, _run_id: reads.annotations("unknown", AnnotationFilter()),
    "artifacts": lambda reads, run_id: reads.artifacts(run_id),
    "costs": lambda reads, run_id: reads.call_totals(run_id),
    "waiting jobs": lambda reads, _run_id: reads.waiting_jobs(),
    "the backlog": lambda reads, _run_id: reads.backlog(),
    "dead letters": lambda reads, _run_id: reads.dead_letters(),
    "the output": lambda reads, run_id: reads.value(reads.run(run_id).run.output),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_every_read_has_the_same_answer(
    bench: TestKernel, beside: Client, stack: Client, read: Callable[[Reads, str], object]
) -> None:
    run_id = bench.run("greeting", {}, metadata={"source": "mail"}).run.id
    bench.run("failing", {})
    bench.create("greeting", {})
    assert _plain(lambda: read(stack.reads, run_id)) == _plain(lambda: read(beside.reads, run_id))


def _plain(read: Callable[[], object]) -> Any:
    """The answer with lists as tuples, or the words of its error."""
    try:
        answer = read()
    except EngineError as error:
        return str(error)
    return tuple(answer) if isinstance(answer, list) else answer


def test_a_run_view_is_the_same_stage_by_stage(bench: TestKernel, beside: Client, stack: Client) -> None:
    run_id = bench.run("greeting", {}).run.id
    ours, theirs = beside.reads.run(run_id), stack.reads.run(run_id)
    assert (theirs.run, tuple(theirs.stages), tuple(theirs.jobs)) == (ours.run, tuple(ours.stages), tuple(ours.jobs))


@pytest.mark.parametrize("kind", ["beside", "stack"])
def test_every_command_has_a_result(bench: TestKernel, kind: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(kind)
    created = client.dispatch(RunCreate(workflow_id="greeting", input={}, start=True))
    assert created.status is RunStatus.RUNNING
    bench.run_to_completion(created.workflow_run_id)
    rerun = client.dispatch(RunRerunFrom(workflow_run_id=created.workflow_run_id, from_stage_id="shout"))
    assert rerun.deleted_stages == ("shout",)
    assert client.dispatch(RunCancel(workflow_run_id=created.workflow_run_id)).cancelled
    assert client.dispatch(OutboxFlush()).published > 0
    assert client.dispatch(PluginReplayDLQ()).replayed == 0
