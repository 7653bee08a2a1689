import pytest

from engine import (
    DefinitionError,
    UnknownStage,
    assert_valid_stage_id,
    create_stage_ids,
    define_stage_ids,
    define_workflow,
    is_valid_stage_id,
)
from tests.unit.definition.samples import numbered

WORKFLOW = define_workflow(id="w", name="W").pipe(numbered("data-extraction")).pipe(numbered("merge_all")).build()


def test_ids_become_constants() -> None:
    ids = create_stage_ids(WORKFLOW)
    assert (ids.DATA_EXTRACTION, ids.MERGE_ALL) == ("data-extraction", "merge_all")


def test_ids_can_be_defined_before_the_workflow() -> None:
    ids = define_stage_ids(["data-extraction", "merge_all"])
    assert list(ids) == list(create_stage_ids(WORKFLOW)) == ["data-extraction", "merge_all"]
    assert len(ids) == 2
    assert "merge_all" in ids
    assert dir(ids) == ["DATA_EXTRACTION", "MERGE_ALL"]


def test_constants_are_frozen() -> None:
    ids = define_stage_ids(["a"])
    with pytest.raises(AttributeError, match="frozen"):
        ids.A = "b"
    with pytest.raises(AttributeError, match="frozen"):
        del ids.A


def test_an_unknown_constant_names_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no stage id B; known: A"):
        _ = define_stage_ids(["a"]).B


def test_ids_that_share_a_constant_are_refused() -> None:
    with pytest.raises(DefinitionError, match="stage ids 'a-b' and 'a_b' are both A_B"):
        define_stage_ids(["a-b", "a_b"])


def test_a_malformed_id_is_refused() -> None:
    with pytest.raises(DefinitionError, match="stage id 'Data' is not allowed"):
        define_stage_ids(["Data"])


def test_an_id_is_valid_when_the_workflow_has_that_stage() -> None:
    assert is_valid_stage_id(WORKFLOW, "merge_all")
    assert not is_valid_stage_id(WORKFLOW, "other")
    assert_valid_stage_id(WORKFLOW, "merge_all")
    with pytest.raises(UnknownStage, match="'w' has no stage 'other'; it has: data-extraction, merge_all"):
        assert_valid_stage_id(WORKFLOW, "other")
