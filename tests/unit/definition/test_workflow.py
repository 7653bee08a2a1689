from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from engine import InvalidInput, NoInput, StageContext, UnknownStage, define_stage, define_workflow
from tests.unit.definition.samples import Document, ExtractConfig, count, extract, numbered


class Strictness(BaseModel):
    level: int
    tags: list[str] = []


class OpenConfig(BaseModel):
    model_config = ConfigDict(extra="allow")


@define_stage(id="judge", name="Judge", config=Strictness, estimate_cost=lambda _, config: config.level * 0.5)
def judge(ctx: StageContext[NoInput, Strictness]) -> int:
    return ctx.config.level


@define_stage(id="price", name="Price", estimate_cost=lambda document, _: len(document.url) * 0.01)
def price(ctx: StageContext[NoInput]) -> int:
    return 1


WORKFLOW = (
    define_workflow(id="documents", name="Documents", description="Reads them", input=Document)
    .pipe(extract)
    .parallel([count, numbered("classify", after=("extract",))])
    .pipe(numbered("merge"))
    .build()
)


def test_groups_count_from_1_and_stages_from_0() -> None:
    assert [WORKFLOW.get_execution_group_index(each) for each in WORKFLOW.get_stage_ids()] == [1, 2, 2, 3]
    assert [WORKFLOW.get_stage_index(each) for each in WORKFLOW.get_stage_ids()] == [0, 1, 2, 3]
    assert WORKFLOW.group_count == 3
    assert WORKFLOW.group(1) == (extract,)
    assert WORKFLOW.get_stages_in_execution_group(2) == WORKFLOW.groups[1]


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_group_that_does_not_exist_is_refused(number: int) -> None:
    with pytest.raises(UnknownStage, match=f"no execution group {number}; it has 1 to 3"):
        WORKFLOW.group(number)


def test_the_plan_lists_the_stages_group_by_group() -> None:
    assert [[stage.id for stage in group] for group in WORKFLOW.get_execution_plan()] == [
        ["extract"],
        ["count", "classify"],
        ["merge"],
    ]
    assert WORKFLOW.get_all_stages() == tuple(stage for group in WORKFLOW.groups for stage in group)


def test_stages_are_found_by_id() -> None:
    assert WORKFLOW.get_stage("extract") is extract
    assert WORKFLOW.get_stage("other") is None
    assert WORKFLOW.has_stage("count")
    assert not WORKFLOW.has_stage("other")


def test_the_previous_stage_is_the_one_listed_before() -> None:
    assert [WORKFLOW.get_previous_stage_id(each) for each in WORKFLOW.get_stage_ids()] == [
        None,
        "extract",
        "count",
        "classify",
    ]


def test_asking_for_the_place_of_an_unknown_stage_names_the_known_ones() -> None:
    for ask in (WORKFLOW.get_stage_index, WORKFLOW.get_execution_group_index, WORKFLOW.get_previous_stage_id):
        with pytest.raises(UnknownStage, match="'documents' has no stage 'other'; it has: extract, count"):
            ask("other")


def test_a_workflow_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        WORKFLOW.groups = ()  # type: ignore[misc]  # what this tests


def test_input_is_accepted_as_json_or_as_the_model() -> None:
    assert WORKFLOW.validate_input({"url": "u"}) == WORKFLOW.validate_input(Document(url="u")) == {"url": "u"}


def test_invalid_input_lists_every_problem() -> None:
    with pytest.raises(InvalidInput, match="workflow 'documents': its input does not fit Document") as caught:
        WORKFLOW.validate_input({"url": 1})
    assert caught.value.problems == ("url: Input should be a valid string (got 1)",)


def test_a_workflow_without_input_takes_nothing() -> None:
    workflow = define_workflow(id="w", name="W").pipe(numbered("one")).build()
    assert workflow.validate_input(None) == workflow.validate_input({}) == {}
    with pytest.raises(InvalidInput, match="Extra inputs are not permitted"):
        workflow.validate_input({"url": "u"})


def test_config_is_completed_with_defaults_for_every_stage() -> None:
    assert WORKFLOW.validate_config({"extract": {"max_chars": "7"}}) == {
        "extract": {"max_chars": 7},
        "count": {},
        "classify": {},
        "merge": {},
    }
    assert WORKFLOW.validate_config() == WORKFLOW.get_default_config()


def test_config_may_be_given_as_models() -> None:
    assert WORKFLOW.validate_config({"extract": ExtractConfig(max_chars=7)})["extract"] == {"max_chars": 7}


