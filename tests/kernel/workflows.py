"""Short stages and workflows for tests."""

from collections.abc import Callable, Sequence
from typing import Any

from engine import (
    AsyncBatchStage,
    CheckContext,
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

type AnyStage = Stage[Any, Any, Any]
type Body = Callable[[StageContext[Any, Any]], Any]

ONCE = RetryPolicy(max_attempts=1)
STEADY = RetryPolicy(jitter=0)


def echo(ctx: StageContext[Any, Any]) -> Any:
    return ctx.input


def boom(_ctx: StageContext[Any, Any]) -> Any:
    raise ValueError("boom")


class Counted:
    """A body that counts its calls."""

    def __init__(self, body: Body = echo) -> None:
        self.body, self.calls = body, 0

    def __call__(self, ctx: StageContext[Any, Any]) -> Any:
        self.calls += 1
        return self.body(ctx)


class Flaky(Counted):
    """Fails the first `times` calls."""

    def __init__(self, times: int, body: Body = echo) -> None:
        super().__init__(body)
        self.times = times

    def __call__(self, ctx: StageContext[Any, Any]) -> Any:
        self.calls += 1
        if self.calls <= self.times:
            raise ValueError(f"boom {self.calls}")
        return self.body(ctx)


def stage(stage_id: str = "a", body: Body = echo, **options: Any) -> AnyStage:
    def execute(ctx: StageContext[Any]) -> Any:
        return body(ctx)

    made: AnyStage = define_stage(id=stage_id, name=stage_id.upper(), execute=execute, **options)
    return made


def batch_stage(
    check: Callable[[SuspendedState, CheckContext[Any]], Any],
    stage_id: str = "a",
    body: Body = lambda _ctx: Suspended("batch-1", poll_interval=60),
    **options: Any,
) -> AsyncBatchStage[Any, Any, Any]:
    def execute(ctx: StageContext[Any]) -> Any:
        return body(ctx)

    made: AsyncBatchStage[Any, Any, Any] = define_async_batch_stage(
        id=stage_id, name=stage_id.upper(), execute=execute, **options
    )
    made.check_completion(check)
    return made


def pipeline(*groups: AnyStage | Sequence[AnyStage], workflow_id: str = "w") -> Workflow[Any, Any]:
    """A list is a parallel group."""
    builder: Any = define_workflow(id=workflow_id, name=workflow_id.upper(), input=Any)
    for group in groups:
        builder = builder.pipe(group) if isinstance(group, Stage) else builder.parallel(list(group))
    workflow: Workflow[Any, Any] = builder.build()
    return workflow
