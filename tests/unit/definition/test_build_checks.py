from typing import Any

import pytest

from engine import (
    DefinitionError,
    NoInput,
    StageContext,
    Suspended,
    WorkflowBuilder,
    define_async_batch_stage,
    define_stage,
    define_workflow,
)
from tests.unit.definition.samples import Document, Text, count, extract, numbered


def refusal(builder: WorkflowBuilder[Any, Any]) -> str:
    with pytest.raises(DefinitionError) as caught:
        builder.build()
    return str(caught.value)


def start() -> WorkflowBuilder[Any, Any]:
    return define_workflow(id="w", name="W")


def test_an_empty_workflow_is_refused() -> None:
    assert refusal(start()) == "workflow 'w' cannot be built:\n  - it has no stages; add some with pipe() or parallel()"


def test_an_empty_parallel_group_is_refused() -> None:
    assert "execution group 2 is empty" in refusal(start().pipe(numbered("a")).parallel([]))


def test_parallel_with_one_stage_and_no_list_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"takes a list of stages, not <stage 'a'> alone"):
        start().parallel(numbered("a"))  # type: ignore[call-overload]  # what it refuses


def test_duplicate_ids_are_refused_across_and_within_groups() -> None:
    assert "stage 'a' occurs more than once" in refusal(start().pipe(numbered("a")).pipe(numbered("a")))
    assert "stage 'a' occurs more than once" in refusal(start().parallel([numbered("a"), numbered("a")]))


def test_an_unknown_dependency_is_refused() -> None:
    assert "stage 'a' (group 1) depends on 'ghost', which is not in this workflow" in refusal(
        start().pipe(numbered("a", after=("ghost",)))
    )


def test_a_later_dependency_is_refused() -> None:
    assert "stage 'a' (group 1) depends on 'b', which runs later (group 2)" in refusal(
        start().pipe(numbered("a", after=("b",))).pipe(numbered("b"))
    )


def test_a_dependency_inside_the_same_group_is_refused() -> None:
    assert "stage 'b' (group 1) depends on 'a', which is in the same execution group" in refusal(
        start().parallel([numbered("a"), numbered("b", after=("a",))])
    )


def test_every_problem_is_listed() -> None:
    text = refusal(start().pipe(numbered("a", after=("x", "y"))).parallel([]).pipe(numbered("a")))
    assert len(text.splitlines()) == 5


def test_an_async_batch_stage_without_a_check_is_refused() -> None:
    def body(ctx: StageContext[NoInput]) -> Suspended | int:
        return Suspended("batch")

    stage = define_async_batch_stage(id="embed", name="Embed", execute=body)
    assert "async-batch stage 'embed' has no check_completion" in refusal(start().pipe(stage))


def test_an_input_the_previous_output_cannot_satisfy_is_refused() -> None:
    assert "stage 'count' cannot take the output of stage 'one': the value is integer but object is needed" in refusal(
        start().pipe(numbered("one")).pipe(count)  # type: ignore[arg-type]  # what this tests
    )


def test_an_input_the_workflow_input_cannot_satisfy_is_refused() -> None:
    assert "stage 'count' cannot take the workflow's input: text is missing" in refusal(
        define_workflow(id="w", name="W", input=Document).pipe(count)  # type: ignore[arg-type]  # what this tests
    )


def test_an_input_a_parallel_group_cannot_satisfy_is_refused() -> None:
    @define_stage(id="merge", name="Merge")
    def merge(ctx: StageContext[Text]) -> int:
        return 1

    assert "stage 'merge' cannot take the output of stage 'a', stage 'b': text is missing" in refusal(
        start().parallel([numbered("a"), numbered("b")]).pipe(merge)
    )


def test_the_declared_output_is_checked_against_the_last_group() -> None:
    wrong = WorkflowBuilder("w", "W", "", Document, Text).pipe(extract).pipe(count)
    assert "the output of stage 'count' does not fit the workflow's output Text" in refusal(wrong)
    assert WorkflowBuilder("w", "W", "", Document, Text).pipe(extract).build().output_type is not None


@pytest.mark.parametrize("bad", ["", "My Workflow", "a/b"])
def test_a_workflow_id_follows_the_rule_of_stage_ids(bad: str) -> None:
    with pytest.raises(DefinitionError, match=r"workflow id .* is not allowed"):
        define_workflow(id=bad, name="W")


def test_a_plain_function_is_not_a_stage() -> None:
    with pytest.raises(DefinitionError, match="is not a stage; make it one with define_stage"):
        start().pipe(len)  # type: ignore[call-overload]  # what this tests


def test_an_unusable_input_type_is_refused() -> None:
    with pytest.raises(DefinitionError, match="workflow 'w': its input type cannot be used"):
        define_workflow(id="w", name="W", input=type(lambda: 0))


def test_a_beginning_can_be_shared_by_several_workflows() -> None:
    beginning = start().pipe(numbered("a"))
    assert beginning.pipe(numbered("b")).build().get_stage_ids() == ("a", "b")
    assert beginning.pipe(numbered("c")).build().get_stage_ids() == ("a", "c")
    assert beginning.build().get_stage_ids() == ("a",)