def test_config_problems_are_all_listed_with_their_stage() -> None:
    workflow = define_workflow(id="w", name="W", input=Document).pipe(extract).pipe(judge).build()
    with pytest.raises(InvalidInput, match="workflow 'w': its config is not valid") as caught:
        workflow.validate_config({"extract": {"max_char": 1, "max_chars": "x"}, "nobody": {}, "judge": {"tags": [1]}})
    assert caught.value.problems == (
        "nobody: no such stage; the workflow has: extract, judge",
        "extract: max_char: no such option",
        "extract: max_chars: Input should be a valid integer, unable to parse string as an integer (got 'x')",
        "judge: level: Field required",
        "judge: tags.0: Input should be a valid string (got 1)",
    )


def test_a_slice_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidInput, match="extract: options must be an object, not 5"):
        WORKFLOW.validate_config({"extract": 5})


def test_a_config_model_that_allows_other_options_keeps_them() -> None:
    @define_stage(id="open", name="Open")
    def stage(ctx: StageContext[NoInput, OpenConfig]) -> int:
        return 1

    workflow = define_workflow(id="w", name="W").pipe(stage).build()
    assert workflow.validate_config({"open": {"any": 1}}) == {"open": {"any": 1}}


def test_default_config_leaves_out_options_without_a_default() -> None:
    workflow = define_workflow(id="w", name="W").pipe(judge).build()
    assert workflow.get_default_config() == {"judge": {"tags": []}}


def test_stage_configs_tell_name_schema_and_defaults() -> None:
    described = WORKFLOW.get_stage_configs()["extract"]
    assert (described["name"], described["description"]) == ("Extract text", "Reads the document")
    assert described["defaults"] == {"max_chars": 50_000}
    assert described["schema"]["properties"]["max_chars"]["type"] == "integer"


def test_cost_is_the_sum_of_what_the_stages_estimate() -> None:
    workflow = define_workflow(id="w", name="W", input=Document).pipe(extract).parallel([judge, price]).build()
    assert workflow.estimate_cost({"url": "x" * 10}, {"judge": {"level": 2}}) == pytest.approx(1.1)
    assert WORKFLOW.estimate_cost({"url": "u"}) == 0
    with pytest.raises(InvalidInput):
        workflow.estimate_cost({"url": "x"}, {})


def test_describe_shows_groups_stages_and_what_is_special_about_them() -> None:
    assert WORKFLOW.describe() == (
        "Documents (documents): 4 stages in 3 execution groups\n"
        "Reads them\n"
        "1. Extract text (extract): Reads the document\n"
        "2. in parallel:\n"
        "   - Count (count)\n"
        "   - Classify (classify; after extract)\n"
        "3. Merge (merge)"
    )


def test_mermaid_has_a_node_for_each_stage_and_an_arrow_for_each_hand_over() -> None:
    odd = define_stage(id="odd-one", name='Say "hi"', execute=numbered("x").body)
    end = define_stage(id="end", name="End", pool="big", execute=numbered("x").body)
    workflow = define_workflow(id="w", name="W").parallel([odd, end]).pipe(numbered("last")).build()
    assert workflow.to_mermaid() == (
        "flowchart TD\n"
        '    s_odd__one["Say #quot;hi#quot;"]\n'
        '    s_end["End"]\n'
        '    s_last["Last"]\n'
        "    s_odd__one --> s_last\n"
        "    s_end --> s_last"
    )


def _hash(*stage_ids: str, given: Any = NoInput) -> str:
    builder = define_workflow(id="w", name="W", input=given)
    for each in stage_ids:
        builder = builder.pipe(numbered(each))
    return builder.build().definition_hash


def test_the_definition_hash_is_the_same_for_the_same_definition() -> None:
    assert _hash("a", "b") == _hash("a", "b")
    assert len(_hash("a")) == 64


def test_the_definition_hash_changes_with_ids_groups_and_schemas() -> None:
    grouped = define_workflow(id="w", name="W").parallel([numbered("a"), numbered("b")]).build().definition_hash
    different = {_hash("a", "b"), _hash("b", "a"), _hash("a"), _hash("a", "b", given=Document), grouped}
    assert len(different) == 5


def test_wording_does_not_change_the_definition_hash() -> None:
    def described(text: str) -> str:
        class Input(BaseModel):
            title: str = Field(description=text)

        return _hash("a", given=Input)

    assert described("one") == described("two")
