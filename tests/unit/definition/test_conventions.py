from datetime import UTC, datetime
from typing import Any

import pytest

from engine import DefinitionError
from engine.conventions import Approval, Decision, Revision, Trigger, TypedKey, typed_key


def keys(namespace: type) -> set[str]:
    return {each.key for each in vars(namespace).values() if isinstance(each, TypedKey)}


def test_the_well_known_keys_are_these() -> None:
    assert keys(Trigger) == {
        "trigger.source",
        "trigger.parent_run_id",
        "trigger.reason",
        "trigger.actor.kind",
        "trigger.actor.id",
    }
    assert keys(Decision) == {
        "decision.outcome",
        "decision.rationale",
        "decision.confidence",
        "decision.alternatives",
        "decision.used_fallback",
    }
    assert keys(Approval) == {"approval.approvers", "approval.timestamp", "approval.policy.version"}
    assert keys(Revision) == {"revision.previous_run_id", "revision.reason"}


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        (Trigger.source, "webhook:zendesk", "webhook:zendesk"),
        (Decision.confidence, 0.42, 0.42),
        (Decision.confidence, 1, 1.0),
        (Decision.alternatives, ["a", 2], ["a", 2]),
        (Decision.used_fallback, False, False),
        (Approval.approvers, ["alice"], ["alice"]),
        (Approval.timestamp, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_a_value_of_the_right_type_becomes_json(key: TypedKey[Any], value: object, stored: object) -> None:
    assert key.to_json(value) == stored


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (Trigger.source, 1),
        (Decision.confidence, True),
        (Decision.confidence, "0.4"),
        (Decision.confidence, float("nan")),
        (Decision.alternatives, "a"),
        (Decision.alternatives, [object()]),
        (Decision.used_fallback, 0),
        (Approval.approvers, "alice"),
        (Approval.timestamp, datetime(2026, 1, 2)),  # noqa: DTZ001 — a naive time is what this tests
    ],
)
def test_a_value_of_another_type_is_a_type_error_naming_key_and_value(key: TypedKey[Any], value: object) -> None:
    with pytest.raises(TypeError, match=f"annotation '{key}' does not take"):
        key.to_json(value)


def test_ones_own_keys_have_a_type_too() -> None:
    key = typed_key("acme.compliance.signoffs", list[str])
    assert key.to_json(["alice"]) == ["alice"]


@pytest.mark.parametrize(
    "bad", ["", "word", "Acme.signoff", "acme..signoff", ".acme", "acme.", "acme sign.off", "a.b\n"]
)
def test_a_key_that_is_not_dotted_and_lowercase_is_refused(bad: str) -> None:
    with pytest.raises(DefinitionError, match="is not allowed: use lowercase"):
        typed_key(bad, str)
