import json

import pytest
from botocore.exceptions import ReadTimeoutError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.event_sink import ENTRY_BYTES, EventBridgeSink, EventRefused, entry_size
from engine.domain.events import WorkflowCompleted
from engine.ports.event_sink import SinkUnavailable
from tests.unit.aws.conftest import StoppedClock
from tests.unit.aws.stubs import Recorded, aws_error, only


def completed(output: object = None) -> WorkflowCompleted:
    return WorkflowCompleted(
        id="e1",
        sequence=7,
        timestamp=StoppedClock().now(),
        workflow_run_id="r1",
        workflow_id="w1",
        duration_ms=5,
        output=output,
    )


def answered(**entry: str) -> Recorded:
    return Recorded({"FailedEntryCount": int("ErrorCode" in entry), "Entries": [entry]})


def test_an_event_arrives_with_its_id_and_sequence() -> None:
    events = answered(EventId="x")
    EventBridgeSink(only(events), "bus").emit(completed({"a": [1]}))
    [entry] = events.calls[0]["Entries"]
    assert (entry["EventBusName"], entry["Source"]) == ("bus", "workflow-engine")
    assert (entry["DetailType"], entry["Time"]) == ("workflow:completed", StoppedClock().now())
    assert entry["Resources"] == ["workflow/w1", "workflow-run/r1"]
    detail = json.loads(entry["Detail"])
    assert detail == completed({"a": [1]}).payload() | {"id": "e1", "sequence": 7}


def test_the_real_call_takes_the_entry(clients: Clients) -> None:
    clients("events").create_event_bus(Name="bus")
    EventBridgeSink(clients, "bus").emit(completed())


@pytest.mark.parametrize("output", ["x" * ENTRY_BYTES, "ü" * (ENTRY_BYTES // 2), {"deep": ["x" * ENTRY_BYTES]}])
def test_a_large_event_keeps_ids_and_small_facts_and_says_what_it_lost(output: object) -> None:
    events = answered(EventId="x")
    EventBridgeSink(only(events), "bus").emit(completed(output))
    [entry] = events.calls[0]["Entries"]
    detail = json.loads(entry["Detail"])
    assert detail["truncated"] == ["output"]
    assert (detail["id"], detail["sequence"], detail["workflow_run_id"]) == ("e1", 7, "r1")
    assert detail["duration_ms"] == 5
    assert entry_size(entry) < 1000


def test_an_event_just_small_enough_is_whole() -> None:
    events = answered(EventId="x")
    sink = EventBridgeSink(only(events), "bus")
    sink.emit(completed(""))
    free = ENTRY_BYTES - 1 - entry_size(events.calls[0]["Entries"][0])
    sink.emit(completed("x" * free))
    sink.emit(completed("x" * (free + 1)))
    whole, cut = (json.loads(call["Entries"][0]["Detail"]) for call in events.calls[1:])
    assert len(whole["output"]) == free
    assert cut["truncated"] == ["output"]


@pytest.mark.parametrize(
    "events",
    [
        Recorded(ReadTimeoutError(endpoint_url="x")),
        Recorded(aws_error("ThrottlingException")),
        Recorded(aws_error("Whatever", 503)),
        answered(ErrorCode="InternalFailure", ErrorMessage="later"),
        answered(ErrorCode="ThrottlingException", ErrorMessage="later"),
    ],
)
def test_what_will_pass_is_not_held_against_the_event(events: Recorded) -> None:
    with pytest.raises(SinkUnavailable, match="e1"):
        EventBridgeSink(only(events), "bus").emit(completed())


@pytest.mark.parametrize(
    "events",
    [
        Recorded(aws_error("ValidationException")),
        Recorded(aws_error("ResourceNotFoundException")),
        answered(ErrorCode="MalformedDetail", ErrorMessage="not JSON"),
    ],
)
def test_a_rejection_is_one(events: Recorded) -> None:
    with pytest.raises(EventRefused, match="e1"):
        EventBridgeSink(only(events), "bus").emit(completed())


def taken(*codes: str | None) -> Recorded:
    return Recorded({"Entries": [{"EventId": "x"} if code is None else {"ErrorCode": code} for code in codes]})


def test_ten_events_go_in_one_call() -> None:
    events = taken(*[None] * 10)
    assert EventBridgeSink(only(events), "bus").emit_first([completed()] * 12) == 10
    assert [len(call["Entries"]) for call in events.calls] == [10]


def test_the_entries_of_a_call_stay_within_its_size() -> None:
    events = taken(None)
    assert EventBridgeSink(only(events), "bus").emit_first([completed("x" * (ENTRY_BYTES // 2))] * 3) == 1
    assert [len(call["Entries"]) for call in events.calls] == [1]


@pytest.mark.parametrize(
    ("events", "arrived"),
    [
        (taken(None, "MalformedDetail", None), 1),
        (taken("ThrottlingException", None, None), 0),
        (Recorded(aws_error("ThrottlingException")), 0),
        (Recorded(ReadTimeoutError(endpoint_url="x")), 0),
    ],
)
def test_a_call_tells_how_many_arrived_before_one_did_not(events: Recorded, arrived: int) -> None:
    assert EventBridgeSink(only(events), "bus").emit_first([completed()] * 3) == arrived


def test_the_real_call_takes_several_entries(clients: Clients) -> None:
    clients("events").create_event_bus(Name="bus")
    assert EventBridgeSink(clients, "bus").emit_first([completed()] * 3) == 3
