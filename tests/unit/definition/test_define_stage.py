import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from engine import (
    DefinitionError,
    InvalidStageData,
    NoConfig,
    NoInput,
    RetryPolicy,
    Stage,
    StageContext,
    StageResult,
    Suspended,
    define_stage,
)
from tests.unit.definition.samples import Document, ExtractConfig, Text, extract

type MaybeText = Text | StageResult[Text]


def test_the_decorated_function_is_a_stage_with_what_was_declared() -> None:
    assert (extract.id, extract.name, extract.description) == ("extract", "Extract text", "Reads the document")
    assert (extract.mode, extract.pool, extract.dependencies) == ("sync", "default", ())
    assert (extract.retry, extract.timeout, extract.check) == (RetryPolicy(), None, None)


def test_the_types_come_from_the_annotations() -> None:
    assert extract.input_type.declared is Document
    assert extract.output_type.declared is Text
    assert extract.config_type.declared is ExtractConfig


def test_a_stage_can_be_called_with_a_hand_made_context() -> None:
    ctx = StageContext.for_test(input=Document(url="abcdef"), config=ExtractConfig(max_chars=3))
    assert extract(ctx) == Text(text="abc")


def test_a_plain_call_with_execute_makes_the_same_stage() -> None:
    stage = define_stage(id="again", name="Again", execute=extract.body)
    assert stage.output_type.declared is Text
    assert stage.body is extract.body


def test_a_context_without_a_config_type_means_an_empty_config() -> None:
    @define_stage(id="s", name="S")
    def stage(ctx: StageContext[Document]) -> int:
        return 1

    assert stage.config_type.declared is NoConfig


@pytest.mark.parametrize("returned", [StageResult[Text], Text | StageResult[Text], MaybeText])
def test_the_output_type_is_found_inside_a_stage_result(returned: Any) -> None:
    def body(ctx: StageContext[Document]) -> object: ...

    body.__annotations__["return"] = returned
    assert define_stage(id="s", name="S", execute=body).output_type.declared is Text


def test_an_output_may_be_any_type_pydantic_knows() -> None:
    @define_stage(id="s", name="S")
    def stage(ctx: StageContext[NoInput]) -> list[Text] | None:
        return None

    assert stage.validate_output([Text(text="a")]) == [{"text": "a"}]
    assert stage.validate_output(None) is None


def test_a_body_that_returns_none_has_null_as_its_output() -> None:
    @define_stage(id="s", name="S")
    def stage(ctx: StageContext[NoInput]) -> None:
        return None

    assert stage.validate_output(None) is None


def test_an_async_body_is_recognised_also_behind_a_partial_and_an_object() -> None:
    class Callable:
        async def __call__(self, ctx: StageContext[Document]) -> Text:
            return Text(text=ctx.input.url)

    async def body(ctx: StageContext[Document], suffix: str = "") -> Text:
        return Text(text=ctx.input.url + suffix)

    for each in (body, partial(body, suffix="!"), Callable()):
        stage = define_stage(id="s", name="S", execute=each)
        assert stage.is_async
        assert asyncio.run(stage(StageContext.for_test(input=Document(url="u")))).text.startswith("u")
    assert not extract.is_async


def test_given_types_override_the_annotations() -> None:
    stage: Stage[Any, Any, Any] = define_stage(
        id="s", name="S", input=Document, output=Text, config=ExtractConfig, execute=lambda _: 1
    )
    assert (stage.input_type.declared, stage.output_type.declared) == (Document, Text)
    with pytest.raises(InvalidStageData):
        stage.validate_output(1)


def test_types_of_a_local_scope_behind_text_annotations_are_a_clear_definition_error() -> None:
    class Local(BaseModel):
        pass

    def body(ctx: "StageContext[Local]") -> Text:
        raise NotImplementedError

    with pytest.raises(DefinitionError, match=r"stage 's'.*'Local' is not defined.*module level, or pass input="):
        define_stage(id="s", name="S", execute=body)


def test_text_annotations_of_module_level_types_are_resolved() -> None:
    def body(ctx: "StageContext[Document, ExtractConfig]") -> "Text":
        raise NotImplementedError

    assert define_stage(id="s", name="S", execute=body).output_type.declared is Text


