import json
from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.faults import is_passing, is_passing_code
from engine.domain.errors import EngineError
from engine.domain.events import Event
from engine.ports.event_sink import SinkUnavailable

ENTRY_BYTES = 256 * 1024
"""The size limit in bytes of one entry, and of all entries of one call together."""

ENTRIES = 10
"""The number of entries that one call takes."""

SMALL_TEXT = 256


class EventRefused(EngineError):
    """EventBridge accepted the call and refused the event."""

    code = "EVENT_REFUSED"


class EventBridgeSink:
    """An event's type is the detail type, its payload with id and sequence the detail."""

    def __init__(self, clients: Clients, bus: str, *, source: str = "workflow-engine", max_retries: int = 3) -> None:
        self._clients, self._bus, self._source = clients, bus, source
        self.max_retries = max_retries

    def emit(self, event: Event, *, skip: frozenset[str] = frozenset()) -> None:  # noqa: ARG002 - has one receiver
        try:
            answer = self._clients("events").put_events(Entries=[self._entry(event)])
        except (BotoCoreError, ClientError) as error:
            kind = SinkUnavailable if is_passing(error) else EventRefused
            raise kind(f"event {event.id!r}: {error}") from error
        for failed in (each for each in answer["Entries"] if "ErrorCode" in each):
            message = f"event {event.id!r}: {failed['ErrorCode']} {failed.get('ErrorMessage', '')}"
            raise SinkUnavailable(message) if is_passing_code(failed["ErrorCode"]) else EventRefused(message)

    def emit_first(self, events: Sequence[Event]) -> int:
        entries = _one_call([self._entry(event) for event in events[:ENTRIES]])
        try:
            answer = self._clients("events").put_events(Entries=entries)
        except (BotoCoreError, ClientError):
            return 0
        return sum(1 for _ in takewhile(lambda each: "ErrorCode" not in each, answer["Entries"]))

    def _entry(self, event: Event) -> dict[str, Any]:
        entry = {
            "EventBusName": self._bus,
            "Source": self._source,
            "DetailType": event.type,
            "Time": event.timestamp,
            "Resources": [f"workflow/{event.workflow_id}", f"workflow-run/{event.workflow_run_id}"],
        }
        detail = {**event.payload(), "id": event.id, "sequence": event.sequence}
        whole = entry | {"Detail": _compact(detail)}
        return whole if entry_size(whole) < ENTRY_BYTES else entry | {"Detail": _compact(cut(detail))}


def _one_call(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    sizes = accumulate(entry_size(entry) for entry in entries)
    return [entry for entry, size in zip(entries, sizes, strict=True) if size < ENTRY_BYTES]


def entry_size(entry: dict[str, Any]) -> int:
    """The size by EventBridge's rule: 14 bytes for the time, and the UTF-8 of the texts."""
    texts = [entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"]]
    return 14 + sum(len(text.encode()) for text in texts)


def cut(detail: dict[str, Any]) -> dict[str, Any]:
    """The small fields of the detail; `truncated` names the other ones."""
    small = {name: value for name, value in detail.items() if _is_small(value)}
    return small | {"truncated": sorted(detail.keys() - small.keys())}


def _is_small(value: object) -> bool:
    return len(value) <= SMALL_TEXT if isinstance(value, str) else value is None or isinstance(value, int | float)


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
