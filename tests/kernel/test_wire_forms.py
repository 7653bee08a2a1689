"""Pins the wire and database format: type strings, field names and defaults of commands and events."""

from typing import Any

import pytest
from pydantic import BaseModel

from engine.domain import events
from engine.domain.errors import InvalidInput
from engine.domain.events import EVENT_TYPES, Event, parse_event
from engine.kernel import commands
from engine.kernel.commands import Command, parse_command
from engine.testing import FakeClock, TestKernel

COMMANDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "run.create": (
        {"workflow_id": "w"},
        {
            "input": None,
            "config": {},
            "priority": 5,
            "annotations": [],
            "tenant": None,
            "parent_run_id": None,
            "start": False,
            "metadata": None,
            "trace_context": None,
            "idempotency_key": None,
        },
    ),
    "run.claimPending": ({"worker_id": "w"}, {"max_claims": 10}),
    "job.execute": (
        {"workflow_run_id": "r", "workflow_id": "w", "stage_id": "s"},
        {"config": {}, "job_id": None, "lease_token": None, "idempotency_key": None},
    ),
    "run.transition": ({"workflow_run_id": "r"}, {}),
    "run.cancel": ({"workflow_run_id": "r"}, {"reason": None}),
    "run.rerunFrom": (
        {"workflow_run_id": "r", "from_stage_id": "s"},
        {"input_override": None, "idempotency_key": None},
    ),
    "stage.pollSuspended": ({}, {"max_checks": 50, "stage_record_id": None, "workflow_run_id": None}),
    "lease.reapStale": ({}, {"stale_threshold": 300.0, "max_releases": 100}),
    "run.reapStuck": ({}, {"stuck_threshold": 900.0, "max_runs": 50}),
    "outbox.flush": ({}, {"max_events": 100, "workflow_run_id": None}),
    "plugin.replayDLQ": ({}, {"max_events": 100, "event_type": None}),
    "run.reconcile": ({"workflow_run_id": "r"}, {}),
}


@pytest.mark.parametrize("command_type", COMMANDS)
def test_a_command_has_a_json_form(command_type: str) -> None:
    given, defaults = COMMANDS[command_type]
    command = parse_command({"type": command_type, **given})
    assert command.model_dump(mode="json") == {"type": command_type, **given, **defaults}
    assert parse_command(command.model_dump(mode="json")) == command


def test_every_command_is_pinned() -> None:
    types = {cls.model_fields["type"].default for cls in all_subclasses(Command) if cls.__module__ == commands.__name__}
    assert types - {Ellipsis} >= COMMANDS.keys()
    assert {each for each in types if isinstance(each, str)} == COMMANDS.keys()


def test_a_wrong_command_is_refused_with_every_problem() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_command({"type": "run.create", "priority": "high", "tenant": "", "unknown": 1})
    said = "\n".join(refused.value.problems)
    assert all(name in said for name in ("workflow_id", "priority", "tenant", "unknown"))


@pytest.mark.parametrize("document", [{}, {"type": "run.explode"}, {"type": None}])
def test_an_unknown_command_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="not a valid command"):
        parse_command(document)


def test_what_is_no_command_is_refused() -> None:
    not_a_command: Any = 5
    with pytest.raises(InvalidInput, match="5 is not a command"):
        TestKernel().dispatch(not_a_command)


def test_a_command_takes_on_only_so_much() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_command({"type": "outbox.flush", "max_events": 10**12})
    assert refused.value.problems == ("outbox.flush.max_events: Input should be less than or equal to 10000",)


COMMON = {"type", "timestamp", "workflow_run_id", "workflow_id"}
STAGE = COMMON | {"stage_id", "stage_name", "stage_number", "generation"}
EVENTS = {
    "workflow:created": COMMON,
    "workflow:started": COMMON | {"from_stage_id"},
    "workflow:completed": COMMON | {"duration_ms", "total_cost", "total_tokens", "output"},
    "workflow:failed": COMMON | {"error", "error_code"},
    "workflow:cancelled": COMMON | {"reason"},
    "workflow:suspended": COMMON | {"stage_id"},
    "stage:started": STAGE | {"attempt"},
    "stage:completed": STAGE | {"duration_ms", "total_cost", "total_tokens"},
    "stage:suspended": STAGE | {"next_poll_at"},
    "stage:failed": STAGE | {"error", "error_code", "will_retry"},
    "stage:progress": STAGE | {"progress", "message", "details"},
    "annotation:created": COMMON
    | {"annotation_id", "key", "value", "scope", "scope_id", "generation", "actor_kind", "actor_id"},
}


def test_the_event_types_are_these() -> None:
    assert EVENTS.keys() == EVENT_TYPES


@pytest.mark.parametrize("event_type", EVENTS)
def test_an_event_has_these_fields_and_comes_back_from_its_payload(event_type: str) -> None:
    (cls,) = (each for each in all_subclasses(Event) if each.model_fields["type"].default == event_type)
    samples: dict[str, Any] = {"timestamp": FakeClock().now(), "next_poll_at": FakeClock().now(), "will_retry": True}
    texts = {name: name for name in cls.model_fields if cls.model_fields[name].annotation is str and name != "type"}
    numbers = {name: 1 for name in cls.model_fields if cls.model_fields[name].annotation in {int, float}}
    given = {**texts, **numbers, "value": [1], **samples}
    event = cls(**{name: value for name, value in given.items() if name in cls.model_fields})
    payload = event.payload()
    assert payload.keys() == EVENTS[event_type]
    assert payload["timestamp"] == "2026-01-01T12:00:00Z"
    sequence, event_id = getattr(event, "sequence", 0), event.id
    assert parse_event(event.stored_payload(), sequence=sequence, event_id=event_id, timestamp=event.timestamp) == event


def all_subclasses[M: BaseModel](cls: type[M]) -> set[type[M]]:
    direct = set(cls.__subclasses__())
    return direct | {deeper for each in direct for deeper in all_subclasses(each)}


def test_no_event_is_defined_elsewhere() -> None:
    assert {each.__module__ for each in all_subclasses(Event)} == {events.__name__}
