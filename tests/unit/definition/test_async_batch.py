from datetime import UTC, datetime

import pytest

from engine import (
    CheckContext,
    CheckResult,
    DefinitionError,
    NoInput,
    NotReady,
    Ready,
    StageContext,
    Suspended,
    SuspendedState,
    define_async_batch_stage,
    define_stage,
)
from tests.unit.definition.samples import ExtractConfig, extract

STATE = Suspended("b-1")


def body(ctx: StageContext[NoInput, ExtractConfig]) -> Suspended | list[int]:
    return ctx.resume_state.metadata["cached"] if ctx.resume_state else STATE


def check(state: SuspendedState, ctx: CheckContext[ExtractConfig]) -> CheckResult[list[int]]:
    ctx.log.info("asked", batch=state.batch_id)
    ctx.annotate("batch.asked", True)
    return Ready([1]) if ctx.config.max_chars else NotReady()


def test_the_output_type_is_what_remains_beside_suspended() -> None:
    stage = define_async_batch_stage(id="embed", name="Embed", execute=body)
    assert stage.mode == "async-batch"
    assert stage.output_type.declared == list[int]


def test_the_check_is_registered_by_a_decorator_that_gives_the_function_back() -> None:
    stage = define_async_batch_stage(id="embed", name="Embed", execute=body)
    assert stage.check is None
    assert stage.check_completion(check) is check
    assert stage.check is check


def test_a_second_check_is_refused() -> None:
    stage = define_async_batch_stage(id="embed", name="Embed", execute=body)
    stage.check_completion(check)
    with pytest.raises(DefinitionError, match="stage 'embed' already has a check_completion"):
        stage.check_completion(check)


def test_a_check_can_be_called_with_a_hand_made_context(fresh_state: SuspendedState) -> None:
    ctx = CheckContext.for_test(config=ExtractConfig())
    assert check(fresh_state, ctx) == Ready([1])
    assert ctx.recorder.logs[0].metadata == {"batch": "b-1"}
    assert ctx.recorder.attributes == {"batch.asked": True}


def test_a_body_may_suspend_or_give_its_output(fresh_state: SuspendedState) -> None:
    stage = define_async_batch_stage(id="embed", name="Embed", execute=body)
    first = StageContext.for_test(input=NoInput(), config=ExtractConfig())
    again = StageContext.for_test(
        input=NoInput(),
        config=ExtractConfig(),
        resume_state=fresh_state.model_copy(update={"metadata": {"cached": [2]}}),
    )
    assert stage.outcome(stage(first)) is STATE
    assert stage.outcome(stage(again)).output == [2]  # type: ignore[union-attr]  # it did not suspend


def test_a_body_that_only_suspends_needs_its_output_type_given() -> None:
    def suspends(ctx: StageContext[NoInput]) -> Suspended:
        return Suspended("batch")

    with pytest.raises(DefinitionError, match="its output type is missing"):
        define_async_batch_stage(id="embed", name="Embed", execute=suspends)
    assert define_async_batch_stage(id="embed", name="E", output=int, execute=suspends).output_type.declared is int


def test_only_async_batch_stages_have_a_completion_check_to_register() -> None:
    assert not hasattr(extract, "check_completion")
    assert define_stage(id="s", name="S", execute=extract.body).mode == "sync"


@pytest.fixture
def fresh_state() -> SuspendedState:
    return STATE.state(datetime(2026, 1, 1, tzinfo=UTC))
