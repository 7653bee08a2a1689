import pytest

from engine.domain.annotations import ActorInput, AnnotationInput
from engine.domain.errors import InvalidInput
from engine.domain.limits import KEY
from engine.testing import FixedIds
from engine.testing.contracts.rows import an_annotation, an_event, at
from engine.transitions.annotations import annotation_drafts, needs_known, without_repeats
from engine.transitions.facts import AnnotationDraft

BLANK = an_annotation("", key="", scope="stage", scope_id="a", generation=2, value=None, created_at=at(3))


def drafts(given: AnnotationInput) -> tuple[AnnotationDraft, ...]:
    return annotation_drafts(given, BLANK, workflow_id="w", new_id=FixedIds().new)


def a_draft(
    annotation_id: str, *, event: bool = False, idempotency_key: str | None = None, key: str = "k"
) -> AnnotationDraft:
    record = an_annotation(annotation_id, key, idempotency_key=idempotency_key)
    return AnnotationDraft(record=record, event=an_event() if event else None)


def ids(kept: tuple[AnnotationDraft, ...]) -> str:
    return "".join(draft.record.id for draft in kept)


def test_each_attribute_becomes_an_annotation_of_its_own() -> None:
    given = AnnotationInput(
        attributes={"a.b": 1, "a.c": [True], "none": None},
        actor=ActorInput(kind="human", id="ada", version="1"),
        payload={"p": 1},
        idempotency_key="once",
    )
    first, second = drafts(given)
    expected = an_annotation(
        first.record.id,
        "a.b",
        value=1,
        scope="stage",
        scope_id="a",
        generation=2,
        created_at=at(3),
        actor_kind="human",
        actor_id="ada",
        actor_version="1",
        payload={"p": 1},
        idempotency_key="once",
    )
    assert (first.record, first.event) == (expected, None)
    assert (second.record.key, second.record.value) == ("a.c", [True])
    assert first.record.id != second.record.id


def test_an_event_tells_of_an_annotation_if_one_is_asked_for() -> None:
    (draft,) = drafts(AnnotationInput(attributes={"a": 1}, emit_event=True))
    assert draft.event is not None
    payload = draft.event.payload()
    assert (payload["type"], payload["annotation_id"], payload["workflow_id"]) == (
        "annotation:created",
        draft.record.id,
        "w",
    )
    assert (payload["key"], payload["value"], payload["scope"], payload["generation"]) == ("a", 1, "stage", 2)
    assert draft.event.timestamp == at(3)


@pytest.mark.parametrize("key", ["", " a", "a ", "a" * (KEY + 1)])
def test_a_key_that_cannot_be_searched_for_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="annotation key"):
        drafts(AnnotationInput(attributes={key: 1}))


def test_a_key_may_be_as_long_as_allowed() -> None:
    assert len(drafts(AnnotationInput(attributes={"a" * KEY: 1}))) == 1


def test_of_annotations_under_one_idempotency_key_the_first_stays() -> None:
    given = (
        a_draft("1", idempotency_key="i"),
        a_draft("2", idempotency_key="i"),
        a_draft("3", idempotency_key="i", key="other"),
        a_draft("4", idempotency_key="j"),
        a_draft("5"),
        a_draft("6"),
    )
    assert ids(without_repeats(given)) == "13456"
    assert ids(without_repeats(given, frozenset({("k", "i"), ("k", "j")}))) == "356"


def test_only_a_repeat_with_an_event_needs_to_be_known() -> None:
    assert needs_known([a_draft("1"), a_draft("2", event=True, idempotency_key="i")])
    assert not needs_known([a_draft("1", event=True), a_draft("2", idempotency_key="i")])