def _without_annotations(ctx): ...  # type: ignore[no-untyped-def]  # what this file tests
def _bare_context(ctx: StageContext) -> Text: ...  # type: ignore[empty-body]  # what this file tests
def _without_output(ctx: StageContext[Document]): ...  # type: ignore[no-untyped-def]  # what this file tests
def _other_argument(ctx: Document) -> Text: ...  # type: ignore[empty-body]  # what this file tests
def _two_arguments(ctx: StageContext[Document], more: int) -> Text: ...  # type: ignore[empty-body]  # what this file tests
def _unusable_output(ctx: StageContext[Document]) -> type(lambda: 0): ...  # type: ignore[valid-type]  # what this file tests
def _config_is_no_model(ctx: StageContext[Document, int]) -> Text: ...  # type: ignore[empty-body]  # what this file tests


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (_without_annotations, "its input type is missing"),
        (_bare_context, "its input type is missing"),
        (_without_output, "its output type is missing; annotate the body, -> Output, or pass output="),
        (_other_argument, r"annotate the argument as StageContext\[Input, Config\]"),
        (_two_arguments, "must take one argument, the context"),
        (_unusable_output, "its output type .* cannot be used"),
        (_config_is_no_model, "its config type must be a pydantic model"),
    ],
)
def test_missing_or_unusable_annotations_are_refused_naming_the_stage_and_the_cause(body: Any, cause: str) -> None:
    with pytest.raises(DefinitionError, match=f"stage 'broken': .*{cause}"):
        define_stage(id="broken", name="Broken", execute=body)


def test_a_sync_stage_that_declares_suspended_is_refused() -> None:
    def body(ctx: StageContext[Document]) -> Text | Suspended:
        raise NotImplementedError

    with pytest.raises(DefinitionError, match=r"stage 's'.*Suspended; use define_async_batch_stage"):
        define_stage(id="s", name="S", execute=body)


def test_a_sync_stage_that_returns_suspended_all_the_same_is_an_error() -> None:
    with pytest.raises(InvalidStageData, match="stage 'extract' returned Suspended"):
        extract.outcome(Suspended("b-1"))


def test_what_a_body_returns_becomes_a_stage_result() -> None:
    result = StageResult(Text(text="a"), custom_metrics={"pages": 1})
    assert extract.outcome(result) is result
    assert extract.outcome(Text(text="a")) == StageResult(Text(text="a"))


@pytest.mark.parametrize("good", ["a", "1", "data-extraction", "a_b-c", "2-steps", "a" * 100])
def test_an_id_of_lowercase_words_is_accepted(good: str) -> None:
    assert define_stage(id=good, name="S", execute=extract.body).id == good


@pytest.mark.parametrize(
    "bad", ["", "A", "a b", "-a", "a-", "a--b", "a__b", "a.b", "é", "a/b", "a\n", "a" * 101, None, 7]
)
def test_any_other_id_is_a_definition_error(bad: Any) -> None:
    with pytest.raises(DefinitionError, match=r"stage id .* is not allowed"):
        define_stage(id=bad, name="S", execute=extract.body)


def test_a_pool_is_named_like_a_stage() -> None:
    with pytest.raises(DefinitionError, match="pool id 'Big Pool' is not allowed"):
        define_stage(id="s", name="S", pool="Big Pool", execute=extract.body)


@pytest.mark.parametrize("given", [90, 90.0, timedelta(seconds=90)])
def test_a_timeout_is_a_timedelta_or_seconds(given: Any) -> None:
    stage = define_stage(id="s", name="S", timeout=given, execute=extract.body)
    assert stage.timeout == timedelta(seconds=90)


@pytest.mark.parametrize("given", [0, -1, "90", float("inf"), True])
def test_an_impossible_timeout_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="stage 's': timeout must be"):
        define_stage(id="s", name="S", timeout=given, execute=extract.body)


def test_dependencies_given_as_one_text_are_refused() -> None:
    with pytest.raises(DefinitionError, match="dependencies must be a list"):
        define_stage(id="s", name="S", dependencies="extract", execute=extract.body)


def test_a_retry_that_is_no_policy_is_refused() -> None:
    three: Any = 3
    with pytest.raises(DefinitionError, match=r"retry must be a RetryPolicy.*, not 3"):
        define_stage(id="x", name="X", execute=_plain, retry=three)


def _plain(ctx: StageContext[int]) -> int:
    return ctx.input


def _yields(ctx: StageContext[int]) -> Any:
    yield ctx.input


async def _yields_async(ctx: StageContext[int]) -> Any:
    yield ctx.input


@pytest.mark.parametrize("body", [_yields, _yields_async])
def test_a_body_that_yields_is_refused(body: Any) -> None:
    with pytest.raises(DefinitionError, match="stage 'x': its body yields"):
        define_stage(id="x", name="X", execute=body)


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown: retries"):
        define_stage(id="s", name="S", retries=3, execute=extract.body)  # type: ignore[call-overload]  # what this tests
    with pytest.raises(TypeError, match="missing: name"):
        define_stage(id="s", execute=extract.body)  # type: ignore[call-overload]  # what this tests


def test_a_stage_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        extract.id = "other"  # type: ignore[misc]  # what this tests
