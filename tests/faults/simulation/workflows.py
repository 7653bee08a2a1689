"""The workflows of the simulation. What a body does is drawn when it runs; what it gives is a function of its input."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from engine import (
    BatchFailed,
    CheckContext,
    NotReady,
    Ready,
    RetryPolicy,
    Stage,
    StageContext,
    Suspended,
    SuspendedState,
    Workflow,
    define_async_batch_stage,
    define_stage,
    define_workflow,
)
from engine.domain.errors import StoreUnavailable
from engine.domain.records import RunRecord, StageRecord
from engine.domain.values import Json
from tests.faults.simulation.faults import BODY

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

POOLS = ("default", "other")
PADDING = "x" * 120
MAX_WAITS = (5000.0, 200.0)


class GivenUp(Exception):
    """A body's error that is not retried."""


RETRY = RetryPolicy(max_attempts=3, give_up_on=(GivenUp,), jitter=0)
ONCE = RetryPolicy(max_attempts=1)


def output_of(stage_id: str, value: Json) -> Json:
    """What a stage makes of its input. Some outputs are too large for their row."""
    made = {"stage": stage_id, "of": crc32(json.dumps(value).encode())}
    return {**made, "padding": PADDING} if stage_id in LARGE else made


LARGE = frozenset({"b", "w2", "end"})


@dataclass(frozen=True, slots=True)
class Mood:
    """How often bodies complete, fail, give up and lose the store, suspend or not, and what checks answer: ready, not
    ready, failed, or an error."""

    bodies: tuple[int, int, int, int]
    suspensions: tuple[int, int]
    answers: tuple[int, int, int, int]


MOODS = (
    Mood((60, 14, 6, 2), (3, 1), (5, 5, 1, 1)),
    Mood((60, 6, 1, 1), (9, 1), (2, 9, 1, 1)),  # waits long
    Mood((30, 20, 20, 2), (3, 1), (5, 2, 2, 2)),  # fails
)


class Behaviours:
    """What bodies and completion checks do in one world."""

    def __init__(self, world: "World") -> None:
        self._world, self._mood = world, MOODS[world.setting.mood]

    def body(self, ctx: StageContext[Any, Any], *, suspends: bool) -> Any:
        choices = self._world.choices
        for _ in range(choices.weighted((5, 3, 1))):
            self._speak(ctx)
            self._world.pause(BODY)
        self._maybe_raise()
        output = output_of(ctx.stage_id, ctx.input)
        if suspends and choices.weighted(self._mood.suspensions) == 0:
            max_wait = choices.one_of(MAX_WAITS)
            return Suspended("batch", poll_interval=60, max_wait=max_wait, metadata={"output": output})
        return output

    def _maybe_raise(self) -> None:
        completes, fails, gives_up, loses_store = self._mood.bodies
        if self._world.is_calm:
            fails = loses_store = 0
        match self._world.choices.weighted((completes, fails, gives_up, loses_store)):
            case 1:
                raise ValueError("boom")
            case 2:
                raise GivenUp("for good")
            case 3:
                raise StoreUnavailable("the body could not reach the store")
            case _:
                pass

    def _speak(self, ctx: StageContext[Any, Any]) -> None:
        match self._world.choices.weighted((2, 2, 1, 1)):
            case 1:
                ctx.on_progress(0.5)
            case 2:
                ctx.log.info("still at it")
            case 3:
                ctx.annotate(attributes={"attempt": ctx.attempt}, emit_event=True, idempotency_key=self._key())
            case _:
                pass

    def _key(self) -> str | None:
        return self._world.choices.one_of((None, "key"))

    def check(self, state: SuspendedState) -> Any:
        for _ in range(1 + self._world.choices.below(3)):
            self._world.pause(BODY)
        match self._world.choices.weighted(self._mood.answers):
            case 0:
                return Ready(state.metadata["output"])
            case 1:
                return NotReady()
            case 2:
                return BatchFailed("by the provider")
            case _:
                raise ValueError("the check broke")

    def check_output(self, run: RunRecord, stages: Sequence[StageRecord]) -> None:
        """A COMPLETED run has the output that its pipeline makes of its input."""
        expected, got = self._expected(run, stages), self._world.value(run.output)
        if got != expected:
            self._world.fail(f"run {run.id} has the output {got}, and its pipeline makes {expected}")

    def _expected(self, run: RunRecord, stages: Sequence[StageRecord]) -> Json:
        records = {stage.stage_id: stage for stage in stages}
        value = self._world.value(run.input)
        workflow = WORKFLOWS[run.workflow_id]
        for group_no in range(1, workflow.group_count + 1):
            group = workflow.group(group_no)
            outputs = {stage.id: output_of(stage.id, self._input(records[stage.id], value)) for stage in group}
            value = outputs if len(group) > 1 else next(iter(outputs.values()))
        return value

    def _input(self, record: StageRecord, value: Json) -> Json:
        return value if record.input_data is None else self._world.value(record.input_data)


_current: list[Behaviours] = []
"""The behaviours of the newest world. Building workflows for each world would cost more than running them."""


def _stage(stage_id: str, retry: RetryPolicy = RETRY, pool: str = "default") -> Stage[Any, Any, Any]:
    def execute(ctx: StageContext[Any]) -> Any:
        return _current[0].body(ctx, suspends=False)

    return define_stage(
        id=stage_id, name=stage_id.upper(), execute=execute, input=Any, output=Any, retry=retry, pool=pool
    )


def _batch(stage_id: str, retry: RetryPolicy = RETRY, pool: str = "default") -> Stage[Any, Any, Any]:
    def execute(ctx: StageContext[Any]) -> Any:
        return _current[0].body(ctx, suspends=True)

    stage = define_async_batch_stage(
        id=stage_id, name=stage_id.upper(), execute=execute, input=Any, output=Any, retry=retry, pool=pool
    )

    def check(state: SuspendedState, _ctx: CheckContext[Any]) -> Any:
        return _current[0].check(state)

    stage.check_completion(check)
    return stage


def _workflow(workflow_id: str, *groups: Sequence[Stage[Any, Any, Any]]) -> Workflow[Any, Any]:
    builder: Any = define_workflow(id=workflow_id, name=workflow_id.upper(), input=Any)
    for group in groups:
        builder = builder.pipe(group[0]) if len(group) == 1 else builder.parallel(list(group))
    workflow: Workflow[Any, Any] = builder.build()
    return workflow


WORKFLOWS: Mapping[str, Workflow[Any, Any]] = {
    workflow.id: workflow
    for workflow in (
        _workflow("line", [_stage("a")], [_batch("b")], [_stage("c", ONCE)]),
        _workflow("fan", [_stage("a"), _batch("b"), _stage("c")], [_stage("d", pool="other")]),
        _workflow("wide", [_stage("s")], [_batch("w1"), *map(_stage, ("w2", "w3", "w4", "w5"))], [_stage("end", ONCE)]),
        _workflow("pair", [_stage("a", pool="other"), _stage("b", ONCE)], [_stage("c"), _batch("d")]),
        _workflow("chain", *[[_stage(stage_id)] for stage_id in "abcd"]),
    )
}


class Registry:
    """The workflows, with the bodies of one world."""

    def __init__(self, behaviours: Behaviours) -> None:
        _current[:] = [behaviours]

    def get_workflow(self, workflow_id: str) -> Workflow[Any, Any] | None:
        return WORKFLOWS.get(workflow_id)

    def list(self) -> Sequence[str]:
        return tuple(sorted(WORKFLOWS))
